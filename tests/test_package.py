"""The wheel: its content, and its use outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from aot_plus import __version__

pytest.importorskip("pip")

SMALL = ("--set", "TEST_MAX_LONG_EDGE=64")  # pixels, for speed
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's wheel, built in a copy because pip leaves a folder ``build`` behind."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    downloaded = shutil.ignore_patterns("__pycache__", "VOST", "MiniVOST", "*.pth")
    for folder in ("aot_plus", "evaluation"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=downloaded)
    for file in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements.txt",
        "requirements-app.txt",
        "requirements-dev.txt",
    ):
        shutil.copy(ROOT / file, tree / file)
    (tree / "aot_plus" / "pretrain_models" / "AOT_EMFS.pth").write_bytes(b"downloaded")
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(out), str(tree))
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package; its dependencies come from the running environment."""
    folder = tmp_path_factory.mktemp("installed")
    _pip("install", "--target", str(folder), str(wheel))
    return folder


def _pip(command: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *arguments],
        check=True,
        timeout=300,
    )


def _files(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in folder.rglob("*")}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert wheel.name.startswith(f"aot_plus-{__version__}-")
    assert {name.split("/")[0] for name in names} == {
        "aot_plus",
        "evaluation",
        f"aot_plus-{__version__}.dist-info",
    }
    held = {name for name in names if not name.endswith(".py") and "dist-info" not in name}
    wanted = [
        *(ROOT / "aot_plus/pretrain_models").glob("*_mini.*"),
        *(ROOT / "aot_plus/report/page").iterdir(),
        *(ROOT / "aot_plus/app/page").iterdir(),
        *(ROOT / package / "py.typed" for package in ("aot_plus", "evaluation")),
    ]
    assert held == {str(path.relative_to(ROOT)) for path in wanted}


def test_a_video_is_segmented_outside_the_checkout(
    installed: Path, short_dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(short_dataset, tmp_path / "aot_plus" / "datasets" / "MiniVOST")
    before = _files(installed)
    environment = {name: value for name, value in os.environ.items() if name != "AOT_PLUS_HOME"}
    environment |= {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(installed / "bin" / "aot-plus"), "eval", "--dataset", "mini_vost", "--policy", "fifo", *SMALL],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (results,) = tmp_path.glob("results/default_aot_mini/mini_vost/eval/mini_vost/fifo_1+8")
    assert len(list(results.glob("*/*.png"))) == 21
    assert (results / "global_results-val.csv").is_file()
    assert _files(installed) == before
