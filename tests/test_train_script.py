"""``train_vost.sh``, run by bash in a copy of the working tree, with the Python that runs the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aot_plus.tools import train
from tests.script_tree import bare_tree
from tests.tiny_training import as_flags, tiny_config
from tests.train_videos import write_dataset

VARIABLES = ("MODEL", "STAGE", "EXP_NAME", "PROCESSES", "BATCH_SIZE", "DTYPE", "STEPS", "DATASET")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return bare_tree(tmp_path / "tree", "train_vost.sh", "eval_vost.sh")


def run(tree: Path, *arguments: str, folder: str = ".") -> "subprocess.CompletedProcess[str]":
    """Runs the script of the tree from one of its folders."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        ["bash", "train_vost.sh", *arguments],
        cwd=tree / folder,
        env=environment | {"OMP_NUM_THREADS": "1", "CHECKPOINT": "not_for_this_run.pth"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_all_required_downloads_are_reported_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    assert train.main(["--model=r50_deaotl"]) == 1
    said = capsys.readouterr().err
    files = ("https://www.vostdataset.org", "R50_DeAOTL_PRE_YTB_DAV.pth", "MODEL_ZOO.md")
    for told in (*files, "train --stage mini_vost"):
        assert told in said
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_flag_is_named(tree: Path) -> None:
    done = run(tree, "--modle", "aott")
    assert done.returncode == 2
    assert "--modle" in done.stderr
    assert run(tree, "--processes", "two").returncode == 2
    help_text = run(tree, "--help").stdout
    assert [name for name in VARIABLES if name not in help_text or f"--{name.lower()}" not in help_text] == []


def test_it_trains_and_evaluates_the_averaged_weights(tree: Path) -> None:
    """The data is a custom folder; the training's config values apply to the evaluation too."""
    dataset = tree / "videos"
    write_dataset(dataset, sequences=1)
    shutil.copy(dataset / "ImageSets" / "train.txt", dataset / "ImageSets" / "val.txt")
    flags = as_flags(tiny_config(dataset, TRAIN_TOTAL_STEPS=2))
    settings = flags[flags.index("--set") :]
    names = ("--stage", "mini_vost", "--exp_name", "try", "--dataset", "videos")
    done = run(tree, *names, "--", *settings, folder="aot_plus")
    assert done.returncode == 0, done.stderr
    folder = tree / "results" / "try_aot_mini" / "mini_vost"
    assert (folder / "ema_ckpt" / "save_step_2.pth").is_file()
    assert (folder / "eval" / "videos" / "emfs_1+8" / "global_results-val.csv").is_file()
    assert f"{folder}/ema_ckpt/save_step_2.pth" in done.stdout
