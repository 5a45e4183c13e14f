"""Checking a whole dataset, several sequences at a time in processes of their own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event

from tqdm import tqdm

from aot_plus.dataloaders.dataset_check.findings import FOLDER_MISSING, Finding
from aot_plus.dataloaders.dataset_check.layout import check_folders, check_splits
from aot_plus.dataloaders.dataset_check.sequence import SequenceReport, check_sequence
from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.utils.errors import DataError

# In a worker: set when the check was given up. None in the first process.
_stop: Event | None = None


@dataclass(frozen=True)
class DatasetReport:
    """All findings, and how much was looked at: sequences per split, and the report of each sequence."""

    findings: list[Finding]
    splits: dict[str, int]
    sequences: list[SequenceReport]


def check_dataset(dataset: VOSTDataset, split: str | None = None, workers: int = 1) -> DatasetReport:
    """Checks the sequences of ``split`` or, with None, of all splits, with a progress bar.

    More than one worker needs the caller's main module to be importable (``if __name__ == "__main__"``).
    Without JPEGImages_10fps or Annotations no sequence is looked at. Raises ``DataError`` for an unknown
    split, or when a worker process died.
    """
    splits, findings = check_splits(dataset, split)
    findings = check_folders(dataset) + findings
    names = list(dict.fromkeys(name for of_split in splits.values() for name in of_split))
    if any(finding.kind == FOLDER_MISSING for finding in findings):
        names = []
    reports: dict[str, SequenceReport] = {}
    with tqdm(total=len(names), desc="check", unit="sequence", disable=not names) as bar:
        for report in _reports(dataset, names, min(workers, len(names))):
            reports[report.name] = report
            bar.update()
    in_order = [reports[name] for name in names]
    findings += [finding for report in in_order for finding in report.findings]
    counts = {name: len(of_split) for name, of_split in splits.items()}
    return DatasetReport(findings, counts, in_order)


def _reports(dataset: VOSTDataset, names: list[str], workers: int) -> Iterator[SequenceReport]:
    """The sequences' reports, in any order."""
    if workers <= 1:
        yield from (check_sequence(dataset, name) for name in names)
        return
    longest_first = sorted(names, key=lambda name: -dataset.length(name))
    with _executor(workers) as executor:
        with _interrupts_ignored():
            futures = [executor.submit(_check, dataset, name) for name in longest_first]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                f"{dataset.root}: a worker process was ended from outside (out of memory?)"
            ) from error


def _check(dataset: VOSTDataset, name: str) -> SequenceReport:
    return check_sequence(dataset, name, _given_up)


def _given_up() -> bool:
    return _stop is not None and _stop.is_set()


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes; if the block raises, they stop after the file they are at."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(stop,))
    try:
        yield executor
    except BaseException:
        stop.set()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started in this block ignore Ctrl-C: a terminal sends it to all, and the first answers it."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _start_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose first process was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
