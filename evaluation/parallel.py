"""Calls a function for every item of a list in separate processes: the project's only process pool."""

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
    """Returns how many cores this process may use, by affinity and the container's quota; at least 1."""
    machine = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    return max(1, int(min(machine, affinity, _quota())))


def _quota() -> float:
    """Returns how many cores the container may use; infinity without a limit."""
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
        function: defined in an importable module; it and its results can be pickled.
        workers: number of processes; None for one per core that this process may use. 1 starts no process.
        size: how long an item takes, in any unit: the longest are started first.
    Raises:
        DataError: a process was killed from outside. Whatever ``function`` raises is raised here, too.
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
    """Makes this process exit as soon as its parent has ended, even if the parent was killed."""
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()


def _watch_parent(number: int) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    else:
        while os.getppid() == number:  # an orphaned process gets another parent
            time.sleep(_LOOK_EVERY)
    os._exit(1)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool of spawned processes (safe whatever threads this one has), ended if the block raises."""
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
    """Returns a hint for scripts: they need a main guard, since each process imports them again."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    # The metric's own script has the guard.
    is_script = main.__spec__ is None and file is not None and Path(file).parent != Path(__file__).parent
    return (
        '. A script must call this under if __name__ == "__main__":, or with workers=1' if is_script else ""
    )


@contextmanager
def _starting() -> Iterator[None]:
    """Makes processes started in this block ignore Ctrl-C, and not import a program that runs with ``-m``.

    A terminal sends Ctrl-C to all processes, and the first one handles it. Each new process would import the
    main module again, and with it torch if the tool does: this takes seconds, and the mapped functions are in
    other modules.
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
    """Blocks Ctrl-C for processes started in the block; for this process, delays it until the block ends."""
    resource_tracker.ensure_running()  # its start would unblock Ctrl-C
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
    """Prepares a worker process, which ends when the other end of ``watched`` is closed."""
    import cv2

    cv2.setNumThreads(1)  # the other cores have workers of their own
    threading.Thread(target=_end_with, args=(watched,), daemon=True).start()


def _end_with(watched: Connection) -> None:
    """Ends this process when the first one closes the pipe or is killed."""
    with suppress(EOFError, OSError):
        watched.recv_bytes()
    os._exit(1)
