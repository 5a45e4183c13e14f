"""Drawing training clips from annotated videos: which frames make a clip, by the rules of the VOST recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from aot_plus.dataloaders.clips import RawClip, object_ids
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import read_image
from evaluation.masks import IGNORE_ID, Mask, read_mask


class Video(Protocol):
    """A video that clips are drawn from. Everything but the name may raise ``DataError``."""

    @property
    def name(self) -> str:
        """Name for messages and pictures."""

    @property
    def annotated(self) -> Sequence[bool]:
        """For each frame, in time order, whether it has a mask."""

    def read_image(self, index: int) -> Image:
        """Frame ``index``, H x W x 3 RGB."""

    def read_mask(self, index: int) -> Mask:
        """Its mask, H x W ids: 0 background, 255 ignored."""

    def check(self) -> None:
        """Reads all of it; what no clip could be made of is a ``DataError``."""


class ClipSource(Protocol):
    """Something that training clips are drawn from; an index is a video, or an image."""

    def __len__(self) -> int: ...

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Draws a clip of item ``index``; None if it has none. Raises ``DataError`` for broken files."""

    def check(self, index: int) -> None:
        """Reads every file of item ``index``. Raises ``DataError`` for the first that cannot be used."""


@dataclass(frozen=True)
class FolderVideo:
    """A sequence of a dataset in any layout. Its folders are listed on first use."""

    dataset: Dataset
    name: str

    @cached_property
    def _frames(self) -> tuple[Path, ...]:
        return self.dataset.sequence(self.name).images

    @property
    def _annotations(self) -> Path:
        return self.dataset.masks_folder / self.name

    @cached_property
    def annotated(self) -> list[bool]:
        """For each frame, in time order, whether it has a mask. Raises ``DataError`` when none has."""
        masks = {path.stem for path in self._annotations.glob("*.png")}
        flags = [path.stem in masks for path in self._frames]
        if not any(flags):
            raise DataError(f"{self._annotations}: no mask (.png) for any frame of the sequence {self.name}")
        return flags

    def read_image(self, index: int) -> Image:
        """Frame ``index``, H x W x 3 RGB."""
        return read_image(self._frames[index])

    def read_mask(self, index: int) -> Mask:
        """Reads the mask of an annotated frame, H x W ids."""
        return read_mask(self._annotations / f"{self._frames[index].stem}.png")

    def check(self) -> None:
        """Reads every image and mask. Raises ``DataError`` for a broken one, or one of another size."""
        size: tuple[int, ...] | None = None
        for index, annotated in enumerate(self.annotated):
            image, mask = self.read_image(index), self.read_mask(index) if annotated else None
            size = size or image.shape[:2]
            _check_sizes(self, index, size, image, mask)


@dataclass(frozen=True)
class ClipRules:
    """Decides which frames may form a clip.

    ``length``: frames, at least 2. ``max_gap``: largest distance of neighbours, in frames. A reference
    frame shows more than ``min_object_pixels`` pixels that are not background, at most ``max_ignored``
    (0..1) of them ignored.
    """

    length: int
    max_gap: int = 3
    reverse_probability: float = 0.5
    min_object_pixels: int = 200
    max_ignored: float = 0.2
    reference_tries: int = 40
    consistent_tries: int = 5

    def accepts_reference(self, label: Mask) -> bool:
        """Tells if a mask (H x W) may be a clip's reference."""
        labelled = np.count_nonzero(label)
        ignored = np.count_nonzero(label == IGNORE_ID)
        return bool(labelled > self.min_object_pixels and ignored <= self.max_ignored * labelled)

    def following(self, start: int, annotated: Sequence[bool], rng: np.random.Generator) -> list[int] | None:
        """Positions of a clip from ``start`` on, random gaps apart, the last annotated; None if it can't be.

        Near the end of the video the largest gap shrinks, so that the clip fits. ``annotated``: one flag
        per frame.
        """
        last = max((i for i, flag in enumerate(annotated) if flag), default=-1)
        limit = min(self.max_gap, (last - start) // (self.length - 1))
        if limit < 1:
            return None
        gaps = rng.integers(1, limit + 1, size=self.length - 2)
        positions = [start, *(start + int(distance) for distance in np.cumsum(gaps))]
        reach = range(positions[-1] + 1, min(positions[-1] + self.max_gap, last) + 1)
        ends = [position for position in reach if annotated[position]]
        return [*positions, ends[rng.integers(len(ends))]] if ends else None


class VideoClips:
    """Random clips of videos."""

    def __init__(self, videos: Sequence[Video], rules: ClipRules) -> None:
        self.videos = videos
        self.rules = rules

    def __len__(self) -> int:
        return len(self.videos)

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Draws a clip of one video, half the time backwards; None if no frame of it may be a reference.

        A clip with objects that its reference lacks is drawn again, up to ``consistent_tries`` in all; then
        it is used as it is (``keep_objects`` makes such objects background).
        """
        video = self.videos[index]
        order = list(range(len(video.annotated)))
        if rng.random() < self.rules.reverse_probability:
            order.reverse()
        tries = self.rules.consistent_tries
        while chosen := self._choose(video, order, rng):
            labels = [video.read_mask(i) if video.annotated[i] else None for i in chosen]
            tries -= 1
            if tries <= 0 or _consistent(labels):
                images = [video.read_image(i) for i in chosen]
                for i, image, label in zip(chosen, images, labels, strict=True):
                    _check_sizes(video, i, images[0].shape[:2], image, label)
                return RawClip(images, labels, [video.name])
        return None

    def check(self, index: int) -> None:
        """Reads every file of one video. Raises ``DataError`` for the first that cannot be used."""
        self.videos[index].check()

    def _choose(self, video: Video, order: list[int], rng: np.random.Generator) -> list[int] | None:
        """Frames of a clip, as indices of the video."""
        annotated = [video.annotated[i] for i in order]
        last = max(position for position, flag in enumerate(annotated) if flag)
        starts = [p for p in range(last - self.rules.length + 2) if annotated[p]]
        if not starts:
            return None
        for _ in range(self.rules.reference_tries):
            start = starts[rng.integers(len(starts))]
            positions = self.rules.following(start, annotated, rng)
            if positions and self.rules.accepts_reference(video.read_mask(order[start])):
                return [order[position] for position in positions]
        return None


def _consistent(labels: Sequence[Mask | None]) -> bool:
    """Tells if every object of the clip is in its first label."""
    ids = [set(object_ids(label)) for label in labels if label is not None]
    return all(later <= ids[0] for later in ids)


def _check_sizes(
    video: Video,
    index: int,
    size: tuple[int, ...],
    image: Image,
    label: Mask | None,
) -> None:
    for kind, picture in (("image", image), ("mask", label)):
        if picture is not None and picture.shape[:2] != size:
            raise DataError(
                f"{video.name}, frame {index} (counted from 0): the {kind} is "
                f"{picture.shape[0]} x {picture.shape[1]}, expected the clip's {size[0]} x {size[1]}"
            )
