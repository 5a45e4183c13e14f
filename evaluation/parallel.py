"""Scoring the sequences of a split, several at a time in processes of their own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import takewhile
from multiprocessing.synchronize import Event
from pathlib import Path

import cv2
from tqdm import tqdm

from evaluation.errors import EvaluationError
from evaluation.metrics import FloatArray, score_frames
from evaluation.vost import Sequence, mask_pairs, read_num_objects

# What becomes of a sequence: its IoUs (K x frames), or the problem it has.
Outcome = FloatArray | EvaluationError

# In a worker: set when the run was given up. None in the first process.
_stop: Event | None = None


def score_sequences(sequences: list[Sequence], results: Path, workers: int) -> list[FloatArray]:
    """IoUs of the sequences (K x scored frames each), in their order, with a progress bar.

    A sequence with a problem does not keep the others from being read, so that one run names all problems.

    Args:
        results: the folder of the predictions; ``vost.check_predictions`` has passed.
        workers: processes; with 1 no process is started. A worker holds one frame's two masks at a time.
    Raises:
        EvaluationError: the problems of all sequences, a line each, or a worker that died.
    """
    outcomes = score_each(sequences, results, workers)
    problems = [str(outcome) for outcome in outcomes if isinstance(outcome, EvaluationError)]
    if problems:
        raise EvaluationError("\n".join(problems))
    return [outcome for outcome in outcomes if not isinstance(outcome, EvaluationError)]


def score_each(sequences: list[Sequence], results: Path, workers: int) -> list[Outcome]:
    """As ``score_sequences``, but a sequence's problem is its outcome. Raises only if a worker died."""
    outcomes: dict[Sequence, Outcome] = {}
    with tqdm(total=len(sequences), desc="evaluate", unit="sequence") as bar:

        def keep(sequence: Sequence, outcome: Outcome) -> None:
            outcomes[sequence] = outcome
            bar.update()

        if workers == 1:
            for sequence in sequences:
                keep(sequence, _score(sequence, results))
        else:
            _score_in_processes(sequences, results, workers, keep)
    return [outcomes[sequence] for sequence in sequences]


def _score_in_processes(
    sequences: list[Sequence], results: Path, workers: int, keep: Callable[[Sequence, Outcome], None]
) -> None:
    longest_first = sorted(sequences, key=lambda sequence: -len(sequence.frames))
    with _executor(workers) as executor:
        with _interrupts_ignored():
            futures = {executor.submit(_score, sequence, results): sequence for sequence in longest_first}
        try:
            for future in as_completed(futures):
                keep(futures[future], future.result())
        except BrokenProcessPool as error:
            raise EvaluationError("a worker process was ended from outside (out of memory?)") from error


def _score(sequence: Sequence, results: Path) -> Outcome:
    try:
        num_objects = read_num_objects(sequence)
        pairs = takewhile(lambda _: _stop is None or not _stop.is_set(), mask_pairs(sequence, results))
        return score_frames(pairs, num_objects)
    except EvaluationError as error:
        return error


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes (safe whatever threads this one has); if the block raises, they soon stop."""
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
    cv2.setNumThreads(1)  # the other processors have workers of their own
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose first process was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
