"""Two runs in one folder: the second is refused, and the remains of a dead run are no obstacle."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from evaluation import evaluate
from evaluation.errors import DataError
from evaluation.files import replacing
from evaluation.folder_lock import LOCK_FILE, FolderLock, refuse_locked
from tests.processes import is_running

HOLD = """
import sys, time
from pathlib import Path
from evaluation.files import replacing
from evaluation.folder_lock import FolderLock
with FolderLock(Path(sys.argv[1])), replacing(Path(sys.argv[1]) / "config.yaml"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that holds the lock of ``tmp_path`` and is writing a file there."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_run_is_told_which_run_is_there(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(DataError) as refusal, FolderLock(tmp_path):
        pass
    message = str(refusal.value)
    assert message.startswith(f"{tmp_path}: ")
    assert f"process {holder.pid} " in message
    assert socket.gethostname() in message
    assert re.search(r" 20\d\d-\d\d-\d\d", message)
    assert str(tmp_path) in message.partition("(")[2]  # the run's command


def test_the_lock_of_a_killed_run_is_free_and_its_half_files_go(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    (half,) = tmp_path.glob(".config.*.yaml")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert half.exists()
    with FolderLock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_and_leaves_no_lock(tmp_path: Path) -> None:
    largest, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        with pytest.raises(DataError, match=f"{tmp_path}/.lock: "), FolderLock(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, most))
    with FolderLock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_locks_place_is_named(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).mkdir()
    with pytest.raises(DataError, match=rf"{tmp_path / LOCK_FILE}: "), FolderLock(tmp_path):
        pass


def test_without_locks_the_run_goes_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with FolderLock(tmp_path) as lock:
        lock.share()
    assert f"{tmp_path}: cannot be locked" in caplog.text


def test_no_figures_are_made_of_masks_that_are_being_written(golden: Path) -> None:
    folder = golden / "predictions"
    with FolderLock(folder), pytest.raises(DataError, match=f"process {os.getpid()} "):
        evaluate(folder, golden / "VOST", "val")
    assert evaluate(folder, golden / "VOST", "val", workers=1).j > 0


def test_a_folder_that_cannot_be_written_to_can_be_asked(tmp_path: Path) -> None:
    refuse_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with FolderLock(tmp_path), pytest.raises(DataError, match=f"process {os.getpid()} "):
        refuse_locked(tmp_path)
    refuse_locked(tmp_path)


def test_the_processes_of_a_run_share_its_lock(tmp_path: Path) -> None:
    """The lock lasts as long as the last process, here the second, as if the first had been killed."""
    with FolderLock(tmp_path, shared=True), pytest.raises(DataError), FolderLock(tmp_path):
        pass
    first = FolderLock(tmp_path)
    with first:
        with pytest.raises(DataError), FolderLock(tmp_path, shared=True):
            pass
        first.share()
        second = FolderLock(tmp_path, shared=True).__enter__()
    with pytest.raises(DataError), FolderLock(tmp_path):
        pass
    second.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def _work(pids: Connection) -> None:
    pids.send(os.getpid())
    time.sleep(60)


def _hold_with_a_worker(folder: Path, pids: Connection) -> None:
    with FolderLock(folder):
        multiprocessing.get_context("fork").Process(target=_work, args=(pids,)).start()
        time.sleep(60)


def test_a_forked_process_does_not_hold_the_lock(tmp_path: Path) -> None:
    """For example, a data worker that outlives its parent by some seconds."""
    context = multiprocessing.get_context("fork")
    told, pids = context.Pipe(duplex=False)
    run = context.Process(target=_hold_with_a_worker, args=(tmp_path, pids))
    run.start()
    assert told.poll(30)
    worker = told.recv()
    try:
        with pytest.raises(DataError, match=f"process {run.pid} "):
            refuse_locked(tmp_path)
        run.kill()
        run.join()
        with FolderLock(tmp_path):
            assert is_running(worker)
    finally:
        run.kill()
        os.kill(worker, signal.SIGKILL)


def test_a_file_in_the_making_has_a_name_that_is_recognised(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.yaml") as temporary:
        assert temporary.name.startswith(".a.")
        assert temporary.name.endswith(".partial.yaml")
