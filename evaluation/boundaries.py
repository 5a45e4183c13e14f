"""Computes F, the boundary measure, on arrays: edge maps, edge matching, and F of an object in a frame.

Only the part of a frame that holds the object in the annotation or the prediction is processed, with a margin
of one pixel: there are no edges outside it. Sources: the DAVIS 2017 evaluation, and for the off-centre disk
the MOSE v2 evaluation.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.masks import Mask

__all__ = [
    "Reach",
    "boundary_f",
    "boundary_radius",
    "disk",
    "edge_map",
    "object_edges",
    "off_centre_disk",
    "tolerance",
]

TOLERANCE = 0.008  # of the frame's diagonal
_MOST_LOOKUPS = 150_000  # lookups of single pixels that take about as long as dilating an object's edge map

Binary = NDArray[np.uint8]  # H x W, 0 or 1
Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Reach:
    """Holds the offsets at which two edge pixels match.

    Attributes:
        element: n x n, 0 or 1; index ``k`` stands for the offset ``k - n // 2``, in y and in x.
        square: the largest s for which the element contains all offsets from -s to s in y and in x; -1
            if it does not even contain the offset 0, as in the off-centre disk of small frames.
        ring: the element's offsets (x, y) outside that square.
    """

    element: Binary
    square: int
    ring: NDArray[np.int64]


def edge_map(mask: Binary) -> Binary:
    """Marks the pixels that differ from their neighbour on the right, below, or right below.

    Neighbours outside the image are left out: the last row is compared only to the right, the last column
    only downwards, and the last pixel with nothing, so the image border is not an edge. ``mask`` and the
    result: H x W, 0 or 1.
    """
    height, width = mask.shape
    # Flattened, with the last column and row repeated, so that whole arrays can be compared at once.
    flat = np.asarray(cv2.copyMakeBorder(mask, 0, 1, 0, 1, cv2.BORDER_REPLICATE), np.uint8).ravel()
    row = width + 1
    here = flat[: -row - 1]
    edges = np.zeros((height, row), np.uint8)
    np.bitwise_or(here ^ flat[1:-row], here ^ flat[row:-1], out=edges.ravel()[:-1])
    edges.ravel()[:-1] |= here ^ flat[row + 1 :]
    return edges[:, :width]


def tolerance(height: int, width: int) -> float:
    """Returns the distance in pixels (not rounded) at which edges still match: 0.008 of the diagonal."""
    return TOLERANCE * math.hypot(height, width)


def boundary_radius(height: int, width: int) -> int:
    """Returns the radius of the disk in which edges match, in pixels: the tolerance rounded up."""
    return math.ceil(tolerance(height, width))


def object_edges(annotation: Mask, prediction: Mask, number: int) -> tuple[Binary, Binary]:
    """Returns the edge maps of object ``number`` in both masks (H x W ids), cropped to where edges can be.

    The object must be in at least one of the masks. They may already be cropped by ``metrics.scored_part``.
    """
    masks = [(mask == number).view(np.uint8) for mask in (annotation, prediction)]
    x, y, width, height = cv2.boundingRect(cv2.bitwise_or(*masks))
    # With a margin of one pixel, except at the image border.
    rows, columns = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    annotated, predicted = (edge_map(mask[rows, columns]) for mask in masks)
    return annotated, predicted


@lru_cache(maxsize=256)
def disk(radius: int) -> Reach:
    """Returns the disk of all offsets with dy^2 + dx^2 <= radius^2."""
    squares = np.arange(-radius, radius + 1) ** 2
    return _reach(squares[:, None] + squares <= radius**2)


@lru_cache(maxsize=16)
def off_centre_disk(radius: float) -> Reach:
    """Returns MOSE v2's disk. Its centre is at index ``radius``: off the middle if that is not an integer."""
    squares = (np.arange(math.ceil(2 * radius + 1)) - radius) ** 2
    return _reach(squares[:, None] + squares <= radius**2)


def _reach(element: NDArray[np.bool_]) -> Reach:
    middle, square = len(element) // 2, -1
    while square < len(element) - 1 - middle and _square(element, square + 1).all():
        square += 1
    offsets = np.argwhere(element)[:, ::-1] - middle
    ring = offsets[np.abs(offsets).max(axis=1) > square]
    return Reach(element.astype(np.uint8), square, ring)


def _square(element: NDArray[np.bool_], largest: int) -> NDArray[np.bool_]:
    """Crops the element to the offsets from ``-largest`` to ``largest``."""
    part = slice(len(element) // 2 - largest, len(element) // 2 + largest + 1)
    return element[part, part]


def boundary_f(annotated: Binary, predicted: Binary, reach: Reach) -> float:
    """Computes F, 0..1, of two edge maps (H x W, 0 or 1): the harmonic mean of precision and recall.

    An edge pixel is matched if the other map has one within reach; several may match the same pixel. F is 1
    if neither map has edges, 0 if only one has.
    """
    in_annotation, in_prediction = _places(annotated), _places(predicted)
    if not in_annotation.size or not in_prediction.size:
        return float(in_annotation.size == in_prediction.size)
    precision = _found(in_prediction, annotated, reach) / in_prediction.size
    recall = _found(in_annotation, predicted, reach) / in_annotation.size
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _places(edges: Binary) -> Places:
    """Returns the indices of the edge pixels in the flattened map."""
    return np.flatnonzero(edges.view(np.bool_))


def _found(places: Places, others: Binary, reach: Reach) -> int:
    """Counts the edge pixels at ``places`` that have an edge pixel of ``others`` within reach."""
    left = places
    # Dilating by a square is several times as fast as by a disk, and matches most pixels.
    if reach.square >= 0:
        near = cv2.dilate(others, np.ones((2 * reach.square + 1,) * 2, np.uint8))
        left = places[near.ravel()[places] == 0]
    if not left.size:
        return places.size
    if left.size * len(reach.ring) > _MOST_LOOKUPS:
        middle = len(reach.element) // 2
        near = cv2.dilate(others, reach.element, anchor=(middle, middle))
        return places.size - int((near.ravel()[left] == 0).sum())
    # Usually few pixels are left: looking up their neighbours one by one is faster than dilating.
    margin = len(reach.element)
    padded = cv2.copyMakeBorder(others, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    steps = np.array([1, padded.shape[1]])  # in the flattened map, for x and y
    rows, columns = np.divmod(left, others.shape[1])
    starts = np.stack([columns, rows], axis=1) + margin
    found = padded.ravel()[(starts @ steps)[:, None] + reach.ring @ steps].any(axis=1)
    return places.size - left.size + int(found.sum())
