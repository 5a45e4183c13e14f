"""MiniVOST's train sequences as training videos: each is made when it is first drawn, and kept on disk."""

import hashlib
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aot_plus.dataloaders import mini_vost
from aot_plus.utils.masks import read_image, read_mask, write_mask

_JPEG_QUALITY = 95
_FRAMES, _MASKS = "frames", "masks"


def rendered_videos(folder: Path, seed: int, count: int) -> list["RenderedVideo"]:
    """The first ``count`` train sequences of a MiniVOST seed. Nothing is made before it is drawn.

    They are kept under ``folder``, in a sub-folder named after the seed and the code that makes them, so that
    sequences of an older version are never mistaken for those of the present one.
    """
    kept = folder / f"seed_{seed}_{_code_version()}"
    return [RenderedVideo(kept / f"{index:05d}", seed, index) for index in range(count)]


def _code_version() -> str:
    """Eight characters that change when a source file of the generator changes."""
    digest = hashlib.sha256()
    for path in sorted(Path(next(iter(mini_vost.__path__))).glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]


@dataclass(frozen=True)
class RenderedVideo:
    """One sequence, every frame annotated (the dataset on disk has every second one, as VOST has)."""

    folder: Path
    seed: int
    index: int

    @property
    def name(self) -> str:
        """Name for messages and pictures."""
        return f"mini_vost_train_{self.seed}_{self.index:05d}"

    @cached_property
    def annotated(self) -> list[bool]:
        """One flag per frame, all true. Makes the sequence if it is not there."""
        if not self.folder.is_dir():
            self._render()
        return [True] * sum(1 for _ in (self.folder / _FRAMES).iterdir())

    def read_image(self, index: int) -> NDArray[np.uint8]:
        """Frame ``index``, H x W x 3 RGB."""
        return read_image(self.folder / _FRAMES / f"{index:05d}.jpg")

    def read_mask(self, index: int) -> NDArray[np.uint8]:
        """Its mask, H x W ids."""
        return read_mask(self.folder / _MASKS / f"{index:05d}.png")

    def _render(self) -> None:
        """Makes the sequence aside and renames it: of two processes that make the same one, one is kept."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.folder.name}.", dir=self.folder.parent) as aside:
            made = Path(aside) / self.folder.name
            self._write(made)
            try:
                made.rename(self.folder)
            except OSError:
                if not self.folder.is_dir():
                    raise

    def _write(self, folder: Path) -> None:
        sequence = mini_vost.render_sequence(self.seed, "train", self.index)
        (folder / _FRAMES).mkdir(parents=True)
        for number, (frame, mask) in enumerate(zip(sequence.frames, sequence.masks, strict=True)):
            Image.fromarray(frame).save(folder / _FRAMES / f"{number:05d}.jpg", quality=_JPEG_QUALITY)
            write_mask(folder / _MASKS / f"{number:05d}.png", mask)
