"""Locks a folder that a run writes to: a second run is refused, and the lock ends with its process."""

import fcntl
import json
import logging
import os
import shlex
import socket
import sys
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO

from evaluation.errors import DataError
from evaluation.files import remove_leftovers, writing

_log = logging.getLogger(__name__)

LOCK_FILE = ".lock"
_LONGEST_COMMAND = 300  # characters
_open_files: set[IO[str]] = set()


class FolderLock:
    """Locks an existing folder for the duration of a ``with`` block.

    The system releases the lock when the process ends, however it ends. The processes of one run share it:
    the first one acquires it and then calls ``share``, the others enter with ``shared=True``. A process that
    acquires it alone removes half-written files that killed processes left. The last process to leave removes
    the lock file.
    """

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        self.folder = folder
        self._shared = shared
        self._file: IO[str] | None = None

    def __enter__(self) -> "FolderLock":
        """Acquires the lock. Raises ``DataError`` that says who holds it, or why no file can be written."""
        self._file = _acquire(self.folder, shared=self._shared)
        if self._file is not None and not self._shared:
            try:
                with writing(self.folder / LOCK_FILE):
                    _sign(self._file)
                    remove_leftovers(self.folder)
            except BaseException:
                self._release()
                raise
        return self

    def share(self) -> None:
        """Lets other processes of this run enter. Raises ``DataError`` if another run was quicker."""
        if self._file is not None and not _try_lock(self._file, fcntl.LOCK_SH):
            raise _refusal(self.folder)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if _try_lock(file, fcntl.LOCK_EX):  # fails while other processes of this run hold the lock
            (self.folder / LOCK_FILE).unlink(missing_ok=True)
        _open_files.discard(file)
        file.close()


def refuse_locked(folder: Path) -> None:
    """Raises ``DataError`` if a run is working in the folder, which may be read-only."""
    try:
        with (folder / LOCK_FILE).open(encoding="utf-8") as file:
            if not _try_lock(file, fcntl.LOCK_SH):
                raise _refusal(folder)
    except FileNotFoundError:
        return


def _acquire(folder: Path, *, shared: bool) -> IO[str] | None:
    """Opens and locks the lock file; returns None if the file system does not support locks."""
    path = folder / LOCK_FILE
    while True:
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error
        try:
            locked = _try_lock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        except OSError as error:
            file.close()
            _log.warning("%s: cannot be locked (%s): start no second run there", folder, error.strerror)
            return None
        if not locked:
            file.close()
            raise _refusal(folder)
        if _is_at(file, path):
            _open_files.add(file)
            return file
        file.close()  # the run that held it has just removed it


def _try_lock(file: IO[str], kind: int) -> bool:
    """Tries to lock an open file without waiting; returns whether it succeeded.

    Raises ``OSError`` if the file system does not support locks.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _sign(file: IO[str]) -> None:
    """Writes into the lock file who holds the lock."""
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "command": shlex.join(sys.argv)[:_LONGEST_COMMAND],
    }
    file.truncate(0)
    # Bypasses the file's buffer: on a full disk, closing the file would fail as well.
    os.pwrite(file.fileno(), f"{json.dumps(holder)}\n".encode(), 0)


def _refusal(folder: Path) -> DataError:
    """Returns the error that says who is working in the folder, as far as the lock file tells."""
    try:
        holder = json.loads((folder / LOCK_FILE).read_text(encoding="utf-8"))
        who = "process {pid} on {host} since {since} ({command})".format(**holder)
    except (OSError, ValueError, KeyError, TypeError):
        who = "a process that has just begun"
    return DataError(
        f"{folder}: another run works there: {who}. Wait until it ends, or choose another folder"
    )


def _close_in_child() -> None:
    """Closes the lock files that a forked process inherits: it would keep the lock after its parent died."""
    while _open_files:
        _open_files.pop().close()


os.register_at_fork(after_in_child=_close_in_child)
