"""Applies strokes and boxes to the mask of a frame."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from aot_plus.dataloaders.box_masks import Box, mask_of_box
from aot_plus.utils.images import Image
from evaluation.masks import Mask

__all__ = ["Stroke", "box_object", "paint"]

_FRACTION = 4  # fractional bits of the coordinates given to OpenCV


@dataclass(frozen=True)
class Stroke:
    """Holds a line drawn with a round brush.

    Attributes:
        object_id: the object to paint; 0 erases.
        points: x, y in pixels of the frame, at least one.
        diameter: the brush's diameter, in pixels of the frame.
    """

    object_id: int
    points: Sequence[tuple[float, float]]
    diameter: float


def paint(mask: Mask, stroke: Stroke, kept: Collection[int]) -> Mask:
    """Paints on a copy of a mask (H x W ids). Pixels of the ids ``kept`` (hidden objects) stay."""
    touched = np.zeros(mask.shape, np.uint8)
    # A pixel's centre lies half a pixel from its edge, but OpenCV has pixel centres at whole numbers.
    points = np.rint((np.asarray(stroke.points, np.float64) - 0.5) * 2**_FRACTION).astype(np.int32)
    radius = max(1, round(stroke.diameter / 2 * 2**_FRACTION))
    for x, y in points.tolist():
        cv2.circle(touched, (x, y), radius, 1, -1, cv2.LINE_8, _FRACTION)
    thickness = max(1, round(stroke.diameter))
    cv2.polylines(touched, [points], False, 1, thickness, cv2.LINE_8, _FRACTION)
    return _filled(mask, np.asarray(touched > 0), stroke.object_id, kept)


def box_object(mask: Mask, image: Image, box: Box, object_id: int, kept: Collection[int]) -> Mask:
    """Adds what GrabCut finds in a box to an object. Raises ``DataError`` for a box outside the frame."""
    return _filled(mask, mask_of_box(image, box), object_id, kept)


def _filled(mask: Mask, region: np.ndarray, object_id: int, kept: Collection[int]) -> Mask:
    painted = mask.copy()
    painted[region & ~np.isin(mask, list(kept))] = object_id
    return painted
