"""Scores sequences under a protocol. Worker processes import this module, so it should import quickly."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.errors import DataError
from evaluation.frame_scores import score_frame
from evaluation.masks import IGNORE_ID, Mask, read_mask
from evaluation.metrics import FloatArray
from evaluation.parallel import map_in_processes
from evaluation.protocols import Protocol
from evaluation.sequences import AnnotatedSequence, mask_pairs, num_objects

__all__ = ["ObjectScores", "Outcome", "score_each", "score_sequences"]

# Far above a mask's size; the memory is never touched.
_LARGE_BLOCK = 16 * 2**20  # bytes


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """Holds an object's measures in the scored frames of its sequence.

    Attributes:
        sequence, number: the names of its row: "crowd" and "2", in SA-V "sav_000101" and "002".
        group: the group that it counts in ("seen"); empty if the protocol has no groups.
        frames: the names of the n scored frames, without suffix.
        values: n values in 0..1 by the measure's name; NaN where the frame does not count for the object.
        annotated: whether the annotation shows the object, n values.
    """

    sequence: str
    number: str
    group: str
    frames: tuple[str, ...]
    values: dict[str, FloatArray]
    annotated: NDArray[np.bool_]


# The outcome of a sequence: the scores of its objects, or the problem that prevents them.
Outcome = list[ObjectScores] | DataError


def score_sequences(
    sequences: list[AnnotatedSequence], results: Path, workers: int | None, protocol: Protocol
) -> list[ObjectScores]:
    """Scores the objects of the sequences, in their order, with a progress bar.

    A problem in one sequence does not stop the others, so that one run reports all problems.

    Args:
        results: the folder of the predictions, which has passed ``check_predictions``.
        workers: processes, as for ``map_in_processes``. Each holds one frame's two masks at a time.
    Raises:
        DataError: the problems of all sequences, one per line, or a worker that died.
    """
    outcomes = score_each(sequences, results, workers, protocol)
    problems = [str(outcome) for outcome in outcomes if isinstance(outcome, DataError)]
    if problems:
        raise DataError("\n".join(problems))
    return [scores for outcome in outcomes if not isinstance(outcome, DataError) for scores in outcome]


def score_each(
    sequences: list[AnnotatedSequence], results: Path, workers: int | None, protocol: Protocol
) -> list[Outcome]:
    """Scores like ``score_sequences``, but returns problems as outcomes. Raises only if a worker died."""
    score = partial(_score_files, results, protocol)
    return map_in_processes(score, sequences, workers, "evaluate", size=lambda one: len(one.frames))


def _score_files(results: Path, protocol: Protocol, sequence: AnnotatedSequence) -> Outcome:
    """Reads a sequence's masks and scores them. ``results``: the folder of the predictions."""
    _keep_freed_memory()
    try:
        return _score(results, protocol, sequence)
    except DataError as error:
        return error


def _score(results: Path, protocol: Protocol, sequence: AnnotatedSequence) -> list[ObjectScores]:
    first = read_mask(sequence.annotations / sequence.frames[0]) if protocol.objects == "first" else None
    ids = _merging_ids(first) if protocol.merges else None
    pairs = _with_ids(mask_pairs(sequence, results), ids)
    count = _count(sequence, first, ids)
    if protocol.refuses_foreign:
        pairs = _without_foreign(pairs, count, results, sequence)
    frames = len(sequence.scored_frames)
    values = np.ones((len(protocol.measures), count, frames))
    annotated, predicted = np.zeros((2, count, frames), dtype=bool)
    for index, (annotation, prediction) in enumerate(pairs):
        scores = score_frame(annotation, prediction, count, protocol)
        values[..., index] = scores.values
        annotated[:, index], predicted[:, index] = scores.annotated > 0, scores.predicted > 0
    if protocol.from_occurrence:
        before = np.logical_or.accumulate(annotated | predicted, axis=1)
        values[:, ~before] = np.nan
    return _objects(protocol, sequence, values, annotated)


def _merging_ids(first: Mask | None) -> tuple[Mask, Mask]:
    """Returns the tables that map each of the 256 ids to object 1, in annotations and in predictions."""
    one = np.minimum(np.arange(256), 1).astype(np.uint8)
    # In the archive of DAVIS 2016 the object has id 255; if there are other ids, 255 is ignored.
    if first is None or set(np.unique(first)) == {0, IGNORE_ID}:
        return one, one
    without_255 = one.copy()
    without_255[IGNORE_ID] = 0
    # Predictions may also mark the object with 255, unless the annotation itself contains 255.
    return without_255, without_255 if (first == IGNORE_ID).any() else one


def _with_ids(
    pairs: Iterable[tuple[Mask, Mask]], ids: tuple[Mask, Mask] | None
) -> Iterator[tuple[Mask, Mask]]:
    for annotation, prediction in pairs:
        yield (annotation, prediction) if ids is None else (ids[0][annotation], ids[1][prediction])


def _count(sequence: AnnotatedSequence, first: Mask | None, ids: tuple[Mask, Mask] | None) -> int:
    """Returns the largest id that can be scored. Raises ``DataError`` for a first mask without objects."""
    if sequence.binary:
        return 1
    if first is not None:
        return num_objects(sequence, first if ids is None else ids[0][first])
    return max((one.number for one in sequence.objects), default=IGNORE_ID)


def _without_foreign(
    pairs: Iterable[tuple[Mask, Mask]], count: int, results: Path, sequence: AnnotatedSequence
) -> Iterator[tuple[Mask, Mask]]:
    """Passes the pairs on. Raises ``DataError`` that names a prediction with an id above ``count``."""
    for frame, (annotation, prediction) in zip(sequence.scored_frames, pairs, strict=True):
        largest = int(prediction.max())
        if largest > count:
            path = results / sequence.name / frame
            expected = f"the ids of the first annotation end at {count}"
            raise DataError(f"{path}: the prediction holds id {largest}; {expected}")
        yield annotation, prediction


def _objects(
    protocol: Protocol, sequence: AnnotatedSequence, values: FloatArray, annotated: NDArray[np.bool_]
) -> list[ObjectScores]:
    """Returns the scores of the objects that count. ``values``: measures x K x n; ``annotated``: K x n."""
    name, _, folder = sequence.name.partition("/")
    frames = tuple(Path(frame).stem for frame in sequence.scored_frames)
    if sequence.binary and not annotated.any():
        raise DataError(f"{sequence.annotations}: no annotation that counts shows the object")
    numbers: Iterable[int] = range(1, len(annotated) + 1)
    if protocol.objects == "scored":
        numbers = (np.flatnonzero(annotated.any(axis=1)) + 1).tolist()
    listed = {one.number: one for one in sequence.objects}
    scores = []
    for number in listed or numbers:
        of_object, group = values[:, number - 1].copy(), ""
        if number in listed:
            counted, group = listed[number].frames, listed[number].group
            if counted is not None:
                of_object[:, [frame not in counted for frame in sequence.scored_frames]] = np.nan
        by_name = dict(zip(protocol.measures, of_object, strict=True))
        row = folder or str(number)
        scores.append(ObjectScores(name, row, group, frames, by_name, annotated[number - 1]))
    return scores


def _keep_freed_memory() -> None:
    """Makes the C library keep freed memory for the next mask instead of returning it to the system.

    glibc returns blocks above a threshold, which it sets to the size of the first large block that is freed.
    Mapping the memory again for every mask would take a fifth of the time of scoring it.
    """
    np.empty(_LARGE_BLOCK, dtype=np.uint8)
