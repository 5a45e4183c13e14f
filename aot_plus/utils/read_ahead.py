"""Fetches the next items in threads while other work runs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import repeat, takewhile
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["ReadAhead"]

T = TypeVar("T")

_END: Any = object()


class ReadAhead(Generic[T]):
    """Iterates over the results of calls that threads run up to ``ahead`` results in advance.

    If a call raises, the iteration raises the error in place of its result. Use it in a ``with`` block:
    leaving the block stops the threads, even if the iteration has not finished.
    """

    def __init__(self, calls: Iterable[Callable[[], T]], *, ahead: int = 4, threads: int = 2) -> None:
        self._calls = calls
        self._ahead = ahead
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read-ahead")

    @classmethod
    def of(cls, items: Iterable[T], *, ahead: int = 4) -> "ReadAhead[T]":
        """Iterates over ``items``, which one thread fetches in order."""
        return cls(repeat(partial(next, iter(items), _END)), ahead=ahead, threads=1)

    def __enter__(self) -> "ReadAhead[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def __iter__(self) -> Iterator[T]:
        return takewhile(lambda result: result is not _END, self._results())

    def _results(self) -> Iterator[T]:
        pending: deque[Future[T]] = deque()
        for call in self._calls:
            pending.append(self._threads.submit(call))
            if len(pending) > self._ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
