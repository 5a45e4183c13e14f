"""Writes images in the background."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from evaluation.files import writing

T = TypeVar("T")

ITEMS_PER_THREAD = 4  # items that may wait per thread before ``write`` blocks


class BackgroundWriter(Generic[T]):
    """Calls functions in a bounded pool of threads, and writes what they return.

    With one thread, results are written in order. A thread's first error is raised by the next ``write`` that
    notices it, at the latest by ``join``. Leaving the ``with`` block always joins the threads; items that
    still wait are then not written.
    """

    def __init__(self, threads: int, write: Callable[[Path, T], None]) -> None:
        """``write``: writes an item, such as an image, to a path."""
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
        """Queues a function that makes an item; blocks if many wait. Raises earlier items' ``DataError``."""
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
