"""The shell scripts, run by bash in a copy of the working tree, with the Python that runs the tests.

Where a script does nothing but start the tool, the tool is called directly.
"""

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import save_file

from aot_plus.networks.models import build_model
from aot_plus.tools import eval as eval_tool
from aot_plus.tools.check_requirements import main as check_requirements
from aot_plus.tools.check_requirements import release
from aot_plus.utils.config import get_config
from tests import forked
from tests.script_tree import bare_tree

VARIABLES = ("MODEL", "STAGE", "CHECKPOINT", "POLICY", "DATASET", "SPLIT", "RESULT_NAME", "PROCESSES")
SMALL = ("--set", "TEST_MAX_LONG_EDGE=64")  # pixels, for speed

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the tree, at a path that needs quoting in a shell."""
    return bare_tree(tmp_path / "R&D tree", "eval_vost.sh", "run_tests.sh", "requirements-dev.txt")


@pytest.fixture
def run(tree: Path) -> Run:
    """Runs a script of the tree with arguments, in a folder, with environment variables."""

    def run_script(
        *arguments: str,
        folder: str = ".",
        python: Path | None = None,
        shell: str = "bash",
        **variables: str,
    ) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        python_folder = Path(sys.executable).parent if python is None else python
        environment |= {"PATH": f"{python_folder}{os.pathsep}{environment['PATH']}", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [shell, *arguments],
            cwd=tree / folder,
            env=environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=500,
        )

    return run_script


def _global_figures(results: Path) -> dict[str, float]:
    with (results / "global_results-val.csv").open(encoding="utf-8") as file:
        return {name: float(value) for name, value in next(csv.DictReader(file)).items()}


def _add_checkpoint(tree: Path, name: str) -> None:
    """Writes random weights of ``aot_mini`` to the tree's ``pretrain_models``."""
    torch.manual_seed(0)
    model = build_model(get_config("mini_vost", "aot_mini"))
    save_file(model.state_dict(), tree / "aot_plus" / "pretrain_models" / name)


def test_bare_machine_makes_mini_vost(tree: Path, run: Run) -> None:
    _add_checkpoint(tree, "aot_mini.safetensors")
    done = run("eval_vost.sh", *SMALL, POLICY="fifo", MINI_VOST_VAL="1")
    assert done.returncode == 0, done.stderr
    for told in ("https://www.vostdataset.org", "aot_plus/pretrain_models/AOT_EMFS.pth"):
        assert told in done.stderr
    split = tree / "aot_plus" / "datasets" / "MiniVOST" / "ImageSets" / "val.txt"
    assert len(split.read_text(encoding="utf-8").split()) == 1
    results = tree / "results/default_aot_mini/mini_vost/eval/mini_vost/fifo_1+8"
    assert 0 <= _global_figures(results)["J-Mean"] <= 1
    assert str(results / "global_results-val.csv") in done.stdout


@pytest.mark.parametrize("script", ["eval_vost.sh", "run_tests.sh"])
def test_sh_is_as_good_as_bash(run: Run, script: str) -> None:
    done = run(script, "--help", shell="sh")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")


def test_lost_shipped_model_is_named(tree: Path, run: Run) -> None:
    done = run("eval_vost.sh")
    assert done.returncode != 0
    assert "aot_plus/pretrain_models/aot_mini.safetensors" in done.stderr.splitlines()[-1]
    assert not (tree / "aot_plus" / "datasets" / "MiniVOST").exists()


def evaluate(arguments: list[str]) -> int:
    """Runs the tool as the script does."""
    forked.fork_launched()
    return eval_tool.main(arguments)


def run_tool(tree: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Runs the tool on the tree. Returns the exit code and everything that it printed and logged."""
    environment = dict.fromkeys(VARIABLES, "") | {"AOT_PLUS_HOME": str(tree)} | variables
    tool = forked.start(evaluate, list(arguments), log=tree / "log.txt", environment=environment)
    return tool.wait(300), tool.output()


def test_shipped_model_is_used_with_fifo_beside(tree: Path, short_dataset: Path) -> None:
    (tree / "aot_plus" / "datasets" / "MiniVOST").symlink_to(short_dataset)
    _add_checkpoint(tree, "aot_mini.safetensors")
    code, output = run_tool(tree, *SMALL)
    assert code == 0, output
    assert "aot_mini" in output
    evaluated = tree / "results/default_aot_mini/mini_vost/eval/mini_vost"
    table = [line.split() for line in output.splitlines()[-2:]]
    for (name, *shown), expected in zip(table, ("emfs_1+8", "fifo_1+8"), strict=True):
        figures = _global_figures(evaluated / name)
        assert name == expected
        assert [float(value) for value in shown] == pytest.approx(
            [figures["J-Mean"], figures["J_last-Mean"]], abs=1e-4
        )


def test_flags_win_over_variables(tree: Path, short_dataset: Path) -> None:
    _add_checkpoint(tree, "mine.safetensors")
    code, output = run_tool(
        tree,
        *("--dataset", str(short_dataset), "--checkpoint=pretrain_models/mine.safetensors"),
        *("--policy", "random", "--result_name", "tried", "--processes", "2", "--", "--trace"),
        MODEL="aot_mini",
        POLICY="no_such_policy",
    )
    assert code == 0, output
    results = tree / "results/default_aot_mini/mini_vost/eval/minivost/tried"
    assert _global_figures(results)
    assert json.loads((results / "summary.json").read_text(encoding="utf-8"))["processes"] == 2
    assert len(list((results / "traces").glob("*.jsonl"))) == 1
    config = (results / "config.yaml").read_text(encoding="utf-8")
    assert "MEM_POLICY: random" in config
    assert "TEST_CKPT_PATH: aot_plus/pretrain_models/mine.safetensors" in config


def test_there_is_no_metric_without_masks(tree: Path, short_dataset: Path) -> None:
    (tree / "aot_plus" / "pretrain_models" / "broken.pth").write_bytes(b"not a checkpoint")
    code, output = run_tool(tree, "--dataset", str(short_dataset), "--checkpoint", "broken.pth")
    assert code == 1
    assert "broken.pth" in output
    assert not list((tree / "results").rglob("global_results-*.csv"))


def test_help_names_every_flag(run: Run) -> None:
    done = run("eval_vost.sh", "--help")
    assert done.returncode == 0
    for name in VARIABLES:
        assert f"--{name.lower()}" in done.stdout
        assert name in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--modle", "aott"], "--modle"),
        (["aott"], "aott"),
        (["--model"], "--model:"),
        (["--processes", "two"], "'two'"),
    ],
)
def test_bad_flags_end_with_2(run: Run, arguments: list[str], told: str) -> None:
    done = run("eval_vost.sh", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


@pytest.mark.parametrize(
    ("folder", "arguments", "variables", "told"),
    [
        (".", ["eval_vost.sh"], {"CHECKPOINT": "missing.pth"}, "missing.pth"),
        ("aot_plus", ["../eval_vost.sh", "--dataset=/a folder"], {}, "/a folder"),
        ("aot_plus", ["eval_vost.sh", "--", "--dataset", "vost"], {}, "https://www.vostdataset.org"),
    ],
)
def test_named_but_missing_is_an_error(
    tree: Path, run: Run, folder: str, arguments: list[str], variables: dict[str, str], told: str
) -> None:
    done = run(*arguments, folder=folder, **variables)
    assert done.returncode == 1
    assert told in done.stderr
    assert not (tree / "aot_plus" / "datasets" / "MiniVOST").exists()


def test_dataset_without_checkpoint_is_an_error(run: Run, short_dataset: Path) -> None:
    done = run("eval_vost.sh", "--dataset", str(short_dataset))
    assert done.returncode == 1
    assert "--checkpoint" in done.stderr


def _fake_python(folder: Path, *, satisfies: bool, pip: str, lacks: str = "torch>=2.9.1") -> Path:
    """Writes a ``python3`` that the set-up takes for a real one.

    ``pip`` is the shell code of ``-m pip``, ``lacks`` what the check of requirements prints.
    """
    folder.mkdir()
    python = folder / "python3"
    python.write_text(
        f"""#!/bin/bash
case "$*" in
    "-c "*) exit 0 ;;
    --version) echo "Python 3.11.0" ;;
    *check_requirements.py*)
        [ -f "$2" ] && [ {"yes" if satisfies else "no"} = yes -o -e "$0.installed" ] ||
            {{ echo "{lacks}"; false; }} ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo made >> "$3/../made" ;;
    "-m pip "*) {pip} ;;
    *) echo "ran $0 $*" ;;
esac
""",
        encoding="utf-8",
    )
    python.chmod(0o755)
    (folder / "python").symlink_to(python)  # otherwise, the real one would be found under this name
    return folder


def test_set_up_uses_the_active_python_where_it_suffices(tree: Path, run: Run, tmp_path: Path) -> None:
    done = run("run_tests.sh", "-x", python=_fake_python(tmp_path / "bin", satisfies=True, pip="exit 1"))
    assert done.stdout.startswith(f"ran {tmp_path}/bin/python3 -m pytest ")
    assert done.stdout.endswith(" -x\n")
    assert not (tree / ".venv").exists()


def test_set_up_makes_a_venv_once(tree: Path, run: Run, tmp_path: Path) -> None:
    python = _fake_python(tmp_path / "bin", satisfies=False, pip='touch "$0.installed"')
    first, second = run("run_tests.sh", python=python), run("run_tests.sh", python=python)
    assert f"{tree}/.venv" in first.stderr
    assert second.stderr == ""
    assert first.stdout == second.stdout
    assert first.stdout.startswith(f"ran {tree}/.venv/bin/python -m pytest ")
    assert (tree / "made").read_text(encoding="utf-8") == "made\n"


@pytest.mark.parametrize(
    ("lacks", "is_told"),
    [("gdown>=5.2.0 (not installed)", True), ("torch>=2.9.1 (found 2.8.0)", False)],
)
def test_set_up_says_what_a_python_with_pytorch_lacks(
    tree: Path, run: Run, tmp_path: Path, lacks: str, is_told: bool
) -> None:
    python = _fake_python(tmp_path / "my bin", satisfies=False, pip='touch "$0.installed"', lacks=lacks)
    done = run("run_tests.sh", python=python)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert (lacks in lines) is is_told
    advice = [line for line in lines if "-m pip install -r" in line]
    assert len(advice) == is_told
    for line in advice:  # can be pasted into a shell, whatever the path
        command = shlex.split(line.partition(": ")[2])
        assert command[:2] == [f"{python}/python3", "-m"]
        assert command[-3:] == [f"{tree}/requirements.txt", "-r", f"{tree}/requirements-dev.txt"]


def test_set_up_repairs_an_interrupted_venv(tree: Path, run: Run, tmp_path: Path) -> None:
    interrupted = run(
        "run_tests.sh", python=_fake_python(tmp_path / "killed", satisfies=False, pip="kill -9 $PPID; exit 1")
    )
    assert interrupted.returncode != 0
    (tree / ".venv" / "half_a_package").touch()
    python = _fake_python(tmp_path / "bin", satisfies=False, pip='touch "$0.installed"')
    done = run("run_tests.sh", python=python)
    assert done.returncode == 0, done.stderr
    assert not (tree / ".venv" / "half_a_package").exists()


def test_set_up_fails_where_pip_fails(run: Run, tmp_path: Path) -> None:
    done = run("run_tests.sh", python=_fake_python(tmp_path / "bin", satisfies=False, pip="exit 1"))
    assert done.returncode == 1
    assert "pip" in done.stderr.splitlines()[-1]


def test_set_up_leaves_a_venv_of_the_users_own_in_place(tree: Path, run: Run, tmp_path: Path) -> None:
    python = _fake_python(tmp_path / "bin", satisfies=False, pip='touch "$0.installed"')
    own = tree / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    shutil.copy(python / "python3", own)
    done = run("run_tests.sh", python=python)
    assert done.returncode == 0, done.stderr
    assert not (tree / "made").exists()


def test_requirements_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = tmp_path / "base.txt"
    base.write_text("# numbers\ntorch>=1.0\nno-such-package-here>=2.0  # why\n", encoding="utf-8")
    more = tmp_path / "more.txt"
    more.write_text("numpy>=9999.1\npytest\n", encoding="utf-8")
    assert check_requirements([str(base), str(more)]) == 1
    problems = capsys.readouterr().out.splitlines()
    assert len(problems) == 2
    assert problems[0].startswith("no-such-package-here>=2.0")
    assert problems[1].startswith("numpy>=9999.1")
    assert numpy.__version__ in problems[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2.14.1+cpu", (2, 14, 1)), ("2.0rc1", (2, 0)), ("4.10.0.84", (4, 10, 0, 84)), ("", ())],
)
def test_release_numbers(text: str, expected: tuple[int, ...]) -> None:
    assert release(text) == expected
