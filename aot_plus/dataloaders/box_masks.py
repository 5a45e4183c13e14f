"""Turns a box around an object into the object's mask, with OpenCV's GrabCut."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from evaluation.masks import Mask

__all__ = ["Box", "mask_of_box", "mask_of_boxes"]

_MARGIN = 0.5  # around a box, as a share of its sides: a sample of the background's colours
_MIN_MARGIN = 16  # pixels
_RIM = 0.1  # inside a box, as a share of its sides: labelled as probable background at first
_WORKING_SIZE = 400  # longest side, in pixels, of the image that GrabCut gets: larger ones take seconds
_ROUNDS = 5
_SEED = 0  # for the colour clustering that GrabCut starts with


class Box(NamedTuple):
    """Holds a box in an image, in pixels."""

    x: int  # left edge
    y: int  # top edge
    width: int
    height: int

    def __str__(self) -> str:
        return ",".join(map(str, self))


class _Area(NamedTuple):
    """Holds a rectangle of an image; row ``bottom`` and column ``right`` are exclusive, as in slices."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """Returns a view of the area."""
        return image[self.top : self.bottom, self.left : self.right]


def mask_of_boxes(image: Image, boxes: Sequence[Box]) -> Mask:
    """Segments the object in each box. Returns ids, H x W, 1 for the first box; later objects lie on top.

    Raises ``DataError`` for the same reason as ``mask_of_box``, and if an object is covered completely.
    """
    ids = np.zeros(image.shape[:2], np.uint8)
    for number, box in enumerate(boxes, start=1):
        ids[mask_of_box(image, box)] = number
    for number, box in enumerate(boxes, start=1):
        if not np.any(ids == number):
            raise DataError(f"box {box}: the boxes after it cover all of its object; give it after them")
    return ids


def mask_of_box(image: Image, box: Box) -> NDArray[np.bool_]:
    """Segments the object in a box by the colours inside and around the box. Returns a mask, H x W.

    If the colours do not separate the object from its surroundings, the mask is the whole box.

    Args:
        image: H x W x 3, RGB.
        box: clipped to the image.

    Raises:
        DataError: the box contains no pixel of the image.
    """
    height, width = image.shape[:2]
    inside = _Area(
        max(box.y, 0), min(box.y + box.height, height), max(box.x, 0), min(box.x + box.width, width)
    )
    if inside.bottom <= inside.top or inside.right <= inside.left:
        raise DataError(f"box {box}: holds no pixel of the image, which is {width} x {height}")
    mask = np.zeros((height, width), np.bool_)
    inside.of(mask)[:] = True
    around = _with_margin(inside, (height, width))
    found = _grab(around.of(image), around.of(mask))
    if found.any():
        around.of(mask)[:] = found
    return mask


def _with_margin(area: _Area, size: tuple[int, int]) -> _Area:
    """Adds a margin to an area, clipped to an image of ``size`` (H, W)."""
    sides = (area.bottom - area.top, area.right - area.left)
    down, across = (max(_MIN_MARGIN, round(_MARGIN * side)) for side in sides)
    return _Area(
        max(area.top - down, 0),
        min(area.bottom + down, size[0]),
        max(area.left - across, 0),
        min(area.right + across, size[1]),
    )


def _grab(image: Image, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the foreground (h x w) in the region ``inside``; all False if that is the whole image."""
    height, width = inside.shape
    scale = min(1.0, _WORKING_SIZE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    candidates = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if candidates.all() or not candidates.any():  # no colours to compare
        return np.zeros_like(inside)
    labels = np.where(candidates > 0, cv2.GC_PR_BGD, cv2.GC_BGD).astype(np.uint8)
    x, y, across, down = cv2.boundingRect(candidates)
    rim_x, rim_y = int(_RIM * across), int(_RIM * down)
    labels[y + rim_y : y + down - rim_y, x + rim_x : x + across - rim_x] = cv2.GC_PR_FGD
    cv2.setRNGSeed(_SEED)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))  # colour models, which GrabCut fills in
    cv2.grabCut(small, labels, (0, 0, 0, 0), background, foreground, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return np.asarray(cv2.resize(found, (width, height)) >= 0.5) & inside
