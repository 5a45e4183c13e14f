"""Draws MiniVOST's train sequences as training videos, frame by frame when a clip needs them."""

from dataclasses import dataclass
from functools import lru_cache

from aot_plus.dataloaders.mini_vost import Scene, plan_scene, render_frame, render_ids
from aot_plus.dataloaders.mini_vost.wide import (
    WideScene,
    plan_wide_scene,
    render_wide_frame,
    render_wide_ids,
)
from aot_plus.utils.images import Image
from evaluation.masks import Mask


# A sample comes from one or two sequences, and reads a frame's mask often before it reads its image.
@lru_cache(maxsize=4)
def _plan(seed: int, index: int, wide: bool) -> Scene | WideScene:
    return plan_wide_scene(seed, index) if wide else plan_scene(seed, "train", index)


@lru_cache(maxsize=64)
def _draw_image(seed: int, index: int, wide: bool, frame: int) -> Image:
    scene = _plan(seed, index, wide)
    if isinstance(scene, WideScene):
        return render_wide_frame(scene, frame)[0]
    return render_frame(scene, frame)[0]


@lru_cache(maxsize=64)
def _draw_mask(seed: int, index: int, wide: bool, frame: int) -> Mask:
    scene = _plan(seed, index, wide)
    return render_wide_ids(scene, frame) if isinstance(scene, WideScene) else render_ids(scene, frame)


@dataclass(frozen=True)
class DrawnVideo:
    """Draws train sequence ``index`` of a MiniVOST seed, every frame annotated (on disk, every second).

    ``wide``: the sequence of this number that varies more, which ``make_mini_vost`` does not write.
    """

    seed: int
    index: int
    wide: bool = False

    @property
    def _scene(self) -> Scene | WideScene:
        return _plan(self.seed, self.index, self.wide)

    @property
    def name(self) -> str:
        """Returns the name for messages and pictures."""
        return self._scene.name

    @property
    def annotated(self) -> list[bool]:
        """Returns one flag per frame, all true."""
        return [True] * self._scene.num_frames

    def read_image(self, index: int) -> Image:
        """Draws frame ``index``, H x W x 3 RGB. Do not change it: it is kept for the next call."""
        return _draw_image(self.seed, self.index, self.wide, index)

    def read_mask(self, index: int) -> Mask:
        """Draws its mask, H x W ids. Do not change it: it is kept for the next call."""
        return _draw_mask(self.seed, self.index, self.wide, index)

    def check(self) -> None:
        """Does nothing: no file is read, so none can be broken."""
