"""The process pool: its results are in order, and no process outlives the work."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from evaluation import parallel
from evaluation.errors import DataError
from evaluation.parallel import map_in_processes
from tests.processes import is_running, wait_until

ROOT = Path(__file__).resolve().parents[1]


def square(number: int) -> int:
    if number < 0:
        raise DataError(f"{number} is negative")
    return number * number


def end(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note_and_wait(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(120)


def own_number(_: int) -> int:
    return os.getpid()


def is_imported(module: str) -> bool:
    return module in sys.modules


@pytest.mark.parametrize("workers", [1, 2, None])
def test_results_are_in_order(workers: int | None) -> None:
    assert map_in_processes(square, range(5), workers, "square", size=float) == [0, 1, 4, 9, 16]
    assert map_in_processes(square, [], workers, "square") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_call_is_raised(workers: int) -> None:
    with pytest.raises(DataError, match="-3 is negative"):
        map_in_processes(square, [1, -3, 2], workers, "square")


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_worker_that_is_killed_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        map_in_processes(end, [1, 2, 3], 2, "end")
    assert isinstance(caught.value.__cause__, BrokenProcessPool)


def test_no_more_processes_than_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert set(map_in_processes(own_number, range(3), None, "ask")) == {os.getpid()}


class Interrupting(list[int]):
    """Numbers; accessing one sends Ctrl-C."""

    def __getitem__(self, index: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(index)


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_ctrl_c_while_workers_start_is_not_lost() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        map_in_processes(square, Interrupting([1, 2]), 2, "square")
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_first_process(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "import sys; from pathlib import Path; from evaluation.parallel import map_in_processes\n"
        "from tests.test_parallel import note_and_wait\n"
        "map_in_processes(note_and_wait, [Path(sys.argv[1])] * 2, 2, 'wait')"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    first.send_signal(number)
    assert first.wait(30) != 0
    workers = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(is_running, workers)))


def test_workers_do_not_import_a_program_run_as_a_module(tmp_path: Path) -> None:
    """The tool's imports (torch) would cost each worker seconds."""
    (tmp_path / "program.py").write_text(
        "import fractions\n"
        "from evaluation.parallel import map_in_processes\n"
        "from tests.test_parallel import is_imported\n"
        "if __name__ == '__main__':\n"
        "    print(map_in_processes(is_imported, ['heavy', 'cv2'], 2, 'ask'))\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-m", "program"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[False, True]\n"


def test_a_script_without_a_guard_is_told_what_it_needs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from evaluation.errors import DataError\n"
        "from evaluation.parallel import map_in_processes\n"
        "from tests.test_parallel import square\n"
        "try:\n"
        "    map_in_processes(square, [1, 2], 2, 'square')\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "__main__" in done.stdout
    assert "workers=1" in done.stdout


def test_the_metric_s_own_script_has_its_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    main = ModuleType("__main__")
    main.__file__ = str(ROOT / "evaluation" / "evaluation_method.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert "__main__" not in parallel._hint()
    main.__file__ = str(ROOT / "script.py")
    assert "__main__" in parallel._hint()
