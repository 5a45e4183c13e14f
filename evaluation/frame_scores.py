"""Computes the measures of all objects in one frame, under a protocol."""

import math
from dataclasses import dataclass

import numpy as np

from evaluation.boundaries import (
    Reach,
    boundary_f,
    boundary_radius,
    disk,
    object_edges,
    off_centre_disk,
    tolerance,
)
from evaluation.masks import Mask
from evaluation.metrics import FloatArray, frame_overlaps, scored_part
from evaluation.protocols import Protocol

__all__ = ["FrameScores", "score_frame"]

_REACH_OF_AREA = 0.1  # MOSE v2: reach as a share of the square root of an object's area


@dataclass(frozen=True, eq=False)
class FrameScores:
    """Holds the scores of objects ``1..K``.

    Attributes:
        values: measures x K, in 0..1.
        annotated, predicted: K numbers of pixels, in the annotation and in the prediction.
    """

    values: FloatArray
    annotated: FloatArray
    predicted: FloatArray


def score_frame(annotation: Mask, prediction: Mask, num_objects: int, protocol: Protocol) -> FrameScores:
    """Computes the protocol's measures of the objects ``1..num_objects``. An object in neither mask scores 1.

    Args:
        annotation, prediction: uint8, H x W, ids; larger ids are background.
    Raises:
        DataError: the masks are not uint8, not H x W, or not of the same size.
    """
    values = np.ones((len(protocol.measures), num_objects))
    part = scored_part(annotation, prediction)
    if part is None:
        return FrameScores(values, np.zeros(num_objects), np.zeros(num_objects))
    intersection, annotated, predicted = frame_overlaps(*part, num_objects)
    union = annotated + predicted - intersection
    smoothing = protocol.smoothing
    np.divide(intersection + smoothing, union + smoothing, out=values[0], where=union > 0)
    if len(protocol.measures) > 1:
        for index in np.flatnonzero(union):
            edges = object_edges(*part, int(index) + 1)
            reaches = _reaches(annotation.shape, annotated[index], protocol)
            # Both of MOSE v2's measures have the same reach for large objects.
            scores = {reach: boundary_f(*edges, reach) for reach in dict.fromkeys(reaches)}
            values[1:, index] = [scores[reach] for reach in reaches]
    return FrameScores(values, annotated, predicted)


def _reaches(size: tuple[int, ...], area: float, protocol: Protocol) -> list[Reach]:
    """Returns the reach of each boundary measure for an object with ``area`` annotated pixels."""
    height, width = size
    if "F_new" not in protocol.measures:
        return [disk(boundary_radius(height, width))]
    largest = tolerance(height, width)
    own = math.ceil(_REACH_OF_AREA * math.sqrt(area)) if area else math.inf
    if own < largest:
        return [disk(int(own)), disk(boundary_radius(height, width))]
    return [off_centre_disk(largest)] * 2
