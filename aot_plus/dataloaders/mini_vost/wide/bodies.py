"""Draws outlines of a given area for wide scenes (stars, rings, bars, polygons, blobs ...), and limbs."""

from collections.abc import Callable

import cv2
import numpy as np

from aot_plus.dataloaders.mini_vost.actors import Look, Piece
from aot_plus.dataloaders.mini_vost.arrays import Array, Rng, Silhouette
from aot_plus.dataloaders.mini_vost.motion import rotations, translations, wander
from aot_plus.dataloaders.mini_vost.shapes import canvas_side, fill, make_sprite

LARGEST_RADIUS = 125.0


def draw_body(rng: Rng, area: float, reach: float = 0.0) -> tuple[Silhouette, float]:
    """Draws an outline of about ``area`` square units; returns it and its radius.

    The canvas has room for ``reach`` more units on all sides. The radius is at most ``LARGEST_RADIUS``.
    """
    polygon, holes = _BODIES[int(rng.integers(len(_BODIES)))](rng)
    covered = _area(polygon) - sum(_area(hole) for hole in holes)
    farthest = float(np.linalg.norm(polygon, axis=1).max())
    scale = min(float(np.sqrt(area / covered)), LARGEST_RADIUS / farthest)
    side = canvas_side(scale * farthest + reach)
    return fill(polygon * scale, side, [hole * scale for hole in holes]), scale * farthest


def draw_limbs(rng: Rng, look: Look, length: float, frames: int) -> list[Piece]:
    """Draws one to four limbs that stick out of the body of ``look`` and swing about their joints.

    ``look.radius`` is the body's radius; the canvas of its outline must have room for ``length`` more units.
    """
    limbs = []
    for _ in range(int(rng.integers(1, 5))):
        angle = float(rng.uniform(0, 2 * np.pi))
        away = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-away[1], away[0]]) * length * float(rng.uniform(0.1, 0.28))
        joint = _rim(look.outline, away, look.radius)
        tip = joint + away * length * float(rng.uniform(0.6, 0.95))
        corners = [joint - 0.2 * length * away - across, tip - 0.7 * across, tip + 0.7 * across]
        polygon = np.stack([*corners, joint - 0.2 * length * away + across])
        mask = fill(polygon, look.outline.shape[0] // 2)
        swing = wander(rng, frames, float(rng.uniform(0.2, 1.1)), (8, 30))
        there = translations(np.full(frames, joint[0]), np.full(frames, joint[1]))
        back = translations(np.full(frames, -joint[0]), np.full(frames, -joint[1]))
        sprite = make_sprite(mask, look.texture, look.flesh, [], look.finish)
        limbs.append(Piece(mask, sprite, there @ rotations(swing) @ back, 0, frames))
    return limbs


def _rim(outline: Silhouette, away: Array, radius: float) -> Array:
    """Returns the point where a ray from the middle leaves the outline for good, in object coordinates."""
    steps = np.linspace(0.1, 1.0, 40)[:, None] * radius * away
    pixels = np.rint((steps + outline.shape[0] / 4) * 2 - 0.5).astype(int)
    inside = np.flatnonzero(outline[pixels[:, 1], pixels[:, 0]])
    return np.asarray(steps[inside[-1]] if len(inside) else steps[0])


def _area(polygon: Array) -> float:
    return float(cv2.contourArea(polygon.astype(np.float32)))


def _circle(count: int) -> Array:
    return np.linspace(0, 2 * np.pi, count, endpoint=False)


def _polar(angle: Array, distance: Array) -> Array:
    return np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)


Body = tuple[Array, list[Array]]  # a polygon (n x 2) and its holes


def _superellipse(rng: Rng) -> Body:
    angle, power = _circle(96), float(np.exp(rng.uniform(np.log(0.7), np.log(7.0))))
    distance = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    return _polar(angle, distance) * (1.0, 1 / float(rng.uniform(1.0, 3.0))), []


def _polygon(rng: Rng) -> Body:
    corners = int(rng.integers(3, 9))
    angle = _circle(corners) + rng.uniform(-0.8, 0.8, corners) / corners
    return _polar(angle, rng.uniform(0.6, 1.0, corners)) * (1.0, float(rng.uniform(0.5, 1.0))), []


def _star(rng: Rng) -> Body:
    points = int(rng.integers(3, 10))
    distance = np.where(np.arange(2 * points) % 2 == 0, 1.0, float(rng.uniform(0.35, 0.75)))
    return _polar(_circle(2 * points), distance), []


def _blob(rng: Rng) -> Body:
    angle, waves = _circle(96), np.arange(2, 8)[:, None]
    size = rng.normal(0.0, 0.2, (6, 1)) * (2.0 / waves)
    bumps = (size * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (6, 1)))).sum(axis=0)
    return _polar(angle, np.maximum(1.0 + bumps, 0.3)) * (1.0, float(rng.uniform(0.5, 1.0))), []


def _bar(rng: Rng) -> Body:
    """Draws a bar, straight or bent like a banana or a hook."""
    bend, width = float(rng.uniform(0.0, 3.5)), float(rng.uniform(0.15, 0.5))
    angle = np.linspace(-0.5, 0.5, 24) * max(bend, 0.01)
    radius = 2.0 / max(bend, 0.01)
    width = min(width, 0.7 * radius)
    middle = np.array([radius * np.cos(angle).mean(), 0.0])
    outer, inner = (
        _polar(angle, np.full(24, radius + width / 2)),
        _polar(angle, np.full(24, radius - width / 2)),
    )
    return np.concatenate([outer, inner[::-1]]) - middle, []


def _ring(rng: Rng) -> Body:
    flat = (1.0, float(rng.uniform(0.6, 1.0)))
    whole = _polar(_circle(72), np.ones(72)) * flat
    return whole, [whole * float(rng.uniform(0.3, 0.65)) + rng.uniform(-0.1, 0.1, 2)]


def _cross(rng: Rng) -> Body:
    """Draws a cross or a T, with arms of different lengths."""
    half = float(rng.uniform(0.15, 0.35))
    right, top, left, bottom = np.maximum(rng.uniform(0.2, 1.0, 4), half)
    corners = [(right, half), (half, half), (half, top), (-half, top), (-half, half), (-left, half)]
    corners += [
        (-left, -half),
        (-half, -half),
        (-half, -bottom),
        (half, -bottom),
        (half, -half),
        (right, -half),
    ]
    return np.array(corners), []


_BODIES: tuple[Callable[[Rng], Body], ...] = (
    _superellipse,
    _superellipse,
    _polygon,
    _star,
    _blob,
    _blob,
    _bar,
    _ring,
    _cross,
)
