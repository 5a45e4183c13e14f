"""Augments training clips: one random scale, crop and flip for all frames of a clip."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.clips import RawClip
from aot_plus.dataloaders.photometric import Photometric
from aot_plus.utils.images import MEAN, Image
from evaluation.masks import IGNORE_ID, Mask

PADDING_COLOUR = np.round(MEAN * 255).astype(np.uint8)
PADDING_ID = 0
_MIN_PIXELS = 100  # of an object that a crop shows


@dataclass(frozen=True)
class Geometry:
    """Describes a crop: the scaled frame's size, the crop's corner in it (may be negative), the crop's size.

    All are in pixels, rows first. ``flip``: whether the crop is mirrored.
    """

    scaled: tuple[int, int]
    corner: tuple[int, int]
    crop: tuple[int, int]
    flip: bool

    def view(self, image: Image) -> Image:
        """Scales an image (H x W x 3, bicubic) and returns the part of it that lies in the crop."""
        scaled = cv2.resize(image, self.scaled[::-1], interpolation=cv2.INTER_CUBIC)
        return self._view(np.asarray(scaled, dtype=np.uint8))

    def padded(self, view: Image) -> Image:
        """Pads a view (h x w x 3) to the crop's size; the padding gets the ImageNet mean colour."""
        row = np.tile(PADDING_COLOUR, self.crop[1])  # copying whole rows is faster than single pixels
        return self._put(view, np.tile(row, (self.crop[0], 1)).reshape(*self.crop, 3))

    def label(self, label: Mask) -> Mask:
        """Scales, crops and pads H x W ids to the crop's size (nearest); outside the frame is background.

        Background, not ignored: a network that must predict background there learns to stay on its objects.
        """
        view = self._view(self.scale_label(label))
        return self._put(view, np.full(self.crop, PADDING_ID, dtype=np.uint8))

    def scale_label(self, label: Mask) -> Mask:
        """Scales H x W ids, sampled at pixel centres like the images."""
        scaled = cv2.resize(label, self.scaled[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(scaled, dtype=np.uint8)

    def _view(self, scaled: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (_, rows), (_, columns) = self._overlaps()
        view = scaled[rows, columns]
        return np.asarray(cv2.flip(view, 1), np.uint8) if self.flip else view

    def _put(self, view: NDArray[np.uint8], canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        (rows, _), (columns, _) = self._overlaps()
        if self.flip:
            columns = slice(self.crop[1] - columns.stop, self.crop[1] - columns.start)
        canvas[rows, columns] = view
        return canvas

    def _overlaps(self) -> list[tuple[slice, slice]]:
        """Returns the rows and the columns of the overlap, each in the crop and in the scaled frame."""
        return [
            _overlap(corner, crop, side)
            for corner, crop, side in zip(self.corner, self.crop, self.scaled, strict=True)
        ]


def _overlap(corner: int, crop: int, side: int) -> tuple[slice, slice]:
    """Returns the overlap of a crop and a side of the scaled frame, as slices of the crop and of the side."""
    start, end = max(corner, 0), min(corner + crop, side)
    return slice(start - corner, end - corner), slice(start, end)


@dataclass(frozen=True)
class ClipTransform:
    """Scales, crops and mirrors at random: drawn once for a clip, based on its reference label.

    ``crop``: rows and columns of the result. ``short_side``: of the frame at scale 1, in pixels. The scale is
    uniform in ``min_scale``..``max_scale``. A crop is balanced if every object in the scaled reference keeps
    at least _MIN_PIXELS pixels (or all that it has). The first balanced one of ``crop_tries`` crops is used,
    else the one that keeps the most objects. If ``balanced`` is off, a crop only needs one object with more
    than _MIN_PIXELS pixels, and the last try is used in any case. A frame smaller than the crop is placed in
    it at random. ``colours``: how the colours of each frame change, if at all.
    """

    crop: tuple[int, int]
    short_side: int = 480
    min_scale: float = 0.7
    max_scale: float = 1.3
    flip_probability: float = 0.5
    crop_tries: int = 10
    balanced: bool = True
    colours: Photometric | None = None

    def draw(self, reference: Mask, rng: np.random.Generator) -> Geometry:
        """Draws the geometry of a clip, based on its reference label (H x W).

        A balanced crop always shows a pixel of an object.
        """
        height, width = reference.shape
        factor = rng.uniform(self.min_scale, self.max_scale) * self.short_side / min(height, width)
        scaled = (max(1, round(height * factor)), max(1, round(width * factor)))
        flip = bool(rng.random() < self.flip_probability)
        label = Geometry(scaled, (0, 0), self.crop, flip).scale_label(reference)
        corner = self._balanced_corner(label, rng) if self.balanced else self._corner(label, rng)
        return Geometry(scaled, corner, self.crop, flip)

    def apply(self, clip: RawClip, rng: np.random.Generator) -> RawClip:
        """Returns the clip at the crop's size."""
        geometry = self.draw(clip.reference, rng)
        labels = [None if label is None else geometry.label(label) for label in clip.labels]
        cut = RawClip([geometry.view(image) for image in clip.images], labels, clip.names)
        if self.colours is not None:  # before the padding, whose colour stays the same in all frames
            cut = self.colours.apply(cut, rng)
        return RawClip([geometry.padded(view) for view in cut.images], labels, clip.names)

    def _balanced_corner(self, label: Mask, rng: np.random.Generator) -> tuple[int, int]:
        wanted = np.minimum(_object_pixels(label), _MIN_PIXELS)  # 254
        best: tuple[int, int] = (0, 0)
        most = 0
        for _ in range(self.crop_tries):
            corner = self._random_corner(label.shape, rng)
            kept = _object_pixels(self._view(label, corner))
            in_view = int(np.count_nonzero((wanted > 0) & (kept >= wanted)))
            if in_view > most:
                best, most = corner, in_view
            if in_view == np.count_nonzero(wanted):
                break
        return best if most else self._corner_around_object(label, rng)

    def _corner(self, label: Mask, rng: np.random.Generator) -> tuple[int, int]:
        """Draws corners until an object is in view, at most ``crop_tries``."""
        corner = (0, 0)
        for _ in range(self.crop_tries):
            corner = self._random_corner(label.shape, rng)
            if np.any(_object_pixels(self._view(label, corner)) > _MIN_PIXELS):
                break
        return corner

    def _random_corner(self, size: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
        spare = [side - crop for side, crop in zip(size, self.crop, strict=True)]
        row, column = (int(rng.integers(min(0, room), max(0, room) + 1)) for room in spare)
        return row, column

    def _corner_around_object(self, label: Mask, rng: np.random.Generator) -> tuple[int, int]:
        pixels = np.argwhere((label != 0) & (label != IGNORE_ID))
        # A thin object can vanish when the label is scaled down; then the middle is as good as any place.
        centre = pixels[rng.integers(len(pixels))] if len(pixels) else np.array(label.shape) // 2
        row, column = (
            int(np.clip(middle - crop // 2, min(0, side - crop), max(0, side - crop)))
            for middle, crop, side in zip(centre, self.crop, label.shape, strict=True)
        )
        return row, column

    def _view(self, label: Mask, corner: tuple[int, int]) -> Mask:
        (row, column), (height, width) = corner, self.crop
        return label[max(row, 0) : max(row + height, 0), max(column, 0) : max(column + width, 0)]


def _object_pixels(label: Mask) -> NDArray[np.int64]:
    """Counts the pixels of each of the ids 1..254."""
    return np.bincount(label.ravel(), minlength=256)[1:IGNORE_ID]
