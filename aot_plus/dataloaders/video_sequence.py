"""Describes one video for inference: its frames, the given masks, and how results are written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import davis_palette, mask_palette, write_mask
from evaluation.masks import Mask, read_mask

__all__ = ["VideoSequence", "new_objects"]


@dataclass(frozen=True)
class VideoSequence:
    """Describes a video as found on disk.

    Attributes:
        name: the name of the sequence and of its folder in the result folder.
        images: the images of all frames, in order; the first frame has a mask.
        masks: the files of a frame's mask, by the frame's name (without suffix). The first frame's mask gives
            the first objects; each later mask adds the objects that no earlier mask shows.
        saved: the names of the frames whose masks are written.
        objects: if each object has its own masks, the objects' folders, the first for id 1; else empty.
        merged: whether all ids form object 1.
        ignored: the id of ignored pixels; None if there is none.
        height: the height at which the results of taller frames are written.
    """

    name: str
    images: tuple[Path, ...]
    masks: Mapping[str, tuple[Path, ...]]
    saved: tuple[str, ...]
    objects: tuple[str, ...]
    merged: bool
    ignored: int | None
    height: int | None

    @property
    def annotation(self) -> Path:
        """Returns the file of the first frame's mask, the first if there are several; it may not exist."""
        return self.masks[self.images[0].stem][0]

    @cached_property
    def palette(self) -> Sequence[int]:
        """Returns the first mask's palette, 768 RGB values; DAVIS's if it has none. Raises ``DataError``."""
        return davis_palette() if self.objects else mask_palette(self.annotation)

    def size(self, of_frames: tuple[int, int]) -> tuple[int, int]:
        """Returns the size (H, W) of the results for frames of size ``of_frames`` (H, W)."""
        height, width = of_frames
        if self.height is None or height <= self.height:
            return of_frames
        return self.height, math.ceil(width * self.height / height)

    def read_mask(self, frame: str, size: tuple[int, int] | None = None) -> Mask | None:
        """Reads a frame's mask, H x W ids; None if it has none. Raises ``DataError``.

        ``size``: (H, W) of the results; a mask as large as the frames is resized to it.
        """
        files = self.masks.get(frame, ())
        if not files:
            return None
        mask = self._read_objects(files) if self.objects else read_mask(files[0])
        if self.merged:
            mask = np.minimum(mask, 1)
        if size is not None and self.size((mask.shape[0], mask.shape[1])) == size != mask.shape:
            mask = np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
        return mask

    def shown(self, mask: Mask) -> set[int]:
        """Returns the ids of the objects that a mask shows."""
        return set(np.unique(mask).tolist()) - {0, self.ignored}

    def files(self) -> list[str]:
        """Lists the files of the results, relative to the sequence's folder."""
        return [file for frame in self.saved for file in self._files_of(frame)]

    def read_result(self, folder: Path, frame: str) -> Mask | None:
        """Reads a frame's result, H x W ids; None if the frame is not in ``saved`` and has no file.

        ``folder``: the sequence's folder in the result folder. Raises ``DataError``.
        """
        files = tuple(folder / file for file in self._files_of(frame))
        if frame not in self.saved and not files[0].is_file():
            return None
        return replace(self, masks={frame: files}).read_mask(frame)

    def write(self, path: Path, ids: Mask) -> None:
        """Writes a frame's result, H x W ids: to ``path``, or to a file in the folder of each object."""
        if not self.objects:
            write_mask(path, ids, self.palette)
        for number, folder in enumerate(self.objects, start=1):
            write_mask(path.parent / folder / path.name, (ids == number).astype(np.uint8), self.palette)

    def _files_of(self, frame: str) -> list[str]:
        """Lists the files of a frame's result: one, or one per object."""
        return [f"{folder}/{frame}.png" for folder in self.objects] or [f"{frame}.png"]

    def _read_objects(self, files: Sequence[Path]) -> Mask:
        """Combines the masks of single objects, smaller objects on top."""
        layers = []
        for file in files:
            layer = read_mask(file, binary=True) > 0
            layers.append((int(layer.sum()), self.objects.index(file.parent.name) + 1, layer))
        mask = np.zeros(layers[0][2].shape, dtype=np.uint8)
        for (_, _, layer), file in zip(layers, files, strict=True):
            if layer.shape != mask.shape:
                raise DataError(f"{file}: {layer.shape} rows and columns, {files[0]} has {mask.shape}")
        for _, number, layer in sorted(layers, key=lambda one: (-one[0], one[1])):
            mask[layer] = number
        return mask


def new_objects(mask: Mask, shown: set[int], known: set[int]) -> Mask | None:
    """Returns a mask of the objects ``shown`` but not ``known``, and adds them to ``known``; None if none."""
    new = shown - known
    if not new:
        return None
    known |= new
    return np.where(np.isin(mask, list(new)), mask, 0).astype(np.uint8)
