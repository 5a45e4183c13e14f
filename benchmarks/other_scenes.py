"""Draws videos that share nothing with MiniVOST: bodies defined by formulas, drawn pixel by pixel.

A body consists of the pixels where its formula, roughly the distance to its rim in pixels, is below 0. Drops
melt and part, chains swing and break, tiles tilt and fall in two, balls roll; colours may change. All bodies
bounce off the frame's edges, in front of a moving background and behind moving bars.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.videos import write_list, write_video
from evaluation.parallel import map_in_processes

VERSION = 1
"""Increased with every change that alters a pixel for the same seed."""
SIDE = 257
LEAST_VISIBLE = 150  # pixels of each object in the first frame
_Field = NDArray[np.float64]  # SIDE x SIDE values
_Rng = np.random.Generator
_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)


class Body:
    """Describes a moving body: its shape, look and path. ``frames``: the length of the video."""

    def __init__(self, rng: _Rng, frames: int) -> None:
        self._shape = (_drop, _chain, _tile, _ball)[int(rng.integers(4))]
        self.radius = float(rng.uniform(16, 46))
        self._start, self._speed = rng.uniform(30, SIDE - 30, 2), rng.uniform(-1.8, 1.8, 2)
        self._sway, self._phase = rng.uniform(0.0, 12.0, 2), rng.uniform(0, 2 * np.pi, 6)
        self._turn, self._growth = float(rng.uniform(-0.05, 0.05)), float(rng.uniform(0.0, 0.25))
        self._event = float(rng.uniform(0.2, 0.6)) * frames
        self.colours = rng.uniform(20, 240, (2, 2, 3))  # before and after the event x two colours x RGB
        if rng.random() < 0.55:
            self.colours[1] = self.colours[0]

    def draw(self, frame: int) -> tuple[_Field, NDArray[np.float64]]:
        """Returns the share of each pixel that the body covers, and its colour (SIDE x SIDE x 3)."""
        swing = self._sway * np.sin(0.07 * frame + self._phase[:2])
        x, y = _bounced(self._start + self._speed * frame + swing)
        radius = self.radius * (1 + self._growth * np.sin(0.04 * frame + self._phase[2]))
        angle = self._phase[3] + self._turn * frame
        after = np.clip((frame - self._event) / 40, 0, 1)  # progress of the event: parts and colours change
        across, down = (_COLUMNS - x) / radius, (_ROWS - y) / radius
        turned = across * np.cos(angle) + down * np.sin(angle), down * np.cos(angle) - across * np.sin(angle)
        distance, amount, light = self._shape(*turned, frame, after, self._phase[4:])
        first, second = (1 - after) * self.colours[0] + after * self.colours[1]
        colour = first + np.clip(amount, 0, 1)[..., None] * (second - first)
        return np.clip(0.5 - distance * radius, 0, 1), colour * light[..., None]


def _bounced(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Reflects a position at borders 12 pixels inside the frame's edges."""
    room = SIDE - 24
    return 12 + room - np.abs((place - 12) % (2 * room) - room)


# Shapes are functions of coordinates in radii, the frame, the progress of the event (0..1) and two phases.
# They return the distance to the rim in radii, the share of the second colour, and the brightness.
_Shape = tuple[_Field, _Field, _Field]


def _drop(u: _Field, v: _Field, frame: int, after: float, phase: NDArray[np.float64]) -> _Shape:
    """Draws four discs that melt together where they meet; in the event, two of them leave."""
    field = np.zeros_like(u)
    for number in range(4):
        angle = 0.03 * frame * (-1) ** number + phase[0] + 1.6 * number
        away = 1.1 * after if number % 2 else -0.6 * after
        middle = 0.35 * np.cos(angle) + away, 0.35 * np.sin(angle)
        field += 0.22 / ((u - middle[0]) ** 2 + (v - middle[1]) ** 2 + 1e-3)
    depth = np.clip(1 - 1 / np.maximum(field, 1e-6), 0, 1)
    return 0.6 * (1 / np.sqrt(field) - 1) * 1.2, depth**3, 0.65 + 0.4 * np.sqrt(depth)


def _chain(u: _Field, v: _Field, frame: int, after: float, phase: NDArray[np.float64]) -> _Shape:
    """Draws four links with swinging joints; in the event, the last two come off."""
    distance, band = np.full_like(u, 9.0), np.zeros_like(u)
    x, y, heading = -0.9, 0.0, 0.0
    for link in range(4):
        heading += 0.7 * np.sin(0.06 * frame * (1 + 0.3 * link) + phase[link % 2] + link)
        if link == 2:
            y += 0.9 * after
        step = 0.55 * np.cos(heading), 0.55 * np.sin(heading)
        along = np.clip(((u - x) * step[0] + (v - y) * step[1]) / 0.3025, 0, 1)
        near = np.hypot(u - x - along * step[0], v - y - along * step[1]) - (0.26 - 0.03 * link)
        band = np.where(near < distance, float(link % 2), band)
        distance, x, y = np.minimum(distance, near), x + step[0], y + step[1]
    return distance, band, np.ones_like(u)


def _tile(u: _Field, v: _Field, frame: int, after: float, phase: NDArray[np.float64]) -> _Shape:
    """Draws a flat chequered plate that tilts about one axis; in the event, it breaks along another."""
    v = v / (0.65 + 0.35 * np.cos(0.05 * frame + phase[0]))
    power = 1.0 + phase[1]
    distance, squares = np.full_like(u, 9.0), np.zeros_like(u)
    for side in (-1.0, 1.0):
        moved = u - side * 0.55 * after
        rim = (np.abs(moved) ** power + np.abs(1.4 * v) ** power) ** (1 / power) - 0.95
        part = np.maximum(rim, -side * (moved + 0.15 * np.sin(5 * v)))
        pattern = (np.floor(3 * moved) + np.floor(3 * v)) % 2
        squares = np.where(part < distance, pattern, squares)
        distance = np.minimum(distance, part)
    return 0.7 * distance, squares, np.ones_like(u)


def _ball(u: _Field, v: _Field, frame: int, after: float, phase: NDArray[np.float64]) -> _Shape:
    """Draws a ball with meridians that rolls under a lamp; in the event, it loses half its size."""
    size = 0.9 - 0.4 * after
    height = np.sqrt(np.clip(size**2 - u**2 - v**2, 0, None)) / size
    meridian = np.arctan2(u / size, height) + 0.06 * frame + phase[0]
    lamp = np.clip(0.5 * u / size - 0.5 * v / size + 0.7 * height, 0, 1)
    return (
        np.hypot(u, v) - size,
        (np.sin(4 * meridian) > 0).astype(float),
        0.35 + 0.65 * lamp + 0.5 * lamp**20,
    )


def _background(rng: _Rng) -> NDArray[np.float32]:
    """Draws a square with side 2 SIDE: a gradient, a chequer, the cells of random points, or soft noise."""
    rows, columns = np.mgrid[0 : 2 * SIDE, 0 : 2 * SIDE].astype(np.float32) / SIDE
    kind = int(rng.integers(4))
    if kind == 0:
        amount = (columns * rng.uniform(-1, 1) + rows * rng.uniform(-1, 1)) % 1.0
        amount = np.abs(2 * amount - 1)
    elif kind == 1:
        size = rng.uniform(4, 14)
        amount = (np.floor(columns * size) + np.floor(rows * size)) % 2
    elif kind == 2:
        points = rng.uniform(0, 2, (60, 2)).astype(np.float32)
        reach = [(columns - x) ** 2 + (rows - y) ** 2 for x, y in points]
        amount = rng.random(60)[np.argmin(reach, axis=0)]
    else:
        coarse = rng.random((int(rng.integers(4, 40)),) * 2).astype(np.float32)
        amount = cv2.resize(coarse, rows.shape, interpolation=cv2.INTER_CUBIC)
    first, second = rng.uniform(20, 240, (2, 3))
    return (first + amount[..., None] * (second - first) * rng.uniform(0.3, 1.0)).astype(np.float32)


def draw_video(rng: _Rng) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Draws a video of 100 to 150 frames with one to three objects: images (RGB) and masks of ids."""
    frames, count = int(rng.integers(100, 151)), int(rng.integers(1, 4))
    bodies = [Body(rng, frames) for _ in range(count)]
    others = [Body(rng, frames) for _ in range(int(rng.integers(3)))]  # distractors in an object's colours
    for other in others:
        other.colours = bodies[int(rng.integers(count))].colours
    while (
        min(np.count_nonzero(_ids(bodies, others, 0) == number + 1) for number in range(count))
        < LEAST_VISIBLE
    ):
        bodies = [Body(rng, frames) for _ in range(count)]
    background, way = _background(rng), rng.uniform(-0.8, 0.8, 2)
    bars, bar_speed = rng.uniform(0, 700, int(rng.integers(3))), float(rng.uniform(0.5, 2.0))
    for frame in range(frames):
        top, left = (SIDE / 2 + way * (frame - frames / 2)).astype(int)
        picture = background[top : top + SIDE, left : left + SIDE].astype(np.float64)
        ids = np.zeros((SIDE, SIDE), np.uint8)
        for number, body in [*((0, other) for other in others), *enumerate(bodies, start=1)]:
            covered, colour = body.draw(frame)
            picture += covered[..., None] * (colour - picture)
            ids[covered >= 0.5] = number
        for bar in bars:
            hidden = np.abs(_COLUMNS + 0.3 * _ROWS - (bar + bar_speed * frame) % 700 + 100) < 9
            picture[hidden], ids[hidden] = (90.0, 80.0, 70.0), 0
        picture *= 1 + 0.08 * np.sin(0.09 * frame)
        yield np.clip(picture + rng.normal(0, 3, (SIDE, SIDE, 1)), 0, 255).astype(np.uint8), ids


def _ids(bodies: list[Body], others: list[Body], frame: int) -> NDArray[np.uint8]:
    """Returns the mask of ids of a frame, ignoring the bars."""
    ids = np.zeros((SIDE, SIDE), np.uint8)
    for number, body in [*((0, other) for other in others), *enumerate(bodies, start=1)]:
        ids[body.draw(frame)[0] >= 0.5] = number
    return ids


def make_videos(dataset: Path, seed: int, count: int, workers: int = 1) -> None:
    """Writes videos in VOST's layout, and the list of the split val last: it marks a finished dataset."""
    if (dataset / "ImageSets/val.txt").is_file():
        return
    names = [f"{number:04d}_bodies" for number in range(count)]
    map_in_processes(partial(_make_one, dataset, seed), names, min(workers, count), "videos")
    write_list(dataset, "val", names)


def _make_one(dataset: Path, seed: int, name: str) -> None:
    number = int(name.partition("_")[0])
    write_video(dataset, name, draw_video(np.random.default_rng([seed, number])))
