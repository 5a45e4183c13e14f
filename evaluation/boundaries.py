"""Computes F, the boundary measure, on arrays: edge maps, pixels within reach, F of an object in a frame.

All is computed on the part of a frame that holds an object in annotation or prediction, with a margin of one
pixel: outside there are no edges. Sources: the DAVIS 2017 evaluation; that of MOSE v2 for the lopsided disk.
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
    "lopsided_disk",
    "object_edges",
    "tolerance",
]

TOLERANCE = 0.008  # of the frame's diagonal
_MOST_LOOKUPS = 150_000  # of single pixels, in about the time that dilating an object's part of a frame takes

Binary = NDArray[np.uint8]  # H x W, 0 or 1
Places = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Reach:
    """Holds the offsets at which an edge pixel counts as found.

    Attributes:
        element: n x n, 0 or 1; place ``k`` stands for the offset ``k - n // 2``, in y and in x.
        square: the largest s with all offsets of at most s, in y and in x, inside the element; -1
            where even the offset 0 is not, as in the lopsided disk of small frames.
        ring: the element's offsets (x, y) outside that square.
    """

    element: Binary
    square: int
    ring: NDArray[np.int64]


def edge_map(mask: Binary) -> Binary:
    """Finds pixels that differ from the one to the right, below, or right below, where there is one.

    So the last row is compared to the right alone, the last column downwards alone, and the last pixel with
    nothing: the border of the image is no edge. ``mask``: H x W, 0 or 1; returns the same.
    """
    height, width = mask.shape
    # In one row after another, with a copy of the last column and row: whole arrays are compared at once.
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
    """Returns the edge maps of object ``number`` in both masks (H x W ids), cut to where there can be edges.

    The object is in at least one of the masks. The masks may be cut, as ``metrics.scored_part`` does.
    """
    masks = [(mask == number).view(np.uint8) for mask in (annotation, prediction)]
    x, y, width, height = cv2.boundingRect(cv2.bitwise_or(*masks))
    # The margin of one pixel, which is missing at the border of the image alone.
    rows, columns = slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)
    annotated, predicted = (edge_map(mask[rows, columns]) for mask in masks)
    return annotated, predicted


@lru_cache(maxsize=256)
def disk(radius: int) -> Reach:
    """Makes the element of all offsets with dy^2 + dx^2 <= radius^2."""
    squares = np.arange(-radius, radius + 1) ** 2
    return _reach(squares[:, None] + squares <= radius**2)


@lru_cache(maxsize=16)
def lopsided_disk(radius: float) -> Reach:
    """Makes MOSE v2's element, whose centre is at ``radius``, beside the array's middle if not an integer."""
    squares = (np.arange(math.ceil(2 * radius + 1)) - radius) ** 2
    return _reach(squares[:, None] + squares <= radius**2)


def _reach(element: NDArray[np.bool_]) -> Reach:
    middle, square = len(element) // 2, -1
    while square < len(element) - 1 - middle and _square(element, square + 1).all():
        square += 1
    offsets = np.argwhere(element)[:, ::-1] - middle
    ring = offsets[np.abs(offsets).max(axis=1, initial=0) > square]
    return Reach(element.astype(np.uint8), square, ring)


def _square(element: NDArray[np.bool_], largest: int) -> NDArray[np.bool_]:
    """Cuts out the offsets from ``-largest`` to ``largest``."""
    part = slice(len(element) // 2 - largest, len(element) // 2 + largest + 1)
    return element[part, part]


def boundary_f(annotated: Binary, predicted: Binary, reach: Reach) -> float:
    """Computes F, 0..1, of two edge maps (H x W, 0 or 1): the harmonic mean of their precision and recall.

    A pixel is found if the other map has a pixel within reach; several may find the same. Two maps without
    edges score 1, one alone scores 0.
    """
    in_annotation, in_prediction = _places(annotated), _places(predicted)
    if not in_annotation.size or not in_prediction.size:
        return float(in_annotation.size == in_prediction.size)
    precision = _found(in_prediction, annotated, reach) / in_prediction.size
    recall = _found(in_annotation, predicted, reach) / in_annotation.size
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _places(edges: Binary) -> Places:
    """Lists where edge pixels are, in one row of the map after another."""
    return np.flatnonzero(edges.view(np.bool_))


def _found(places: Places, others: Binary, reach: Reach) -> int:
    """Counts the places that have a pixel of ``others`` within reach."""
    left = places
    # A square is dilated several times as fast as a disk, and most pixels lie within it.
    if reach.square >= 0:
        near = cv2.dilate(others, np.ones((2 * reach.square + 1,) * 2, np.uint8))
        left = places[near.ravel()[places] == 0]
    if not left.size:
        return places.size
    if left.size * len(reach.ring) > _MOST_LOOKUPS:
        middle = len(reach.element) // 2
        near = cv2.dilate(others, reach.element, anchor=(middle, middle))
        return places.size - int((near.ravel()[left] == 0).sum())
    # Few pixels are left as a rule: to look for their neighbours one by one is faster than to dilate.
    margin = len(reach.element)
    padded = cv2.copyMakeBorder(others, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)
    steps = np.array([1, padded.shape[1]])  # in memory, for x and y
    rows, columns = np.divmod(left, others.shape[1])
    starts = np.stack([columns, rows], axis=1) + margin
    found = padded.ravel()[(starts @ steps)[:, None] + reach.ring @ steps].any(axis=1)
    return places.size - left.size + int(found.sum())
