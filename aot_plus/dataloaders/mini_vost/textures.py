"""Draws textures, procedural or from scikit-learn's sample photographs: h x w x 3 float32, RGB, 0..255."""

from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.arrays import Picture, Rng


def random_colour(
    rng: Rng, saturation: tuple[float, float] = (0.45, 0.95), value: tuple[float, float] = (0.45, 0.95)
) -> Picture:
    """Returns an RGB colour (3 values, 0..255) of any hue."""
    return from_hsv(float(rng.uniform(0, 360)), float(rng.uniform(*saturation)), float(rng.uniform(*value)))


def object_texture(rng: Rng, side: int) -> Picture:
    """Returns a vivid texture for a foreground object: ``side`` x ``side`` x 3."""
    if rng.random() < 0.25:
        return _photo_patch(rng, side, side)
    hue = float(rng.uniform(0, 360))
    first = from_hsv(hue, float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.65, 1.0)))
    other_hue = hue + float(rng.choice([20.0, -25.0, 60.0, 150.0, 180.0])) + float(rng.uniform(-10, 10))
    second = from_hsv(other_hue, float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.35, 0.85)))
    pattern = OBJECT_PATTERNS[int(rng.integers(len(OBJECT_PATTERNS)))]
    return two_tone(rng, pattern(rng, side, side, float(rng.uniform(8, 16))), first, second)


def background_texture(rng: Rng, height: int, width: int) -> Picture:
    """Returns a calmer texture for a table or floor: lower contrast and saturation than the objects'."""
    if rng.random() < 0.25:
        photo = cv2.GaussianBlur(_photo_patch(rng, height, width), (0, 0), 1.5)
        grey = photo.mean(axis=2, keepdims=True)
        return np.asarray(0.55 * photo + 0.25 * grey + 30.0, dtype=np.float32)
    hue = float(rng.uniform(0, 360)) if rng.random() < 0.4 else float(rng.uniform(15, 45))
    value = float(rng.uniform(0.4, 0.85))
    saturation = float(rng.uniform(0.08, 0.4))
    first = from_hsv(hue, saturation, value)
    second = from_hsv(hue + float(rng.uniform(-15, 15)), saturation, value * float(rng.uniform(0.68, 0.85)))
    pattern = BACKGROUND_PATTERNS[int(rng.integers(len(BACKGROUND_PATTERNS)))]
    return two_tone(rng, pattern(rng, height, width, float(rng.uniform(22, 48))), first, second)


def fractal_noise(rng: Rng, height: int, width: int, cell: float, octaves: int = 3) -> Picture:
    """Draws smooth value noise, h x w in 0..1; each octave halves the cell size and the strength."""
    total = np.zeros((height, width), dtype=np.float32)
    weight = 1.0
    for octave in range(octaves):
        size = max(cell / 2**octave, 1.0)
        grid = rng.random((int(height / size) + 2, int(width / size) + 2), dtype=np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= 0.5
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


@cache
def sample_photograph(name: str) -> NDArray[np.uint8]:
    """Loads a photograph of scikit-learn's wheel, H x W x 3 RGB. Do not modify it: it is cached."""
    from sklearn.datasets import load_sample_image  # here, because the import takes seconds

    return np.asarray(load_sample_image(name), dtype=np.uint8)


def _photo_patch(rng: Rng, height: int, width: int) -> Picture:
    """Returns the best of a few random crops, with the colour channels re-weighted."""
    photo = sample_photograph(("china.jpg", "flower.jpg")[int(rng.integers(2))])
    zoom = min(float(rng.uniform(0.9, 2.0)), photo.shape[0] / height, photo.shape[1] / width)
    rows, columns = int(height * zoom), int(width * zoom)
    best = max((random_part(rng, photo, rows, columns) for _ in range(4)), key=_liveliness)
    patch = cv2.resize(best, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    gains = rng.uniform(0.75, 1.3, 3).astype(np.float32)
    return np.asarray(np.clip(patch * gains, 0, 255), dtype=np.float32)


def random_part(rng: Rng, picture: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Returns a view of a randomly placed part of the given size."""
    top = int(rng.integers(picture.shape[0] - rows + 1))
    left = int(rng.integers(picture.shape[1] - columns + 1))
    return picture[top : top + rows, left : left + columns]


def _liveliness(crop: NDArray[np.uint8]) -> float:
    """Rates a patch: high if it has structure and no large black parts."""
    few = crop[::4, ::4].mean(axis=2)
    return float(few.std() + np.percentile(few, 15))


def from_hsv(hue: float, saturation: float, value: float) -> Picture:
    pixel = np.array([[[hue % 360.0, saturation, value]]], dtype=np.float32)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0] * 255.0, dtype=np.float32)


def two_tone(rng: Rng, amount: Picture, first: Picture, second: Picture) -> Picture:
    """Blends two colours by ``amount`` (h x w, 0..1), with slightly uneven brightness."""
    height, width = amount.shape
    uneven = 0.9 + 0.2 * fractal_noise(rng, height, width, 12.0)
    colours = zip(first, second - first, strict=True)
    planes = [(start + amount * difference) * uneven for start, difference in colours]
    return np.asarray(np.clip(cv2.merge(planes), 0, 255), dtype=np.float32)


def _turned_grid(rng: Rng, height: int, width: int) -> tuple[Picture, Picture]:
    """Returns pixel coordinates in a grid rotated by a random angle: two h x w arrays."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = float(rng.uniform(0, np.pi))
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return columns * cos + rows * sin, rows * cos - columns * sin


def _soft_step(wave: Picture, sharpness: float) -> Picture:
    return np.asarray(np.clip(0.5 + sharpness * wave, 0, 1), dtype=np.float32)


def _stripes(rng: Rng, height: int, width: int, period: float) -> Picture:
    across, _ = _turned_grid(rng, height, width)
    bend = fractal_noise(rng, height, width, 3 * period, 2) * rng.uniform(0, 6)
    return _soft_step(np.sin(across * np.float32(2 * np.pi / period) + bend.astype(np.float32)), 1.5)


def _checks(rng: Rng, height: int, width: int, period: float) -> Picture:
    across, along = _turned_grid(rng, height, width)
    step = np.float32(np.pi / period)
    return _soft_step(np.sin(across * step) * np.sin(along * step), 4.0)


def _dots(rng: Rng, height: int, width: int, period: float) -> Picture:
    across, along = _turned_grid(rng, height, width)
    step = np.float32(2 * np.pi / period)
    return _soft_step(np.cos(across * step) + np.cos(along * step) - np.float32(0.6), 1.5)


def _clouds(rng: Rng, height: int, width: int, period: float) -> Picture:
    return _soft_step(fractal_noise(rng, height, width, 1.5 * period, 3) - 0.5, 1.6)


def _spots(rng: Rng, height: int, width: int, period: float) -> Picture:
    return _soft_step(fractal_noise(rng, height, width, 0.8 * period, 2) - 0.6, 8.0)


def _marble(rng: Rng, height: int, width: int, period: float) -> Picture:
    across, _ = _turned_grid(rng, height, width)
    veins = np.sin(
        across * np.float32(np.pi / period) + 9.0 * fractal_noise(rng, height, width, 2 * period, 4)
    )
    return np.asarray(np.abs(veins) ** 0.7, dtype=np.float32)


def _tiles(rng: Rng, height: int, width: int, period: float) -> Picture:
    """Draws square tiles of slightly different brightness with dark joints."""
    across, along = _turned_grid(rng, height, width)
    offset = float(height + width)
    column, row = (across + offset) / period, (along + offset) / period
    shades = rng.random((64, 64), dtype=np.float32)
    shade = shades[row.astype(np.int64) % 64, column.astype(np.int64) % 64]
    joint = np.minimum(np.abs(column % 1 - 0.5), np.abs(row % 1 - 0.5))
    edge = np.maximum(np.abs(column % 1 - 0.5), np.abs(row % 1 - 0.5)) > 0.5 - 1.0 / period
    return np.where(edge, np.float32(1.0), 0.6 * shade + 0.1 * joint).astype(np.float32)


def _planks(rng: Rng, height: int, width: int, period: float) -> Picture:
    """Draws wooden boards with long grain, each board shifted and shaded differently."""
    across, along = _turned_grid(rng, height, width)
    board = (across + float(height + width)) / period
    number = board.astype(np.int64) % 64
    shades = rng.random(64, dtype=np.float32)
    grain = fractal_noise(rng, height, width, 30.0, 3)
    rings = np.sin(across * np.float32(0.9) + 8.0 * grain + 20.0 * shades[number] + along * np.float32(0.02))
    joint = (board % 1) < 1.5 / period
    return np.where(joint, np.float32(1.0), 0.45 * shades[number] + 0.12 * rings + 0.15).astype(np.float32)


Pattern = Callable[[Rng, int, int, float], Picture]
OBJECT_PATTERNS: tuple[Pattern, ...] = (_stripes, _checks, _dots, _clouds, _spots, _marble)
BACKGROUND_PATTERNS: tuple[Pattern, ...] = (_tiles, _planks, _clouds, _marble, _planks, _checks)
