"""Describes one video to run inference over: its frames, the given masks, and how results are written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import davis_palette, mask_palette, write_mask
from evaluation.masks import IGNORE_ID, Mask, read_mask

__all__ = ["BINARY_MODES", "ID_MODES", "MOST_OBJECTS", "VideoSequence", "new_objects"]

MOST_OBJECTS = IGNORE_ID - 1
ID_MODES = ("P", "L")  # Pillow's names of the kinds of masks
BINARY_MODES = (*ID_MODES, "1")  # of masks of single objects


@dataclass(frozen=True)
class VideoSequence:
    """Describes a video, as a layout's reader finds it.

    Attributes:
        name: its folder in the result folder.
        images: of all frames, in order; the first frame has a mask.
        masks: the files of a frame's mask, by the frame's name (without suffix). The first frame's shows the
            first objects; of the others, the objects that no mask before shows are given as well.
        saved: the names of the frames whose masks are written.
        objects: the folders of the objects where each has a mask of its own: the first is id 1. Else empty.
        merged: all ids are object 1.
        ignored: the id of pixels that are ignored, if one is.
        height: results of higher frames are written at this height.
    """

    name: str
    images: tuple[Path, ...]
    masks: Mapping[str, tuple[Path, ...]]
    saved: tuple[str, ...]
    objects: tuple[str, ...] = ()
    merged: bool = False
    ignored: int | None = IGNORE_ID
    height: int | None = None

    @property
    def annotation(self) -> Path:
        """Returns the file of the first frame's mask, which may be missing; of several, the first."""
        return self.masks[self.images[0].stem][0]

    @cached_property
    def palette(self) -> Sequence[int]:
        """Reads the first mask's palette, 768 RGB values; DAVIS's if it has none. Raises ``DataError``."""
        return davis_palette() if self.objects else mask_palette(self.annotation)

    def size(self, of_frames: tuple[int, int]) -> tuple[int, int]:
        """Returns the size (H, W) of the results for frames of a size."""
        height, width = of_frames
        if self.height is None or height <= self.height:
            return of_frames
        return self.height, math.ceil(width * self.height / height)

    def read_mask(self, frame: str, size: tuple[int, int] | None = None) -> Mask | None:
        """Reads a frame's mask, H x W ids; None if it has none. Raises ``DataError``.

        ``size``: (H, W) of the results, which a mask as large as the frames is resized to.
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
        """Lists the files of the results, from the sequence's folder on."""
        return [file for frame in self.saved for file in self._files_of(frame)]

    def read_result(self, folder: Path, frame: str) -> Mask | None:
        """Reads a frame's result, H x W ids; None where it need not be written and was not.

        ``folder``: the sequence's in the result folder. Raises ``DataError``.
        """
        files = tuple(folder / file for file in self._files_of(frame))
        if frame not in self.saved and not files[0].is_file():
            return None
        return replace(self, masks={frame: files}).read_mask(frame)

    def write(self, path: Path, ids: Mask) -> None:
        """Writes a frame's result, H x W ids: to ``path``, or to its name in a folder for each object."""
        if not self.objects:
            write_mask(path, ids, self.palette)
        for number, folder in enumerate(self.objects, start=1):
            write_mask(path.parent / folder / path.name, (ids == number).astype(np.uint8), self.palette)

    def _files_of(self, frame: str) -> list[str]:
        """Lists the files of a frame's result: one, or one for each object."""
        return [f"{folder}/{frame}.png" for folder in self.objects] or [f"{frame}.png"]

    def _read_objects(self, files: Sequence[Path]) -> Mask:
        """Lays the masks of single objects over each other, the smallest on top."""
        layers = []
        for file in files:
            layer = read_mask(file, modes=BINARY_MODES) > 0
            layers.append((int(layer.sum()), self.objects.index(file.parent.name) + 1, layer))
        mask = np.zeros(layers[0][2].shape, dtype=np.uint8)
        for (_, _, layer), file in zip(layers, files, strict=True):
            if layer.shape != mask.shape:
                raise DataError(f"{file}: {layer.shape} rows and columns, {files[0]} has {mask.shape}")
        for _, number, layer in sorted(layers, key=lambda one: (-one[0], one[1])):
            mask[layer] = number
        return mask


def new_objects(mask: Mask, shown: set[int], known: set[int]) -> Mask | None:
    """Keeps of the objects ``shown`` in a mask those not ``known``, and adds them; None if there is none."""
    new = shown - known
    if not new:
        return None
    known |= new
    return np.where(np.isin(mask, list(new)), mask, 0).astype(np.uint8)
