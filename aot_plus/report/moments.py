"""Draws a sequence's worst moments: a small JPEG with the masks' contours as paths over it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aot_plus.utils.masks import read_image
from evaluation.masks import Mask

__all__ = ["Jpeg", "contours", "small_jpeg", "worst_frames"]

_SIDES = (480, 360, 270, 200, 160)  # pixels of the longer side, tried in turn until a picture is small enough
_MAX_OUTLINES = 24  # per object; the largest are drawn
_MAX_POINTS = 240  # per object, over all its contours
_MIN_AREA = 3.0  # square pixels of the picture; smaller spots are not drawn


@dataclass(frozen=True)
class Jpeg:
    """Holds a picture of ``width x height`` pixels as a base64 JPEG."""

    jpeg: str
    width: int
    height: int


def worst_frames(values: NDArray[np.float64], count: int) -> list[int]:
    """Returns the positions of the lowest ``values`` (n), at most ``count``, at least n / (2 count) apart.

    They are in ascending order.
    """
    apart = max(1, len(values) // (2 * max(count, 1)))
    chosen: list[int] = []
    for index in np.argsort(values, kind="stable").tolist():
        if len(chosen) < count and all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def small_jpeg(path: Path, limit: int) -> Jpeg:
    """Encodes a frame as a base64 JPEG of at most ``limit`` characters, or else at the smallest size.

    Raises ``DataError`` if the frame cannot be read.
    """
    frame = Image.fromarray(read_image(path))
    for side in _SIDES:
        frame.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        frame.save(buffer, "JPEG", quality=75, optimize=True, progressive=True)
        encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
        if len(encoded) <= limit:
            break
    return Jpeg(encoded, *frame.size)


def contours(mask: Mask, size: tuple[int, int], objects: Sequence[int]) -> list[tuple[int, str]]:
    """Outlines the objects of a mask (H x W ids) as SVG paths in a picture of ``size`` (width, height).

    Returns (id, path) for each object that the mask shows.
    """
    scale = np.array(size) / (mask.shape[1], mask.shape[0])
    paths = [(number, _path(np.asarray(mask == number, np.uint8), scale)) for number in objects]
    return [(number, path) for number, path in paths if path]


def _path(shape: Mask, scale: NDArray[np.float64]) -> str:
    """Traces the outlines of a binary mask; the more points they have, the more they are simplified."""
    outlines, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # OpenCV's points are at the pixels' centres.
    scaled = [((outline[:, 0] + 0.5) * scale).astype(np.float32) for outline in outlines]
    by_area = sorted(scaled, key=cv2.contourArea, reverse=True)[:_MAX_OUTLINES]
    large = [outline for outline in by_area if cv2.contourArea(outline) >= _MIN_AREA] or by_area[:1]
    tolerance = 0.5
    while True:
        simple = [cv2.approxPolyDP(outline, tolerance, closed=True)[:, 0] for outline in large]
        if sum(map(len, simple)) <= _MAX_POINTS or tolerance > _SIDES[0]:
            return "".join(map(_polygon, simple))
        tolerance *= 1.5


def _polygon(points: NDArray[Any]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}".replace(".0", "") for x, y in points.tolist()) + "Z"
