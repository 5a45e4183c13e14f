"""Calls a function for every item of a list in separate processes: the one pool of this project."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from evaluation.errors import DataError

__all__ = ["end_with_parent", "map_in_processes", "usable_cores"]

_CGROUP = Path("/sys/fs/cgroup")
_LOOK_EVERY = 0.5  # seconds

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Counts the cores that this process may use, by affinity and the container's quota; 1 at least."""
    machine = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return max(1, int(min(machine, affinity, _quota())))


def _quota() -> float:
    """Returns how many cores a container may use, infinity where nothing limits it."""
    try:
        limit, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return float("inf") if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        return float("inf")


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int | None,
    description: str,
    *,
    size: Callable[[Item], float] | None = None,
) -> list[Result]:
    """Returns ``function``'s results in the order of the items, with a progress bar on stderr.

    The processes end at once when a call raises, on Ctrl-C, and when this process is killed.

    Args:
        function: of an importable module; it and what it returns can be pickled.
        workers: processes; None for one on each core that this process may use. With 1 no process is started.
        size: how long an item takes, in any unit: the longest are begun first.
    Raises:
        DataError: a process was ended from outside; and whatever ``function`` raises.
    """
    from evaluation.progress import ProgressBar

    workers = min(workers or usable_cores(), len(items))
    results: dict[int, Result] = {}
    with ProgressBar(total=len(items), desc=description, unit="sequence", disable=not items) as bar:

        def keep(index: int, result: Result) -> None:
            results[index] = result
            bar.update()

        if workers <= 1:
            for index, item in enumerate(items):
                keep(index, function(item))
        else:
            order = sorted(range(len(items)), key=lambda index: -size(items[index]) if size else 0)
            with _pool(workers) as pool:
                with _starting():
                    futures = {pool.submit(function, items[index]): index for index in order}
                for future in as_completed(futures):
                    keep(futures[future], future.result())
    return [results[index] for index in range(len(items))]


def end_with_parent() -> None:
    """Has this process end, at once, after the one that started it, which may have been killed."""
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()


def _watch_parent(number: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    else:
        while os.getppid() == number:  # an orphan gets another parent
            time.sleep(_LOOK_EVERY)
    os._exit(1)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool of fresh processes (safe whatever threads this one has), ended if the block raises."""
    context = multiprocessing.get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(watched,))
    with watched, held:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise DataError(f"a worker process was ended from outside (out of memory?){_hint()}") from error
        except BaseException:
            held.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _hint() -> str:
    """Says what a script needs: each process imports it, and would run what it does once more."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    # The metric's own script has what it needs.
    is_script = main.__spec__ is None and file is not None and Path(file).parent != Path(__file__).parent
    return (
        '. A script must call this under if __name__ == "__main__":, or with workers=1' if is_script else ""
    )


@contextmanager
def _starting() -> Iterator[None]:
    """Has processes that start in this block ignore Ctrl-C, and leave a program run with ``-m`` alone.

    A terminal sends Ctrl-C to all processes, and the first one answers it. A new process would import the
    main module again, and with it torch where a tool does so: seconds for each. Our functions lie elsewhere.
    """
    main = sys.modules["__main__"]
    try:
        if main.__spec__ is not None:
            sys.modules["__main__"] = ModuleType("__main__")
        if threading.current_thread() is threading.main_thread():
            with _interrupt_blocked():
                yield
        else:
            yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _interrupt_blocked() -> Iterator[None]:
    """Blocks Ctrl-C for processes that start in the block, and for this one until its end."""
    resource_tracker.ensure_running()  # it unblocks Ctrl-C when it starts
    noted: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, previous)
        if noted:
            signal.raise_signal(signal.SIGINT)


def _start_worker(watched: Connection) -> None:
    """Prepares a process. ``watched``: closed at its other end when the work is given up."""
    import cv2

    cv2.setNumThreads(1)  # the other processors have workers of their own
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


def _end_with(watched: Connection) -> None:
    """Ends this process when the first one closes the pipe, or was killed."""
    with suppress(EOFError, OSError):
        watched.recv_bytes()
    os._exit(1)
