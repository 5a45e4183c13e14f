"""MiniVOST's train sequences as training videos, drawn frame by frame when a clip needs them."""

from dataclasses import dataclass
from functools import lru_cache

from aot_plus.dataloaders.mini_vost import Scene, plan_scene, render_frame
from aot_plus.utils.images import Image
from evaluation.masks import Mask

# A sample comes from one or two sequences, and reads a frame's image and its mask, often the mask twice.
_plan = lru_cache(maxsize=4)(plan_scene)


@lru_cache(maxsize=64)
def _draw(seed: int, index: int, frame: int) -> tuple[Image, Mask]:
    return render_frame(_plan(seed, "train", index), frame)


@dataclass(frozen=True)
class DrawnVideo:
    """Train sequence ``index`` of a MiniVOST seed, every frame annotated (on disk, every second one is)."""

    seed: int
    index: int

    @property
    def _scene(self) -> Scene:
        return _plan(self.seed, "train", self.index)

    @property
    def name(self) -> str:
        """Name for messages and pictures."""
        return self._scene.name

    @property
    def annotated(self) -> list[bool]:
        """One flag per frame, all true."""
        return [True] * self._scene.num_frames

    def read_image(self, index: int) -> Image:
        """Frame ``index``, H x W x 3 RGB. Not to be changed: it is kept for the next call."""
        return _draw(self.seed, self.index, index)[0]

    def read_mask(self, index: int) -> Mask:
        """Its mask, H x W ids. Not to be changed: it is kept for the next call."""
        return _draw(self.seed, self.index, index)[1]

    def check(self) -> None:
        """Nothing is read, so nothing can be broken."""
