"""Tools without a network do not import torch, and ``--help`` not pandas either: both take seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def imported(program: str, *arguments: str, exit_code: int = 0) -> set[str]:
    """Returns the modules that a program has imported when it ends."""
    code = (
        "import runpy, sys\n"
        "sys.argv = ['program', *sys.argv[2:]]\n"
        f"try: runpy.run_module({program!r}, run_name='__main__')\n"
        f"except SystemExit as end: assert (end.code or 0) == {exit_code}, end.code\n"
        "finally: print('\\n', *sys.modules)"
    )
    command = [sys.executable, "-c", code, program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "program",
    [
        "evaluation.evaluation_method",
        "aot_plus.tools.check_dataset",
        "aot_plus.tools.make_mini_vost",
        "aot_plus.tools.report",
        "aot_plus.tools.app",
    ],
)
def test_help(program: str) -> None:
    assert imported(program, "--help").isdisjoint(
        {"torch", "pandas", "sklearn", "skimage", "scipy", "gradio"}
    )


@pytest.mark.parametrize("tool", ["eval", "train"])
def test_the_scripts_help_needs_no_package(tool: str) -> None:
    assert "--model" in _without_packages(tool, "--help", exit_code=0).stdout


def test_a_missing_package_is_named() -> None:
    done = _without_packages("check", "mini_vost", exit_code=1)
    assert done.stderr.startswith("error: ")
    assert " cv2" in done.stderr


def _without_packages(*arguments: str, exit_code: int) -> subprocess.CompletedProcess[str]:
    """Runs the command with only the standard library."""
    command = [sys.executable, "-S", "-m", "aot_plus", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == exit_code, done.stderr
    return done


def test_a_missing_dataset_is_reported_at_once() -> None:
    assert "torch" not in imported("aot_plus.tools.eval", "--dataset", "/no/such/folder", exit_code=1)


def test_errors_need_no_array_library() -> None:
    code = "import sys, evaluation, evaluation.errors; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"numpy", "cv2"}.isdisjoint(done.stdout.split())


def test_making_checking_and_scoring_a_dataset(tmp_path: Path) -> None:
    dataset = str(tmp_path / "MiniVOST")
    make = ["--out", dataset, "--train", "0", "--val", "1", "--workers", "1"]
    assert "torch" not in imported("aot_plus.tools.make_mini_vost", *make)
    assert "torch" not in imported("aot_plus.tools.check_dataset", dataset, "--workers", "1")
    score = ["--results_path", f"{dataset}/Annotations", "--dataset_path", dataset]
    assert "torch" not in imported("evaluation.evaluation_method", *score)
