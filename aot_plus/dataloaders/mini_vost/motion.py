"""Makes smooth motion: eased values over time, stacks of 2-D transforms (T x 3 x 3), and camera paths."""

from collections.abc import Sequence

import numpy as np

from aot_plus.dataloaders.mini_vost.arrays import Array, Rng

HEIGHT, WIDTH = 192, 256


def smooth_step(position: Array) -> Array:
    """Returns 0 below 0, 1 above 1, and in between a cubic with flat ends."""
    clipped = np.clip(position, 0.0, 1.0)
    return np.asarray(clipped * clipped * (3.0 - 2.0 * clipped))


def ramp(frames: int, start: float, duration: float) -> Array:
    """Returns T values: 0 up to frame ``start``, rising smoothly to 1 over ``duration`` frames."""
    return smooth_step((np.arange(frames, dtype=np.float64) - start) / duration)


def settle(frames: int, start: float, pace: float) -> Array:
    """Returns T values: 0 up to frame ``start``, then exponentially towards 1 (``pace`` in frames)."""
    elapsed = np.maximum(np.arange(frames) - start, 0.0)
    return 1.0 - np.exp(-elapsed / pace)


def through_points(frames: int, times: Sequence[float], points: Array) -> Array:
    """Returns T x D values that ease between ``points`` (n x D), resting at each at its time (n, rising)."""
    now = np.arange(frames)
    marks = np.asarray(times, dtype=np.float64)
    segment = np.clip(np.searchsorted(marks, now, side="right") - 1, 0, len(marks) - 2)
    share = smooth_step((now - marks[segment]) / (marks[segment + 1] - marks[segment]))[:, None]
    return points[segment] * (1.0 - share) + points[segment + 1] * share


def wander(rng: Rng, frames: int, amplitude: float, interval: tuple[int, int] = (25, 50)) -> Array:
    """Returns T values that ease between random levels in -amplitude..amplitude."""
    times = rising_times(rng, frames, interval)
    levels = rng.uniform(-amplitude, amplitude, (len(times), 1))
    return through_points(frames, times, levels)[:, 0]


def rising_times(rng: Rng, frames: int, interval: tuple[int, int]) -> list[float]:
    """Draws times from 0 to at least the last frame, ``interval`` (lowest, highest) frames apart."""
    times = [0.0]
    while times[-1] < frames - 1:
        times.append(times[-1] + float(rng.integers(*interval, endpoint=True)))
    return times


def translations(x: Array, y: Array) -> Array:
    """Returns T x 3 x 3 translations by x and y (T each, pixels)."""
    stack = _identities(len(x))
    stack[:, 0, 2], stack[:, 1, 2] = x, y
    return stack


def rotations(angle: Array) -> Array:
    """Returns T x 3 x 3 rotations by ``angle`` (T, radians)."""
    stack = _identities(len(angle))
    stack[:, 0, 0] = stack[:, 1, 1] = np.cos(angle)
    stack[:, 1, 0] = np.sin(angle)
    stack[:, 0, 1] = -stack[:, 1, 0]
    return stack


def scalings(x: Array, y: Array) -> Array:
    """Returns T x 3 x 3 scalings by x and y (T each)."""
    stack = _identities(len(x))
    stack[:, 0, 0], stack[:, 1, 1] = x, y
    return stack


def apply(matrix: Array, points: Array) -> Array:
    """Transforms points (n x 2) by one 3 x 3 matrix."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def camera_path(
    rng: Rng,
    frames: int,
    pan: float = 45.0,
    zoom: float = 0.16,
    roll: float = 0.08,
    shake: tuple[float, float] = (0.2, 1.0),
) -> Array:
    """Draws the path (T x 3 x 3, world to screen) of a hand-held camera: pan, zoom, slight roll, shake.

    The world's origin is the middle of the frame at rest. ``pan``: largest shift to the side, in pixels;
    ``zoom``: logarithm of the largest factor; ``roll``: largest angle, in radians; ``shake``: range of the
    strength, in pixels.
    """
    pan_x, pan_y = wander(rng, frames, pan), wander(rng, frames, pan * 2 / 3)
    scale = np.exp(wander(rng, frames, zoom, (35, 70)))
    angle = wander(rng, frames, roll)
    tremor = _shake(rng, frames, float(rng.uniform(*shake)))
    to_centre = translations(WIDTH / 2 + tremor[:, 0], HEIGHT / 2 + tremor[:, 1])
    return to_centre @ rotations(angle) @ scalings(scale, scale) @ translations(-pan_x, -pan_y)


def _shake(rng: Rng, frames: int, strength: float) -> Array:
    """Returns T x 2 pixels of noise, smoothed over a few frames."""
    raw = rng.normal(0.0, strength, (frames + 4, 2))
    return np.stack([np.convolve(raw[:, axis], np.full(5, 0.45), mode="valid") for axis in range(2)], axis=1)


def _identities(count: int) -> Array:
    return np.tile(np.eye(3), (count, 1, 1))
