"""Draws training clips from annotated videos: chooses the frames of a clip, and reads them."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.clips import RawClip
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import object_ids, read_image
from evaluation.masks import IGNORE_ID, Mask


class Video(Protocol):
    """Provides a video to draw clips from. Everything but the name may raise ``DataError``."""

    @property
    def name(self) -> str:
        """Returns the name for messages and pictures."""

    @property
    def key(self) -> str:
        """Returns what tells the video apart from the others of its dataset, without reading anything."""

    @property
    def annotated(self) -> Sequence[bool]:
        """Returns for each frame, in time order, whether it has a mask."""

    def read_image(self, index: int) -> Image:
        """Reads frame ``index``, H x W x 3 RGB."""

    def read_mask(self, index: int) -> Mask:
        """Reads the mask of frame ``index``, H x W ids: 0 background, 255 ignored."""

    def check(self) -> None:
        """Reads the whole video. Raises ``DataError`` for anything that clips cannot be made from."""


class ClipSource(Protocol):
    """Provides training clips; an item is a video, or an image."""

    def __len__(self) -> int: ...

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Draws a clip from item ``index``; None if it yields none. Raises ``DataError`` for broken files."""

    def check(self, index: int) -> None:
        """Reads every file of item ``index``. Raises ``DataError`` for the first that cannot be used."""

    @property
    def entries(self) -> Sequence[int]:
        """Lists the items of an epoch, before they are shuffled; items with more weight occur more often."""

    @property
    def keys(self) -> Sequence[str]:
        """Lists what tells each item apart from the others of its dataset."""

    def related(self, index: int) -> Sequence[int]:
        """Lists the items of the same dataset as item ``index``, including it."""


@dataclass(frozen=True)
class FolderVideo:
    """Reads a sequence of a dataset in any layout. Its folders are listed on first use.

    ``used``: the names of the frames that clips are made from; None for all.
    """

    dataset: Dataset
    name: str
    used: frozenset[str] | None = None

    @property
    def key(self) -> str:
        """Returns the name."""
        return self.name

    @cached_property
    def _sequence(self) -> VideoSequence:
        """Returns the sequence with the frames in use, and all masks that exist."""
        sequence = self.dataset.sequence(self.name)
        images = tuple(path for path in sequence.images if self.used is None or path.stem in self.used)
        return replace(sequence, images=images, masks=self.dataset.list_masks(self.name))

    @cached_property
    def annotated(self) -> list[bool]:
        """Returns for each frame, in time order, whether it has a mask. Raises ``DataError`` if none has."""
        flags = [path.stem in self._sequence.masks for path in self._sequence.images]
        if not any(flags):
            folder = self.dataset.masks_folder / self.name
            raise DataError(f"{folder}: no mask (.png) for any frame of the sequence {self.name}")
        return flags

    def read_image(self, index: int) -> Image:
        """Reads frame ``index``, H x W x 3 RGB."""
        return read_image(self._sequence.images[index])

    def read_mask(self, index: int) -> Mask:
        """Reads the mask of an annotated frame, H x W ids."""
        path = self._sequence.images[index]
        mask = self._sequence.read_mask(path.stem)
        if mask is None:
            raise DataError(f"{path}: the frame has no mask")
        return mask

    def check(self) -> None:
        """Reads every image and mask. Raises ``DataError`` if one is broken or differs in size."""
        size: tuple[int, ...] | None = None
        for index, annotated in enumerate(self.annotated):
            image, mask = self.read_image(index), self.read_mask(index) if annotated else None
            size = size or image.shape[:2]
            _check_sizes(self, index, size, image, mask)


@dataclass(frozen=True)
class ClipRules:
    """Decides which frames may form a clip.

    ``length``: frames, at least 2. ``max_gap``: largest distance between neighbours, in frames. A clip that
    would go beyond the video's end turns back there if ``turns_back``; otherwise it is drawn so that it fits
    and ends with an annotated frame. A reference frame shows more than ``min_object_pixels`` pixels that are
    not background, of which at most a share of ``max_ignored`` (0..1) is ignored.
    """

    length: int
    max_gap: int = 3
    turns_back: bool = False
    reverse_probability: float = 0.5
    min_object_pixels: int = 200
    max_ignored: float = 0.2
    reference_tries: int = 40
    consistent_tries: int = 5

    def accepts_reference(self, label: Mask) -> bool:
        """Returns whether a mask (H x W) may be a clip's reference."""
        labelled = np.count_nonzero(label)
        ignored = np.count_nonzero(label == IGNORE_ID)
        return bool(labelled > self.min_object_pixels and ignored <= self.max_ignored * labelled)

    def starts(self, annotated: Sequence[bool]) -> list[int]:
        """Lists positions at which a clip may begin. ``annotated``: one flag per frame."""
        end = len(annotated) if self.turns_back else _last_annotated(annotated) - self.length + 2
        return [position for position in range(end) if annotated[position]] if len(annotated) > 1 else []

    def following(self, start: int, annotated: Sequence[bool], rng: np.random.Generator) -> list[int] | None:
        """Draws the positions of a clip that begins at ``start``, one of ``starts``; None if it has no end.

        Gaps are random. Unless clips turn back, the last position is annotated, and the largest gap shrinks
        near the end of the video, so that the clip fits. ``annotated``: one flag per frame.
        """
        if self.turns_back:
            steps = np.cumsum(rng.integers(1, self.max_gap + 1, size=self.length - 1))
            return [start, *_reflected(start + steps, len(annotated))]
        last = _last_annotated(annotated)
        limit = min(self.max_gap, (last - start) // (self.length - 1))
        gaps = rng.integers(1, limit + 1, size=self.length - 2)
        positions = [start, *(start + int(distance) for distance in np.cumsum(gaps))]
        reach = range(positions[-1] + 1, min(positions[-1] + self.max_gap, last) + 1)
        ends = [position for position in reach if annotated[position]]
        return [*positions, ends[rng.integers(len(ends))]] if ends else None


def _last_annotated(annotated: Sequence[bool]) -> int:
    return max(position for position, flag in enumerate(annotated) if flag)


def _reflected(positions: NDArray[np.int64], count: int) -> list[int]:
    """Folds positions into ``count`` frames (at least 2), as if the video played forwards and backwards."""
    there = positions % (2 * count - 2)
    return [int(position) for position in np.minimum(there, 2 * count - 2 - there)]


class VideoClips:
    """Draws random clips from the videos of one dataset, each video ``repeat`` times per epoch."""

    def __init__(self, videos: Sequence[Video], rules: ClipRules, repeat: int = 1) -> None:
        self.videos = videos
        self.rules = rules
        self._repeat = repeat

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def entries(self) -> Sequence[int]:
        """Lists every video, ``repeat`` times."""
        return [index for index in range(len(self)) for _ in range(self._repeat)]

    @property
    def keys(self) -> Sequence[str]:
        """Lists the key of every video."""
        return [video.key for video in self.videos]

    def related(self, index: int) -> Sequence[int]:
        """Lists all videos."""
        return range(len(self))

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Draws a clip from one video, reversed with ``reverse_probability``; None if no reference is found.

        A clip with objects that its reference lacks is drawn again, up to ``consistent_tries`` draws in all;
        the last is used as it is (``keep_objects`` makes such objects background).
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
        """Chooses the frames of a clip, as indices of the video."""
        annotated = [video.annotated[i] for i in order]
        starts = self.rules.starts(annotated)
        if not starts:
            return None
        for _ in range(self.rules.reference_tries):
            start = starts[rng.integers(len(starts))]
            positions = self.rules.following(start, annotated, rng)
            if positions and self.rules.accepts_reference(video.read_mask(order[start])):
                return [order[position] for position in positions]
        return None


class JoinedClips:
    """Joins the clips of several datasets; an epoch consists of the entries of all."""

    def __init__(self, parts: Sequence[ClipSource]) -> None:
        self._parts = parts
        self._starts = [0, *(int(end) for end in np.cumsum([len(part) for part in parts]))]

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def entries(self) -> Sequence[int]:
        """Lists the entries of every dataset."""
        starts = zip(self._starts, self._parts, strict=False)
        return [start + index for start, part in starts for index in part.entries]

    @property
    def keys(self) -> Sequence[str]:
        """Lists the keys of every dataset."""
        return [key for part in self._parts for key in part.keys]

    def related(self, index: int) -> Sequence[int]:
        """Lists the items of the dataset that item ``index`` belongs to."""
        part, own = self._find(index)
        return [index - own + other for other in part.related(own)]

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Draws a clip from item ``index``; see ``ClipSource``."""
        part, own = self._find(index)
        return part.draw(own, rng)

    def check(self, index: int) -> None:
        """Reads every file of item ``index``; see ``ClipSource``."""
        part, own = self._find(index)
        part.check(own)

    def _find(self, index: int) -> tuple[ClipSource, int]:
        """Returns the dataset of an item, and the item's index in it."""
        number = bisect_right(self._starts, index) - 1
        return self._parts[number], index - self._starts[number]


def _consistent(labels: Sequence[Mask | None]) -> bool:
    """Returns whether every object of a clip is in its first label."""
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
