"""Draws outlines of objects as masks, cuts masks in two, and makes sprites: shaded pictures of pieces.

Masks are uint8 (0 or 1) on a square canvas of SUPERSAMPLE pixels per unit. Object coordinates have their
origin in the middle of the canvas, and their unit is a pixel of the frame at rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.arrays import Array, Picture, Rng, Silhouette, per_colour, repeat_channels

SUPERSAMPLE = 2
MARGIN = 10  # units around an outline, room for the shadow
SHADOW_SPREAD = 2.2


@dataclass(frozen=True)
class Finish:
    """Describes the shading of a piece."""

    rim: float = 0.5  # brightness at the rim
    bulge: float = 0.6  # how much brighter the middle is than the rim
    shadow: float = 0.45  # strength of the shadow


ROUNDED = Finish()


@dataclass(frozen=True)
class Sprite:
    """Holds the picture of a piece, ready to be warped into a frame."""

    pixels: Picture  # h x w x 4, RGB 0..255 premultiplied by alpha, and alpha 0..1, with the soft shadow
    body: Picture  # h x w, share of each pixel that the piece itself covers, 0..1
    corner: tuple[float, float]  # object coordinates (x, y) of the centre of the top left pixel


def canvas_side(radius: float) -> int:
    """Returns the side, in units, of the canvas for an outline of at most ``radius``."""
    return 2 * (int(np.ceil(radius)) + MARGIN)


def draw_outline(rng: Rng, radius: float) -> Silhouette:
    """Draws a random closed outline of ``radius`` units: an ellipse, a rounded box, a flower or a blob."""
    angle = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    kind = int(rng.integers(4))
    if kind == 0:
        distance = np.ones_like(angle)
    elif kind == 1:
        power = float(rng.uniform(3.0, 6.0))
        distance = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    elif kind == 2:
        petals = int(rng.integers(3, 7))
        distance = 1.0 + float(rng.uniform(0.08, 0.2)) * np.cos(petals * angle)
    else:
        waves = np.arange(2, 6)[:, None]
        size = rng.normal(0.0, 0.13, (4, 1)) * (2.0 / waves)
        distance = 1.0 + (size * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (4, 1)))).sum(axis=0)
    points = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
    points[:, 1] /= float(rng.uniform(1.0, 1.7))
    points *= radius / float(np.linalg.norm(points, axis=1).max())
    return fill(points, canvas_side(radius))


def draw_arm(length: float, width: float) -> Silhouette:
    """Draws a hand with fingers around the origin, and its forearm along +x."""
    side = canvas_side(length)
    canvas = np.zeros((side * SUPERSAMPLE, side * SUPERSAMPLE), dtype=np.uint8)
    _thick_line(canvas, (0.0, 0.0), (length, 0.0), width)
    _thick_line(canvas, (-0.1 * width, -0.1 * width), (0.2 * width, 0.1 * width), 1.35 * width)
    for spread in (-0.45, -0.15, 0.15, 0.45):
        reach = (1.45 - 0.8 * abs(spread)) * width
        tip = (-reach * np.cos(spread), reach * np.sin(1.3 * spread))
        _thick_line(canvas, (0.0, 0.9 * width * spread), tip, 0.3 * width)
    _thick_line(canvas, (0.2 * width, 0.3 * width), (-0.5 * width, 1.1 * width), 0.34 * width)
    return canvas


def fill(points: Array, side: int, holes: Sequence[Array] = ()) -> Silhouette:
    """Draws the mask of a polygon (n x 2, object coordinates) on a canvas of ``side`` units."""
    canvas = np.zeros((side * SUPERSAMPLE, side * SUPERSAMPLE), dtype=np.uint8)
    cv2.fillPoly(canvas, [_to_canvas(corners, side) for corners in (points, *holes)], 1)
    return canvas


def centroid(mask: Silhouette) -> Array:
    """Returns the centroid of a mask, in object coordinates (x, y)."""
    moments = cv2.moments(mask, binaryImage=True)
    pixel = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    return _to_object(pixel, mask.shape[0] // SUPERSAMPLE)


def cut_line(rng: Rng, mask: Silhouette, angle: float, jagged: bool) -> Array:
    """Draws a line through a mask's centroid at ``angle``, n x 2 object coordinates; jagged ones zigzag."""
    reach = mask.shape[0] / SUPERSAMPLE
    direction = np.array([np.cos(angle), np.sin(angle)])
    normal = np.array([-direction[1], direction[0]])
    along = np.linspace(-reach, reach, 31 if jagged else 9)
    sideways = rng.uniform(-1, 1, len(along)) * (4.0 if jagged else 0.7)
    return centroid(mask) + along[:, None] * direction + sideways[:, None] * normal


def split(mask: Silhouette, line: Array) -> tuple[Silhouette, Silhouette]:
    """Splits a mask along a line; the first part lies at +90 degrees from the line's direction."""
    side = mask.shape[0] // SUPERSAMPLE
    direction = (line[-1] - line[0]) / np.linalg.norm(line[-1] - line[0])
    normal = np.array([-direction[1], direction[0]])
    far = 2.0 * side * normal
    left = fill(np.concatenate([line, line[-1:] + far, line[:1] + far]), side)
    return mask & left, mask & (1 - left)


def make_sprite(
    mask: Silhouette, texture: Picture, flesh: Picture, cuts: list[Array], finish: Finish = ROUNDED
) -> Sprite:
    """Shades a piece like a rounded solid, with ``flesh`` (RGB) along its cut faces and a soft shadow around.

    ``texture`` covers the whole canvas (side x side x 3), so that the texture continues across pieces.
    """
    side = mask.shape[0] // SUPERSAMPLE
    whole = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    body = np.asarray(whole, np.float32)
    distance = cv2.distanceTransform(mask, cv2.DIST_L2, 3) / SUPERSAMPLE
    depth = cv2.resize(distance, (side, side), interpolation=cv2.INTER_AREA)
    rounding = np.sqrt(np.clip(depth / max(0.8 * float(depth.max()), 1.0), 0, 1))
    colour = texture
    if cuts:
        faces = _cut_faces(cuts, side)
        colour = texture * repeat_channels(1 - faces) + per_colour(faces, flesh)
    shaded = np.clip(
        colour * repeat_channels(np.asarray(finish.rim + finish.bulge * rounding, np.float32)), 0, 255
    )
    shadow = finish.shadow * cv2.GaussianBlur(body, (0, 0), SHADOW_SPREAD)
    alpha = body + (1 - body) * shadow
    covered = cv2.split(shaded * repeat_channels(body))
    pixels = np.asarray(cv2.merge([*covered, alpha]), np.float32)
    rows, columns = np.flatnonzero(alpha.max(axis=1) > 0.01), np.flatnonzero(alpha.max(axis=0) > 0.01)
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    corner = columns[0] + 0.5 - side / 2, rows[0] + 0.5 - side / 2
    return Sprite(np.ascontiguousarray(pixels[box]), np.ascontiguousarray(body[box]), corner)


def _cut_faces(cuts: list[Array], side: int) -> Picture:
    """Returns the share of each pixel (side x side, 0..1) that lies on the cut faces."""
    faces = np.zeros((side * SUPERSAMPLE, side * SUPERSAMPLE), dtype=np.uint8)
    for line in cuts:
        cv2.polylines(faces, [_to_canvas(line, side)], False, 255, thickness=6 * SUPERSAMPLE)
    blurred = cv2.GaussianBlur(faces, (0, 0), 1.0)
    return cv2.resize(blurred, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0


def _thick_line(
    canvas: Silhouette, start: tuple[float, float], end: tuple[float, float], width: float
) -> None:
    ends = _to_canvas(np.array([start, end]), canvas.shape[0] // SUPERSAMPLE)
    first, second = ((int(x), int(y)) for x, y in ends)
    cv2.line(canvas, first, second, 1, thickness=max(int(width * SUPERSAMPLE), 1))


def _to_canvas(points: Array, side: int) -> NDArray[np.int32]:
    """Converts object coordinates to the nearest canvas pixels (pixel centres are whole numbers)."""
    return np.rint((points + side / 2) * SUPERSAMPLE - 0.5).astype(np.int32)


def _to_object(pixels: Array, side: int) -> Array:
    return (pixels + 0.5) / SUPERSAMPLE - side / 2
