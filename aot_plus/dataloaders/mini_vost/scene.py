"""Holds a planned sequence: everything needed to draw any of its frames independently."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.actors import Actor
from aot_plus.dataloaders.mini_vost.arrays import Array, Picture
from aot_plus.utils.images import Image


@dataclass(frozen=True)
class Scene:
    """Holds the plan of T frames, with every random value drawn; ``render.render_frame`` draws a frame."""

    name: str
    num_frames: int
    num_objects: int
    background: Picture  # BACKGROUND_SIZE x 3, its middle at the world's origin
    background_pose: Array  # T x 3 x 3, background (origin in its middle) to world
    camera: Array  # T x 3 x 3, world to screen
    actors: list[Actor]  # in drawing order, the lowest first
    light: Picture  # HEIGHT x WIDTH x 1, brightness over the frame
    gain: Picture  # T x 3, brightness over time per colour channel
    noise: Picture  # (HEIGHT + 64) x (WIDTH + 64) x 1, grey levels
    noise_offset: NDArray[np.int64]  # T x 2, 0..63, corner of each frame's part of the noise
    film: Callable[[Image, int], Image] | None = None  # records drawn frame t as a camera would
