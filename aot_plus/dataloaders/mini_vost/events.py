"""Draws the events of an object (cuts, tears, squashing, recolouring, absence), their times and strengths."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.arrays import Array, Rng
from aot_plus.dataloaders.mini_vost.motion import ramp

NOUNS: dict[str, tuple[str, ...]] = {
    "cut": ("bread", "apple", "carrot", "cheese", "melon", "cake"),
    "tear": ("paper", "cloth", "foil", "leaf", "bag"),
    "squash": ("dough", "clay", "ball", "cushion", "tomato"),
    "paint": ("box", "toy", "stone", "cup", "board"),
    "move": ("plate", "bottle", "bowl", "sponge", "brush"),
}
"""Verbs, the main events of sequences, and the nouns that each verb is combined with in names."""


@dataclass(frozen=True)
class Cut:
    """Splits the largest piece of an object in two at ``frame``."""

    frame: int
    angle: float  # direction of the cut, radians
    drift: float  # how far each half moves, as a share of the object's radius
    turn: float  # how far each half turns, radians
    pace: float  # time constant in frames with which the halves settle exponentially
    jagged: bool  # whether it is torn rather than cut


@dataclass(frozen=True)
class Squash:
    """Presses an object to ``ratio`` of its height along ``axis``, so that it spreads sideways."""

    frame: int
    duration: int
    axis: float  # radians
    ratio: float


@dataclass(frozen=True)
class Recolour:
    """Rotates the hue by ``angle`` (radians) and multiplies the brightness by ``gain``, gradually."""

    frame: int
    duration: int
    angle: float
    gain: float


@dataclass(frozen=True)
class Absence:
    """Keeps an object out of view for ``duration`` frames from ``frame`` on."""

    frame: int
    duration: int


@dataclass(frozen=True)
class Story:
    """Holds everything that happens to one object."""

    cuts: tuple[Cut, ...] = ()
    squash: Squash | None = None
    recolour: Recolour | None = None
    absence: Absence | None = None


def draw_story(rng: Rng, frames: int, verb: str) -> Story:
    """Draws a story whose main event is ``verb`` (a key of NOUNS); other events may be added."""
    cuts = draw_cuts(rng, frames, jagged=verb == "tear") if verb in ("cut", "tear") else ()
    squash = _draw_squash(rng, frames) if verb == "squash" or (not cuts and rng.random() < 0.2) else None
    recolour = _draw_recolour(rng, frames) if verb == "paint" or rng.random() < 0.25 else None
    absence = _draw_absence(rng, frames) if rng.random() < (0.7 if verb == "move" else 0.2) else None
    return Story(cuts, squash, recolour, absence)


def draw_cuts(rng: Rng, frames: int, jagged: bool) -> tuple[Cut, ...]:
    """Draws one to three cuts in the first two thirds of the video, each at an angle to the one before."""
    count = int(rng.integers(1, 4))
    frame = int(frames * rng.uniform(0.08, 0.3))
    angle = float(rng.uniform(0, np.pi))
    cuts = []
    for _ in range(count):
        drift, turn = float(rng.uniform(0.4, 1.1)), float(rng.uniform(0.1, 0.7))
        cuts.append(Cut(frame, angle, drift, turn, float(rng.uniform(8, 20)), jagged))
        frame += int(frames * rng.uniform(0.06, 0.14))
        angle += float(rng.uniform(0.8, 2.3))
    return tuple(cuts)


def _draw_squash(rng: Rng, frames: int) -> Squash:
    start, duration = int(frames * rng.uniform(0.15, 0.4)), int(rng.integers(12, 30))
    return Squash(start, duration, float(rng.uniform(0, np.pi)), float(rng.uniform(0.45, 0.65)))


def _draw_recolour(rng: Rng, frames: int) -> Recolour:
    start, duration = int(frames * rng.uniform(0.1, 0.3)), int(frames * rng.uniform(0.25, 0.45))
    angle = float(rng.uniform(0.6, 2.2) * rng.choice([-1, 1]))
    return Recolour(start, duration, angle, float(rng.uniform(0.6, 1.15)))


def _draw_absence(rng: Rng, frames: int) -> Absence:
    return Absence(int(frames * rng.uniform(0.3, 0.45)), int(rng.integers(8, 22)))


def squash_matrices(squash: Squash, frames: int) -> Array:
    """Returns T x 3 x 3: shrinks along the axis and stretches across it, keeping most of the area."""
    amount = ramp(frames, squash.frame, squash.duration)
    along = squash.ratio**amount
    cos, sin = np.cos(squash.axis), np.sin(squash.axis)
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    scale = np.tile(np.eye(3), (frames, 1, 1))
    scale[:, 0, 0], scale[:, 1, 1] = along, along**-0.6
    return np.asarray(turn @ scale @ turn.T)


def colour_matrices(recolour: Recolour, frames: int) -> NDArray[np.float32]:
    """Returns T x 4 x 4 for premultiplied RGBA: rotates hues about the grey axis, scales brightness."""
    amount = ramp(frames, recolour.frame, recolour.duration)
    angle = recolour.angle * amount
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    axis = np.full(3, 1 / np.sqrt(3.0))
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = cos * np.eye(3) + sin * cross + (1 - cos) * np.outer(axis, axis)  # Rodrigues' rotation formula
    stack = np.tile(np.eye(4), (frames, 1, 1))
    stack[:, :3, :3] = turn * (recolour.gain**amount)[:, None, None]
    return stack.astype(np.float32)
