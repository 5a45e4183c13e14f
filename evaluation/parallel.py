"""Scoring the sequences of a split, several at a time in processes of their own."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from evaluation.errors import DataError
from evaluation.metrics import FloatArray
from evaluation.vost import Sequence
from evaluation.worker import Outcome, score_files, start_worker


def score_sequences(sequences: list[Sequence], results: Path, workers: int) -> list[FloatArray]:
    """IoUs of the sequences (K x scored frames each), in their order, with a progress bar.

    A sequence with a problem does not keep the others from being read, so that one run names all problems.

    Args:
        results: the folder of the predictions; ``vost.check_predictions`` has passed.
        workers: processes; with 1 no process is started. A worker holds one frame's two masks at a time.
    Raises:
        DataError: the problems of all sequences, a line each, or a worker that died.
    """
    outcomes = score_each(sequences, results, workers)
    problems = [str(outcome) for outcome in outcomes if isinstance(outcome, DataError)]
    if problems:
        raise DataError("\n".join(problems))
    return [outcome for outcome in outcomes if not isinstance(outcome, DataError)]


def score_each(sequences: list[Sequence], results: Path, workers: int) -> list[Outcome]:
    """As ``score_sequences``, but a sequence's problem is its outcome. Raises only if a worker died."""
    outcomes: dict[Sequence, Outcome] = {}
    with tqdm(total=len(sequences), desc="evaluate", unit="sequence") as bar:

        def keep(sequence: Sequence, outcome: Outcome) -> None:
            outcomes[sequence] = outcome
            bar.update()

        if workers == 1:
            for sequence in sequences:
                keep(sequence, score_files(sequence, results))
        else:
            _score_in_processes(sequences, results, workers, keep)
    return [outcomes[sequence] for sequence in sequences]


def _score_in_processes(
    sequences: list[Sequence], results: Path, workers: int, keep: Callable[[Sequence, Outcome], None]
) -> None:
    longest_first = sorted(sequences, key=lambda sequence: -len(sequence.frames))
    with _executor(workers) as executor:
        with _interrupts_ignored():
            futures = {executor.submit(score_files, each, results): each for each in longest_first}
        try:
            for future in as_completed(futures):
                keep(futures[future], future.result())
        except BrokenProcessPool as error:
            raise DataError("a worker process was ended from outside (out of memory?)") from error


@contextmanager
def _executor(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes (safe whatever threads this one has); if the block raises, they soon stop."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=start_worker, initargs=(stop,))
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
