"""A function in several processes: its result, its errors, Ctrl-C, and no process left running."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import distributed
from torch.distributed.launcher.api import LaunchConfig

from aot_plus.networks.managers import processes
from aot_plus.networks.managers.processes import (
    LONGEST_WAIT,
    ProcessPlace,
    any_process,
    average_over_processes,
    broadcast_from_first,
    gather,
    patient_group,
    process_group,
    sum_over_processes,
)
from aot_plus.pipeline.launch import _work, launch
from aot_plus.tools.common import run_tool
from aot_plus.utils.errors import DataError, ProcessError, VOSError
from evaluation.signals import raise_first_signal
from tests import forked
from tests.processes import is_running, wait_until


def collect(failing: str) -> list[str]:
    """Returns every process's rank; the second process may fail."""
    place = ProcessPlace.from_environment()
    if place.rank == 1 and failing == "error":
        raise DataError("video.mp4: is broken")
    if place.rank == 1 and failing == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if place.world_size > 1:  # prepared for Ctrl-C and the launcher's end even while it imports torch
        assert vars(sys.modules["__mp_main__"])["__spec__"].name == "aot_plus.utils.new_process"
    with process_group(place):
        return gather(place, f"{place.rank} of {place.world_size}")


def collect_twice(folder: Path) -> list[int]:
    """Collects the ranks in two groups; the first process joins the second group late, as after a metric."""
    place = ProcessPlace.from_environment()
    with process_group(place):
        first = gather(place, place.rank)
    meet = vars(processes)["_meet"]

    def meet_and_note(place: ProcessPlace) -> distributed.Store:
        store: distributed.Store = meet(place)
        (folder / f"{place.rank} met").touch()
        return store

    vars(processes).update(_meet=meet_and_note, LONGEST_START=timedelta(0))  # the start-up time is over
    if place.rank > 0:
        (folder / "1 comes").touch()
    else:
        wait_until((folder / "1 comes").exists)
        time.sleep(0.5)
        assert not (folder / "1 met").exists()  # it would connect to this process's previous address
    with process_group(place):
        return first + gather(place, place.rank)


def timeouts() -> list[float]:
    """Returns the seconds that an exchange may take in the usual group and in the patient one."""
    place, device = ProcessPlace.from_environment(), torch.device("cpu")
    with process_group(place, device):
        patient = patient_group(place, device)
        assert patient is not None
        assert any_process(place, place.rank == 1, device, patient)
        groups = (distributed.group.WORLD, patient)
        return [group._get_backend(device).options._timeout.total_seconds() for group in groups]


def fail_and_end_last() -> None:
    """Fails in the second process, which makes the first fail too; the first ends before the second."""
    place = ProcessPlace.from_environment()
    with process_group(place, torch.device("cpu")):
        first = gather(place, os.getpid())[0]
        if place.rank == 1:
            threading.Thread(target=wait_until, args=(lambda: not is_running(first),)).start()
            raise DataError("video.mp4: is broken")
        sum_over_processes(place, torch.ones(1))


def wait_long(folder: Path, deaf: bool) -> None:
    """Records the process and waits to be ended.

    If ``deaf``, it ignores SIGINT, which PyTorch makes Linux send to it when its parent ends.
    """
    if deaf:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / str(os.getpid())).touch()
    time.sleep(300)


def connect_in_vain(folder: Path) -> None:
    """Connects as the first of two processes, of which the second has ended since they met."""
    store = distributed.FileStore(str(folder / "store"), 2)
    vars(processes)["_meet"] = lambda place: store
    signal.signal(signal.SIGTERM, raise_first_signal)
    (folder / "met").touch()
    with process_group(ProcessPlace(0, 2, 0, 2)):
        pass


def test_sigterm_ends_a_process_that_waits_for_one_that_ended(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=connect_in_vain, args=(tmp_path,))
    process.start()
    wait_until((tmp_path / "met").exists, process.is_alive)
    time.sleep(0.5)  # by then it is trying to connect
    process.terminate()
    process.join(20)
    process.kill()
    assert process.exitcode == -signal.SIGTERM


def fail_and_get_sigterm() -> None:
    """Fails as one of several processes, and gets torchrun's SIGTERM while it ends."""

    def fail() -> None:
        raise DataError("video.mp4: is broken")

    try:
        _work(fail)
    except DataError:
        os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_does_not_disturb_a_process_that_reports_its_error() -> None:
    process = multiprocessing.get_context("fork").Process(target=fail_and_get_sigterm)
    process.start()
    process.join(20)
    assert process.exitcode == 0


def launch_and_wait(folder: Path, fork: bool, deaf: bool) -> int:
    """Launches waiting processes, as a tool does."""
    if fork:
        forked.fork_launched()
    return run_tool(lambda: launch(wait_long, folder, deaf, processes=2))


def test_the_result_is_that_of_the_first_process() -> None:
    handler = signal.getsignal(signal.SIGINT)
    assert launch(collect, "", processes=1) == ["0 of 1"]
    assert launch(collect, "", processes=2) == ["0 of 2", "1 of 2"]
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize("ignored", [False, True])
def test_a_hang_up_stays_ignored_under_nohup(ignored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    handled: list[str] = []

    def start(config: LaunchConfig, _: object) -> Callable[..., dict[int, None]]:
        handled.extend(config.signals_to_handle.split(","))
        return lambda *_: {0: None}

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", start)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        launch(collect, "", processes=2)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ("SIGHUP" in handled, {"SIGINT", "SIGTERM"} <= set(handled)) == (not ignored, True)


def test_a_second_group_waits_for_its_last_process(tmp_path: Path, forked_processes: None) -> None:
    """As under torchrun with two jobs, the second group must not use what the first left in its store."""
    assert launch(collect_twice, tmp_path, processes=2) == [0, 1, 0, 1]


def test_only_the_patient_group_waits_for_days(forked_processes: None) -> None:
    usual, patient = launch(timeouts, processes=2)
    assert usual <= 3600
    assert patient == LONGEST_WAIT.total_seconds()


def test_an_error_is_raised_as_it_was(forked_processes: None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(VOSError, match=r"^video\.mp4: is broken$"):
        launch(collect, "error", processes=2)
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_error_is_found_behind_the_errors_that_it_caused(forked_processes: None) -> None:
    with pytest.raises(VOSError, match=r"^video\.mp4: is broken$"):
        launch(fail_and_end_last, processes=2)


@pytest.mark.parametrize(
    "exchange",
    [
        lambda place: gather(place, 1),
        lambda place: sum_over_processes(place, torch.ones(1)),
        lambda place: average_over_processes(place, [torch.ones(1)]),
        lambda place: broadcast_from_first(place, [torch.ones(1)]),
    ],
)
def test_an_exchange_with_an_ended_process_is_an_error_that_says_so(
    exchange: Callable[[ProcessPlace], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    for name in ("all_gather_object", "all_reduce", "broadcast"):
        monkeypatch.setattr(distributed, name, fail)
    with pytest.raises(ProcessError, match=r"process 1 of 3\b"):
        exchange(ProcessPlace(1, 3, 1, 3))


def test_a_killed_process_is_reported(forked_processes: None) -> None:
    with pytest.raises(VOSError, match=r"process 1 .* -9\b"):
        launch(collect, "killed", processes=2)


@pytest.mark.parametrize(
    ("number", "fork"), [(signal.SIGINT, True), (signal.SIGKILL, True), (signal.SIGKILL, False)]
)
def test_no_process_outlives_the_first(tmp_path: Path, number: signal.Signals, fork: bool) -> None:
    noted, log = tmp_path / "processes", tmp_path / "log.txt"
    noted.mkdir()
    # After Ctrl-C, the first process ends the others. If it is killed, they must notice: forked processes by
    # what ``launch`` makes them call, processes started as for a user also by ``new_process``.
    first = forked.start(launch_and_wait, noted, fork, number == signal.SIGKILL, log=log)
    wait_until(lambda: len(list(noted.iterdir())) == 2, first.process.is_alive, say=first.output)
    if number == signal.SIGINT:
        os.killpg(first.pid, number)  # as a terminal does
        assert first.wait() == 130
        assert len(first.output().splitlines()) == 2  # a newline after ^C and the message; no traceback
    else:
        os.kill(first.pid, number)
        assert first.wait() == -number
    for path in noted.iterdir():
        wait_until(lambda process=int(path.name): not is_running(process), seconds=30)
