"""Scoring the sequences of a split. Worker processes import this, and wait for what it imports."""

from functools import partial
from pathlib import Path

import numpy as np

from evaluation.errors import DataError
from evaluation.metrics import FloatArray, score_frames
from evaluation.parallel import map_in_processes
from evaluation.vost import AnnotatedSequence, mask_pairs, read_num_objects

# What becomes of a sequence: its IoUs (K x scored frames), or the problem it has.
Outcome = FloatArray | DataError

# Far above a mask's size; the memory is never touched.
_LARGE_BLOCK = 16 * 2**20  # bytes


def score_sequences(
    sequences: list[AnnotatedSequence], results: Path, workers: int | None
) -> list[FloatArray]:
    """IoUs of the sequences (K x scored frames each), in their order, with a progress bar.

    A sequence with a problem does not keep the others from being read, so that one run names all problems.

    Args:
        results: the folder of the predictions; ``vost.check_predictions`` has passed.
        workers: processes, as for ``map_in_processes``. Each holds one frame's two masks at a time.
    Raises:
        DataError: the problems of all sequences, a line each, or a worker that died.
    """
    outcomes = score_each(sequences, results, workers)
    problems = [str(outcome) for outcome in outcomes if isinstance(outcome, DataError)]
    if problems:
        raise DataError("\n".join(problems))
    return [outcome for outcome in outcomes if not isinstance(outcome, DataError)]


def score_each(sequences: list[AnnotatedSequence], results: Path, workers: int | None) -> list[Outcome]:
    """As ``score_sequences``, but a sequence's problem is its outcome. Raises only if a worker died."""
    score = partial(_score_files, results)
    return map_in_processes(score, sequences, workers, "evaluate", size=lambda one: len(one.frames))


def _score_files(results: Path, sequence: AnnotatedSequence) -> Outcome:
    """Reads a sequence's masks and scores them. ``results``: the folder of the predictions."""
    _keep_freed_memory()
    try:
        return score_frames(mask_pairs(sequence, results), read_num_objects(sequence))
    except DataError as error:
        return error


def _keep_freed_memory() -> None:
    """Has the C library keep what is freed for the next mask, where it would give it back to the system.

    glibc takes the size of the first large block that is freed as the one from which on memory goes back.
    Mapping the memory of every mask anew takes a fifth of the time of scoring it.
    """
    np.empty(_LARGE_BLOCK, dtype=np.uint8)
