"""Ctrl-C and SIGTERM end a command with the shell's exit codes, without a traceback, whenever they come."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aot_plus.tools.common import run_tool
from evaluation.signals import Terminated, signals_as_exceptions
from tests.processes import is_running, wait_until

ROOT = Path(__file__).resolve().parents[1]
ENDED_BY_CTRL_C = (130, -signal.SIGINT)  # a shell shows 130 for both


def send(number: int) -> int:
    os.kill(os.getpid(), number)
    time.sleep(10)
    return 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_codes_of_a_tool(number: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    assert run_tool(lambda: send(number)) == code
    assert len(capsys.readouterr().err.splitlines()) == 2  # a newline after ^C and the message; no traceback
    assert signal.getsignal(number) is before


def test_an_import_that_turns_ctrl_c_into_an_import_error_does_not_hide_it() -> None:
    def broken_import() -> None:
        try:
            send(signal.SIGTERM)
        except KeyboardInterrupt as interrupt:
            raise ImportError("initialisation failed") from interrupt

    with pytest.raises(Terminated), signals_as_exceptions():
        broken_import()


@pytest.mark.parametrize("program", ["aot_plus", "aot_plus.tools.eval"])
def test_ctrl_c_during_imports_shows_no_traceback(program: str, tmp_path: Path) -> None:
    """Ctrl-C arrives while the program imports argparse, which all programs need; here, that import hangs."""
    (tmp_path / "argparse.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'importing')!r}).touch()\ntime.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", program, "eval"], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    wait_until((tmp_path / "importing").exists, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode in ENDED_BY_CTRL_C


def test_a_process_of_the_launcher_is_ended_by_ctrl_c_before_its_work() -> None:
    code = "import aot_plus.utils.new_process, time; print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode in ENDED_BY_CTRL_C


def test_unwritable_output_is_reported() -> None:
    code = "from aot_plus.tools.common import run_tool; exit(run_tool(lambda: print('text') or 0))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "No space left on device" in line


def test_processes_of_torchrun_end_when_it_is_killed(tmp_path: Path) -> None:
    """This includes processes that are still starting, and would otherwise wait for each other."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, time, pathlib\n"
        "from aot_plus.pipeline.launch import launch\n"
        "def work():\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.pid').touch()\n"
        "    time.sleep(300)\n"
        "launch(work, processes=1)\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    torchrun = subprocess.Popen([*command, str(program)], env=environment, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    torchrun.kill()
    torchrun.wait()
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_until(lambda: not any(map(is_running, workers)))
