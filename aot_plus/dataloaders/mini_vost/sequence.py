"""Renders a whole video with its masks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.planning import plan_scene
from aot_plus.dataloaders.mini_vost.render import render_frame

ANNOTATION_STEP = 2
"""Every second frame of the 10 fps video is annotated: 5 fps."""


@dataclass(frozen=True)
class RenderedSequence:
    """Holds a video at 10 fps. Every frame has a mask; only those of ``annotated`` are written to disk."""

    name: str
    images: NDArray[np.uint8]  # T x H x W x 3, RGB
    masks: NDArray[np.uint8]  # T x H x W, 0 background, 1..K objects, 255 ignored
    num_objects: int  # K

    @property
    def annotated(self) -> NDArray[np.int64]:
        """Returns the numbers of the annotated frames, from 0, in order."""
        return np.arange(0, len(self.images), ANNOTATION_STEP)

    @property
    def frame_names(self) -> list[str]:
        """Returns the names of all T frames, without suffix."""
        return [f"frame{number:05d}" for number in range(len(self.images))]


def render_sequence(seed: int, split: str, index: int) -> RenderedSequence:
    """Renders sequence ``index`` (from 0) of a split ("train" or "val"); the same arguments give equal bits.

    Raises ``ValueError`` for an unknown split or numbers out of range.
    """
    scene = plan_scene(seed, split, index)
    drawn = [render_frame(scene, frame) for frame in range(scene.num_frames)]
    images = np.stack([picture for picture, _ in drawn])
    masks = np.stack([ids for _, ids in drawn])
    return RenderedSequence(scene.name, images, masks, scene.num_objects)
