"""Draws textures for objects and backgrounds of wide scenes: h x w x 3 float32, RGB, 0..255."""

from collections.abc import Callable

import cv2
import numpy as np

from aot_plus.dataloaders.mini_vost.arrays import Picture, Rng
from aot_plus.dataloaders.mini_vost.textures import (
    BACKGROUND_PATTERNS,
    OBJECT_PATTERNS,
    fractal_noise,
    from_hsv,
    random_part,
    two_tone,
)
from aot_plus.dataloaders.mini_vost.wide.photographs import photo_texture, recoloured

_PATTERNS = tuple(dict.fromkeys(OBJECT_PATTERNS + BACKGROUND_PATTERNS))


def draw_texture(rng: Rng, height: int, width: int) -> Picture:
    """Returns a texture of a random kind: pattern, photograph, single colour, gradient, cells or grain."""
    kinds: tuple[Callable[[Rng, int, int], Picture], ...] = (
        _pattern,
        photo_texture,
        _one_colour,
        _gradient,
        _cells,
        _grain,
    )
    return kinds[int(rng.choice(len(kinds), p=[0.3, 0.3, 0.12, 0.12, 0.08, 0.08]))](rng, height, width)


def camouflage_texture(rng: Rng, picture: Picture, height: int, width: int) -> Picture:
    """Returns a random part of a picture, made brighter or darker, for objects that blend into it."""
    zoom = float(rng.uniform(0.6, 1.0)) * min(picture.shape[0] / height, picture.shape[1] / width, 1.2)
    found = random_part(rng, picture, int(height * zoom), int(width * zoom))
    part = cv2.resize(found, (width, height))
    brightness = float(rng.uniform(1.15, 1.6)) ** float(rng.choice([-1.0, 1.0]))
    tinted = cv2.transform(part, np.diag(brightness * rng.uniform(0.85, 1.15, 3)))
    return np.asarray(np.clip(tinted, 0, 255), np.float32)


def any_colour(rng: Rng) -> Picture:
    """Returns an RGB colour (3 values, 0..255): vivid or grey, dark or light."""
    saturation = float(rng.uniform(0.0, 1.0)) ** 1.3
    return from_hsv(float(rng.uniform(0, 360)), saturation, float(rng.uniform(0.12, 1.0)))


def _two_colours(rng: Rng) -> tuple[Picture, Picture]:
    """Draws two colours, similar or very different."""
    first, other = any_colour(rng), any_colour(rng)
    return first, np.asarray(first + (other - first) * np.float32(rng.uniform(0.25, 1.0)), np.float32)


def _pattern(rng: Rng, height: int, width: int) -> Picture:
    pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
    period = float(np.exp(rng.uniform(np.log(5.0), np.log(50.0))))
    return two_tone(rng, pattern(rng, height, width, period), *_two_colours(rng))


def _one_colour(rng: Rng, height: int, width: int) -> Picture:
    unevenness = fractal_noise(rng, height, width, 40.0, 2) * np.float32(rng.uniform(0.0, 0.15)) + 0.9
    return np.asarray(cv2.merge([unevenness * part for part in any_colour(rng)]), np.float32)


def _gradient(rng: Rng, height: int, width: int) -> Picture:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    if rng.random() < 0.5:
        angle = float(rng.uniform(0, 2 * np.pi))
        ramp = columns / width * np.float32(np.cos(angle)) + rows / height * np.float32(np.sin(angle))
    else:
        centre = rng.uniform(0, 1, 2)
        ramp = np.hypot(columns / width - np.float32(centre[0]), rows / height - np.float32(centre[1]))
    low, high = float(ramp.min()), float(ramp.max())
    return _mixed((ramp - np.float32(low)) / np.float32(high - low), *_two_colours(rng))


def _cells(rng: Rng, height: int, width: int) -> Picture:
    """Draws cells around random points, each in a different shade."""
    cell = float(np.exp(rng.uniform(np.log(10.0), np.log(70.0))))
    count = max(int(height * width / cell**2), 2)
    free = np.ones((height, width), np.uint8)
    free[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    distance, number = cv2.distanceTransformWithLabels(free, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    shades = rng.random(count + 1, dtype=np.float32)
    amount = shades[number] * np.float32(0.8) + np.clip(distance / np.float32(cell), 0, 1) * np.float32(0.2)
    return _mixed(amount, *_two_colours(rng))


def _grain(rng: Rng, height: int, width: int) -> Picture:
    """Draws fine grain in all colours, as of sand or cloth."""
    size = float(rng.uniform(1.0, 4.0))
    grain = rng.uniform(0, 255, (int(height / size) + 1, int(width / size) + 1, 3)).astype(np.float32)
    wide = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    return recoloured(rng, np.asarray(wide, np.float32))


def _mixed(amount: Picture, first: Picture, second: Picture) -> Picture:
    planes = [start + amount * np.float32(end - start) for start, end in zip(first, second, strict=True)]
    return np.asarray(cv2.merge(planes), np.float32)
