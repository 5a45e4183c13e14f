"""Calls that threads make before their results are needed."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from aot_plus.utils.errors import DataError
from aot_plus.utils.read_ahead import ReadAhead


def _numbers(note: Callable[[int], None]) -> Iterator[int]:
    for number in range(10):
        note(number)
        yield number


def _calls(note: Callable[[int], None]) -> list[Callable[[], int]]:
    def call(number: int) -> int:
        note(number)
        return number

    return [partial(call, number) for number in range(10)]


@pytest.fixture(params=["calls", "items"])
def make(request: pytest.FixtureRequest) -> Callable[[Callable[[int], None]], ReadAhead[int]]:
    """Makes a reader of 0 to 9, three ahead, that calls a function with each number as it is read."""
    if request.param == "calls":
        return lambda note: ReadAhead(_calls(note), ahead=3)
    return lambda note: ReadAhead.of(_numbers(note), ahead=3)


def test_in_order_and_no_further_than_asked(
    make: Callable[[Callable[[int], None]], ReadAhead[int]],
) -> None:
    read: list[int] = []
    reached = threading.Event()

    def note(number: int) -> None:
        read.append(number)
        if len(read) == 4:
            reached.set()

    with make(note) as reader:
        results = iter(reader)
        assert next(results) == 0
        assert reached.wait(10)  # the first and three ahead are read unasked
        assert sorted(read) == [0, 1, 2, 3]
        assert list(results) == list(range(1, 10))


def test_errors_come_where_they_happened_and_threads_end(
    make: Callable[[Callable[[int], None]], ReadAhead[int]],
) -> None:
    def broken(number: int) -> None:
        if number == 2:
            raise DataError("2 is broken")

    threads = threading.active_count()
    seen: list[int] = []
    with pytest.raises(DataError, match="2 is broken"), make(broken) as reader:
        seen.extend(reader)
    assert threading.active_count() == threads
    with make(broken) as reader:
        iterator = iter(reader)
        seen = [next(iterator), next(iterator)]  # stops early, before the error
    assert seen == [0, 1]
    assert threading.active_count() == threads


def test_nothing_to_read() -> None:
    with ReadAhead[int]([]) as none, ReadAhead[int].of([]) as nothing:
        assert [*none, *nothing] == []
