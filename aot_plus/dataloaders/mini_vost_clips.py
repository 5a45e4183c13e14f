"""Draws MiniVOST's train sequences as training videos, each frame when a clip needs it."""

from dataclasses import dataclass
from functools import lru_cache

from aot_plus.dataloaders.mini_vost import Scene, plan_scene, render_frame, render_ids
from aot_plus.dataloaders.mini_vost.wide import plan_wide_scene
from aot_plus.utils.images import Image
from evaluation.masks import Mask


# A sample is made from one or two sequences, and often reads a frame's mask before its image.
@lru_cache(maxsize=4)
def _plan(seed: int, index: int, wide: bool) -> Scene:
    return plan_wide_scene(seed, index) if wide else plan_scene(seed, "train", index)


@lru_cache(maxsize=64)
def _draw_image(seed: int, index: int, wide: bool, frame: int) -> Image:
    return render_frame(_plan(seed, index, wide), frame)[0]


@lru_cache(maxsize=64)
def _draw_mask(seed: int, index: int, wide: bool, frame: int) -> Mask:
    return render_ids(_plan(seed, index, wide), frame)


@dataclass(frozen=True)
class DrawnVideo:
    """Draws train sequence ``index`` of a MiniVOST seed, every frame annotated (on disk, every second).

    ``wide``: draws sequence ``index`` of wide MiniVOST, which varies more and is never written to disk.
    """

    seed: int
    index: int
    wide: bool = False

    @property
    def _scene(self) -> Scene:
        return _plan(self.seed, self.index, self.wide)

    @property
    def name(self) -> str:
        """Returns the name for messages and pictures."""
        return self._scene.name

    @property
    def key(self) -> str:
        """Returns what decides about the drawing."""
        return f"{self.seed} {self.index} {self.wide}"

    @property
    def annotated(self) -> list[bool]:
        """Returns one flag per frame, all true."""
        return [True] * self._scene.num_frames

    def read_image(self, index: int) -> Image:
        """Draws frame ``index``, H x W x 3 RGB. Do not modify it: it is cached."""
        return _draw_image(self.seed, self.index, self.wide, index)

    def read_mask(self, index: int) -> Mask:
        """Draws the mask of frame ``index``, H x W ids. Do not modify it: it is cached."""
        return _draw_mask(self.seed, self.index, self.wide, index)

    def check(self) -> None:
        """Does nothing: no file is read, so none can be broken."""
