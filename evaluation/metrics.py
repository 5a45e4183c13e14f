"""Computes the VOST metric on arrays: arrays in, numbers out, no file system.

Masks are uint8 arrays of H x W object ids: 0 is background, 255 (ignored) counts as background too. Frames
are processed one at a time: memory grows with the length of a video by one float per object and frame only.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise, zip_longest

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.errors import DataError
from evaluation.masks import IGNORE_ID, Mask

MIN_ANNOTATED_FRAMES = 3
RECALL_THRESHOLD = 0.5
DECAY_QUARTERS = 4
LAST_FRAMES_START = 0.75
_FEW_OBJECTS = 8  # up to this many objects, counting one by one is faster than a histogram
FIGURES = ("J-Mean", "J-Recall", "J-Decay", "J_last-Mean", "J_last-Recall", "J_last-Decay")

FloatArray = NDArray[np.float64]


def count_objects(first_annotation: Mask) -> int:
    """Counts the scored objects of a sequence: the largest id of its first annotation (255 excluded).

    An id in ``1..K`` that never occurs is scored as well; objects that appear later are not.
    Raises ``DataError`` if the annotation holds no object.
    """
    highest = int(np.max(first_annotation, initial=0, where=first_annotation != IGNORE_ID))
    if highest == 0:
        raise DataError("the first annotation holds no object")
    return highest


def frame_ious(annotation: Mask, prediction: Mask, num_objects: int) -> FloatArray:
    """Computes intersection over union (J) of the objects ``1..num_objects`` in one frame.

    Ids above the range and 255 are background in both masks (ignored pixels are not masked out). An object
    that is in neither mask scores 1.

    Args:
        annotation, prediction: uint8, H x W, ids.
        num_objects: K, 1..254.
    Returns:
        K values in 0..1; index ``k - 1`` is object ``k``.
    Raises:
        DataError: the masks are not uint8, not H x W, or not of the same size.
    """
    part = scored_part(annotation, prediction)
    if part is None:
        return np.ones(num_objects)
    intersection, annotated, predicted = frame_overlaps(*part, num_objects)
    union = annotated + predicted - intersection
    return np.divide(intersection, union, out=np.ones(num_objects), where=union > 0)


def scored_part(annotation: Mask, prediction: Mask) -> tuple[Mask, Mask] | None:
    """Crops both masks to where either holds an object, with a margin of one pixel; None if neither does.

    Pixels that are background in both masks do not affect the scores, and usually make up most of a frame.
    There is no margin at the border of the frame. Raises ``DataError`` like ``frame_ious``.
    """
    _check_masks(annotation, prediction)
    x, y, width, height = cv2.boundingRect(cv2.max(annotation, prediction))
    if not width:
        return None
    rows, columns = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    # Contiguous copies, since several passes over their rows follow.
    return np.ascontiguousarray(annotation[rows, columns]), np.ascontiguousarray(prediction[rows, columns])


def frame_overlaps(
    annotation: Mask, prediction: Mask, num_objects: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Counts each object's pixels in the intersection, in the annotation and in the prediction (K each).

    ``annotation``, ``prediction``: of the same size, as ``scored_part`` returns them.
    """
    highest = min(num_objects, max(int(annotation.max()), int(prediction.max())))
    if highest <= _FEW_OBJECTS:
        counts = np.zeros((3, num_objects))
        for index in range(highest):
            annotated, predicted = annotation == index + 1, prediction == index + 1
            both = annotated & predicted
            counts[:, index] = [np.count_nonzero(pixels) for pixels in (both, annotated, predicted)]
        return counts[0], counts[1], counts[2]
    # All objects at once: one joint histogram of annotated and predicted ids. A bin for each of the 256 ids
    # costs less than a further pass over the pixels to merge the ids that do not count.
    joint = cv2.calcHist([annotation, prediction], [0, 1], None, [256, 256], [0, 256, 0, 256])
    objects = slice(1, num_objects + 1)
    of_annotation = joint[objects].sum(axis=1, dtype=np.float64)
    of_prediction = joint[:, objects].sum(axis=0, dtype=np.float64)
    return np.diagonal(joint)[objects].astype(np.float64), of_annotation, of_prediction


def _check_masks(annotation: Mask, prediction: Mask) -> None:
    if annotation.dtype != np.uint8 or prediction.dtype != np.uint8:
        raise DataError(f"masks must be uint8, found {annotation.dtype} and {prediction.dtype}")
    if annotation.ndim != 2 or annotation.shape != prediction.shape:
        raise DataError(
            f"masks must be H x W and of the same size, found {annotation.shape} and {prediction.shape}"
        )


def recall(ious: FloatArray) -> FloatArray:
    """Returns the share of frames with an IoU above 0.5. ``ious``: ... x n, n >= 1; the result: ..., 0..1."""
    return np.asarray((ious > RECALL_THRESHOLD).mean(axis=-1))


def decay(ious: FloatArray) -> FloatArray:
    """Returns the mean IoU of the first quarter of frames minus that of the last. ``ious``: ... x n, n >= 1.

    The quarters meet at ``round(linspace(1, n, 5) + 1e-10) - 1`` and share their border frames, as in the
    published VOST evaluation. That code keeps these indices in 8 bits, so its decay is wrong for sequences of
    more than 255 scored frames; this function is right for any length, and differs from it only there.
    """
    marks = np.linspace(1, ious.shape[-1], DECAY_QUARTERS + 1)
    borders = np.round(marks + 1e-10).astype(np.int64) - 1
    first = ious[..., : borders[1] + 1]
    last = ious[..., borders[-2] :]
    return np.asarray(first.mean(axis=-1) - last.mean(axis=-1))


def last_frames(ious: FloatArray) -> FloatArray:
    """Returns the frames ``floor(0.75 n)..n-1`` that J_tr (J_last) averages. ``ious``: ... x n, n >= 1."""
    return ious[..., int(LAST_FRAMES_START * ious.shape[-1]) :]


def object_figures(ious: FloatArray) -> FloatArray:
    """Computes each object's figures: K x n IoUs (n >= 1) to K x 6, columns as in ``FIGURES``."""
    columns: list[FloatArray] = []
    for part in (ious, last_frames(ious)):
        columns += [part.mean(axis=-1), recall(part), decay(part)]
    return np.stack(columns, axis=-1)


def global_figures(figures: Iterable[FloatArray]) -> FloatArray:
    """Averages over all objects (not sequences). ``figures``: K x 6 for each sequence; returns 6 values."""
    return np.concatenate(list(figures)).mean(axis=0)


def score_frames(frames: Iterable[tuple[Mask, Mask]], num_objects: int) -> FloatArray:
    """Computes IoUs of scored frames. ``frames``: (annotation, prediction) pairs; returns K x n."""
    ious = [frame_ious(annotation, prediction, num_objects) for annotation, prediction in frames]
    return np.array(ious).reshape(-1, num_objects).T


def score_sequence(annotations: Iterable[Mask], predictions: Iterable[Mask]) -> FloatArray:
    """Computes IoUs of one whole sequence, read frame by frame. ``object_figures`` turns them into figures.

    Args:
        annotations: all annotated frames in order (uint8, H x W). The first determines which objects are
            scored; the first and the last frame are not scored themselves.
        predictions: the predicted masks of the same frames, the first and the last included.
    Returns:
        K x (frames - 2) values in 0..1.
    Raises:
        DataError: fewer than 3 frames, not as many predictions as annotations, no object in the first
            annotation, or masks of different sizes.
    """
    pairs = _paired(annotations, predictions)
    first = next(pairs, None)
    without_last = (pair for pair, _ in pairwise(pairs))
    ious = score_frames(without_last, count_objects(first[0])) if first else np.empty((0, 0))
    if ious.size == 0:
        raise DataError(f"fewer than {MIN_ANNOTATED_FRAMES} annotated frames")
    return ious


def _paired(annotations: Iterable[Mask], predictions: Iterable[Mask]) -> Iterator[tuple[Mask, Mask]]:
    for annotation, prediction in zip_longest(annotations, predictions):
        if annotation is None or prediction is None:
            raise DataError("there are not as many predictions as annotations")
        yield annotation, prediction
