"""Writes results: images in the background, and a sequence's folder that gets its name when whole."""

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from aot_plus.networks.memory.trace import trace_path
from aot_plus.utils.errors import DataError
from evaluation.files import replacing, writing

T = TypeVar("T")

_UNFINISHED = ".unfinished"
ITEMS_PER_THREAD = 4  # how many items may wait for each thread before ``write`` blocks


class BackgroundWriter(Generic[T]):
    """Calls functions in a bounded pool of threads, and writes what they return.

    One thread writes them in order. The first error of a thread is raised by the next ``write`` that notices
    it, at the latest by ``join``. Leaving the ``with`` block joins the threads in any case; what is still
    waiting then is not written.
    """

    def __init__(self, threads: int, write: Callable[[Path, T], None]) -> None:
        """``write``: writes an item, as an image, to a path."""
        self._limit = threads * ITEMS_PER_THREAD
        self._write = write
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="writer")
        self._pending: deque[tuple[Path, Future[None]]] = deque()

    def __enter__(self) -> "BackgroundWriter[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def write(self, path: Path, make: Callable[[], T]) -> None:
        """Hands over what makes an item; blocks while many wait. Raises earlier items' ``DataError``."""
        self._pending.append((path, self._pool.submit(self._write_one, path, make)))
        while self._pending and (len(self._pending) > self._limit or self._pending[0][1].done()):
            self._finish_oldest()

    def join(self) -> None:
        """Waits until everything is written. Raises ``DataError`` with the path of an item that was not."""
        while self._pending:
            self._finish_oldest()

    def _write_one(self, path: Path, make: Callable[[], T]) -> None:
        self._write(path, make())

    def _finish_oldest(self) -> None:
        path, written = self._pending.popleft()
        with writing(path):
            written.result()


class SequenceFolder:
    """Manages the result folder of one sequence.

    Masks go to the hidden folder ``.<sequence>.<process>.unfinished`` next to it, which is renamed once every
    mask is there: a folder with the sequence's name is always whole, whenever the process is killed.
    """

    def __init__(self, result_dir: Path, sequence: str) -> None:
        self.target = result_dir / sequence
        self.temporary = result_dir / f".{sequence}.{os.getpid()}{_UNFINISHED}"
        self.trace = trace_path(result_dir, sequence)

    def is_complete(self, files: Iterable[str], with_trace: bool) -> bool:
        """Returns True if all files (paths in the folder) are there, and the trace exists if wanted."""
        if with_trace and not self.trace.is_file():
            return False
        return not missing_masks(self.target, files)

    def discard_unfinished(self) -> None:
        """Removes what a killed or failed run left."""
        if self.temporary.exists():
            shutil.rmtree(self.temporary)

    def discard(self) -> None:
        """Removes the results as well; the folder loses its name first: no part passes for a result."""
        self.discard_unfinished()
        self.trace.unlink(missing_ok=True)
        if self.target.exists():
            self.target.rename(self.temporary)
            shutil.rmtree(self.temporary)

    def start(self) -> Path:
        """Makes the hidden folder, empty, and returns it."""
        self.discard_unfinished()
        self.temporary.mkdir(parents=True)
        return self.temporary

    def finish(self, files: Iterable[str], trace: list[str] | None) -> None:
        """Writes the trace (JSON lines), if there is one, and gives the folder its name.

        Raises ``DataError`` if a mask is not there: another run works in the same result folder.
        """
        missing = missing_masks(self.temporary, files)
        if missing:
            raise DataError(
                f"{self.temporary}: masks vanished (does another run write here?): {', '.join(missing[:5])}"
            )
        self.trace.unlink(missing_ok=True)
        if trace is not None:
            with replacing(self.trace) as path:
                path.write_text("".join(line + "\n" for line in trace), encoding="utf-8")
        self.temporary.rename(self.target)


def remove_unfinished(result_dir: Path) -> None:
    """Removes the sequences' hidden folders that killed runs left. No other run may be writing there."""
    for path in result_dir.glob(f".*{_UNFINISHED}"):
        shutil.rmtree(path)


def missing_masks(folder: Path, files: Iterable[str]) -> list[str]:
    """Lists those of the files (paths in the folder) that are not there."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    return [file for file in files if file not in present]
