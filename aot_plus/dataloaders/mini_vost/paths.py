"""Plans the paths of actors: from one resting place to the next, away from each other, out and back."""

from dataclasses import dataclass

import numpy as np

from aot_plus.dataloaders.mini_vost.arrays import Array, Rng
from aot_plus.dataloaders.mini_vost.events import Absence
from aot_plus.dataloaders.mini_vost.motion import HEIGHT, WIDTH, apply, rising_times, through_points


@dataclass(frozen=True)
class MovementStyle:
    """Describes how an actor moves.

    ``interval``: lowest and highest number of frames between two resting places. ``stride``: length of a move
    in pixels up to which it costs nothing; longer moves are made to avoid other actors. ``border``: least
    distance of resting places from the frame's edges, in pixels. ``distance``: how much an actor avoids the
    others, 0 for not at all.
    """

    interval: tuple[int, int] = (24, 46)
    stride: float = 45.0
    border: float = 30.0
    distance: float = 2.0


USUAL_STYLE = MovementStyle()


@dataclass(frozen=True)
class Trip:
    """Holds an actor's path in the world and on the screen, T x 2 pixels each."""

    world: Array
    screen: Array


def plan_trip(
    rng: Rng,
    camera: Array,
    others: list[Trip],
    radius: float,
    absence: Absence | None,
    style: MovementStyle = USUAL_STYLE,
) -> Trip:
    """Draws resting places, each the best of a few: away from the other actors, near the last place.

    ``camera``: T x 3 x 3, world to screen. During an absence, the actor waits outside the frame.
    """
    frames = len(camera)
    times = rising_times(rng, frames, style.interval)
    outside: list[bool] = [False] * len(times)
    if absence is not None:
        times, outside = _with_absence(times, absence)
    exit_side = int(rng.integers(4))
    places: list[Array] = []
    for time, is_outside in zip(times, outside, strict=True):
        if is_outside:
            places.append(_place_outside(rng, exit_side, radius))
        else:
            places.append(_best_place(rng, min(int(time), frames - 1), others, places, style))
    to_world = np.linalg.inv(camera)
    moments = [min(int(time), frames - 1) for time in times]
    corners = [apply(to_world[moment], place[None])[0] for moment, place in zip(moments, places, strict=True)]
    world = through_points(frames, times, np.stack(corners))
    return Trip(world, to_screen(world, camera))


def to_screen(world: Array, camera: Array) -> Array:
    """Converts world positions over time (T x 2) to screen positions (T x 2, pixels)."""
    return np.einsum("tij,tj->ti", camera[:, :2, :2], world) + camera[:, :2, 2]


def plan_reach(rng: Rng, frames: int, target: Array, meeting: int) -> tuple[Array, float]:
    """Plans a hand that enters from an edge, passes ``target`` (x, y) at frame ``meeting`` and withdraws.

    Returns its path on the screen (T x 2) and the direction of the forearm from the hand, in radians.
    """
    edges = np.array([[0.0, target[1]], [WIDTH, target[1]], [target[0], HEIGHT]])
    nearest = edges[int(np.argmin(np.linalg.norm(edges - target, axis=1)))]
    direction = float(np.arctan2(*(nearest - target)[::-1])) + float(rng.uniform(-0.5, 0.5))
    away = np.array([np.cos(direction), np.sin(direction)])
    hidden = target + away * 330.0
    sway = np.array([-away[1], away[0]]) * float(rng.choice([-1.0, 1.0])) * 25.0
    stay = float(rng.integers(8, 16))
    times = [
        0.0,
        meeting - stay - 26.0,
        meeting - stay,
        meeting + stay,
        meeting + stay + 26.0,
        float(frames + 60),
    ]
    places = np.stack([hidden, hidden, target - sway, target + sway, hidden, hidden])
    return through_points(frames, times, places), direction


def _with_absence(times: list[float], absence: Absence) -> tuple[list[float], list[bool]]:
    """Inserts the start and end of an absence into the resting times, with time to get out and back."""
    leave, back = float(absence.frame), float(absence.frame + absence.duration)
    kept = [time for time in times if time <= leave - 14 or time >= back + 14]
    merged = sorted([*kept, leave, back])
    return merged, [time in (leave, back) for time in merged]


def _place_outside(rng: Rng, side: int, radius: float) -> Array:
    """Draws a place beyond one of the four edges, so far that no part of the actor is visible."""
    gap = 1.8 * radius + 30.0
    x, y = float(rng.uniform(40, WIDTH - 40)), float(rng.uniform(40, HEIGHT - 40))
    return np.array([(-gap, y), (WIDTH + gap, y), (x, -gap), (x, HEIGHT + gap)][side])


def _best_place(
    rng: Rng, moment: int, others: list[Trip], places: list[Array], style: MovementStyle
) -> Array:
    """Chooses the best of a few places: away from other actors, not too far from the actor's last place."""
    border = style.border
    candidates = rng.uniform((border, border), (WIDTH - border, HEIGHT - border), (10, 2))
    worth = np.zeros(len(candidates))
    for other in others:
        worth += style.distance * np.minimum(np.linalg.norm(candidates - other.screen[moment], axis=1), 70.0)
    if places:
        worth -= np.maximum(np.linalg.norm(candidates - places[-1], axis=1), style.stride)
    return np.asarray(candidates[int(np.argmax(worth))])
