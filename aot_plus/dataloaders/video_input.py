"""A user's video: a file or a folder of images, frame by frame, and the masks that belong to its frames."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.images import Image, natural_order
from aot_plus.utils.masks import read_image
from evaluation.masks import opened

__all__ = ["Selection", "VideoInput", "check_mask_sizes", "find_masks", "open_video"]

_log = logging.getLogger(__name__)

FOLDER_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
FOLDER_FPS = 10.0  # of a folder of images, which does not say


@dataclass(frozen=True)
class Selection:
    """The frames ``start``, ``start + every``, ... before ``end``, counted from 0."""

    start: int = 0
    end: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.start < 0:
            raise ConfigError(f"--start: expected 0 or more, found {self.start}")
        if self.every < 1:
            raise ConfigError(f"--every: expected 1 or more, found {self.every}")
        if self.end is not None and self.end <= self.start:
            raise ConfigError(f"--end: expected more than --start, {self.start}, found {self.end}")

    def __contains__(self, index: int) -> bool:
        before_end = self.end is None or index < self.end
        return index >= self.start and before_end and (index - self.start) % self.every == 0

    def count(self, total: int) -> int:
        """Counts the selected frames of a video of ``total`` frames."""
        end = total if self.end is None else min(self.end, total)
        return len(range(self.start, end, self.every))


class VideoInput(Protocol):
    """Selected frames of a video. Each can be iterated over once."""

    path: Path
    selection: Selection
    total: int | None  # frames of the whole video, None if it does not say
    fps: float  # frames per second of the whole video

    def __iter__(self) -> Iterator[tuple[int, str, Image]]:
        """Number, name and image (H x W x 3, RGB) of each selected frame."""
        ...

    def index(self, name: str) -> int | None:
        """Returns the number of the frame that a mask's name without suffix means, if there is one."""
        ...


def open_video(path: Path, selection: Selection) -> VideoInput:
    """Opens a video file or a folder of images. Raises ``DataError`` if it has none of the frames."""
    if path.is_dir():
        video: VideoInput = _ImageFolder(path, selection)
    elif path.is_file():
        video = _VideoFile(path, selection)
    else:
        raise DataError(f"{path}: there is no such video or folder")
    if video.total is not None and selection.count(video.total) == 0:
        raise DataError(f"{path}: no frame is left: it has {video.total}, --start is {selection.start}")
    return video


class _ImageFolder:
    """Images in the order of the numbers in their names: 2.jpg comes before 10.jpg."""

    def __init__(self, path: Path, selection: Selection) -> None:
        self.path = path
        self.selection = selection
        self.fps = FOLDER_FPS
        self._images = sorted(
            (entry for entry in path.iterdir() if _is_image(entry)),
            key=lambda entry: natural_order(entry.name),
        )
        if not self._images:
            raise DataError(f"{path}: the folder has no frames ({', '.join(FOLDER_SUFFIXES)})")
        self.total: int | None = len(self._images)
        self._numbers = {image.stem: number for number, image in enumerate(self._images)}
        if len(self._numbers) < len(self._images):
            raise DataError(f"{path}: some images have the same name but for their suffix")

    def __iter__(self) -> Iterator[tuple[int, str, Image]]:
        size = None
        for number, path in enumerate(self._images):
            if number not in self.selection:
                continue
            image = read_image(path)
            size = size or image.shape
            if image.shape != size:
                raise DataError(
                    f"{path}: {image.shape[1]} x {image.shape[0]} pixels, "
                    f"but the first frame has {size[1]} x {size[0]}"
                )
            yield number, path.stem, image

    def index(self, name: str) -> int | None:
        return self._numbers.get(name)


class _VideoFile:
    """A file that OpenCV decodes. Frames are named by their numbers, from 00000."""

    def __init__(self, path: Path, selection: Selection) -> None:
        self.path = path
        self.selection = selection
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise DataError(f"{path}: cannot be read as a video (damaged, or a codec that OpenCV lacks)")
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = count if count > 0 else None
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else FOLDER_FPS

    def __iter__(self) -> Iterator[tuple[int, str, Image]]:
        number, end = 0, self.selection.end
        try:
            # Frames are skipped by decoding: positions asked of a video file are not exact.
            while (end is None or number < end) and self._capture.grab():
                if number in self.selection:
                    yield number, f"{number:05d}", self._decode(number)
                number += 1
        finally:
            self._capture.release()
        self._check_end(number)

    def index(self, name: str) -> int | None:
        if not name.isdecimal():
            return None
        number = int(name)
        return number if self.total is None or number < self.total else None

    def _decode(self, number: int) -> Image:
        decoded, image = self._capture.retrieve()
        if not decoded or image is None:
            raise DataError(f"{self.path}: frame {number} cannot be decoded")
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def _check_end(self, number: int) -> None:
        """Says so if the video ended before it should have."""
        if number <= self.selection.start:
            raise DataError(
                f"{self.path}: no frame could be read: it ends after {number}, "
                f"--start is {self.selection.start}"
            )
        expected = min((n for n in (self.total, self.selection.end) if n is not None), default=number)
        if number < expected:
            _log.warning("%s: ends after %d frames, expected %d", self.path, number, expected)


def find_masks(path: Path, video: VideoInput) -> dict[int, Path]:
    """Finds the masks of the selected frames, by number, the first frame's among them.

    Args:
        path: one mask, of the first selected frame, or a folder of masks named after their frames.
        video: the video.

    Raises:
        DataError: nothing there, no mask for the first frame, or one of a frame that does not exist.
    """
    first = video.selection.start
    if path.is_file():
        return {first: path}
    if not path.is_dir():
        raise DataError(f"{path}: there is no such mask, or folder of masks")
    found: dict[int, Path] = {}
    for mask in sorted(filter(_is_image, path.iterdir())):
        if mask.suffix.lower() != ".png":
            continue
        number = video.index(mask.stem)
        if number is None:
            raise DataError(f"{mask}: {video.path} has no frame of this name{_frame_names(video)}")
        if number in found:
            raise DataError(f"{mask}: two masks of one frame, the other is {found[number].name}")
        found[number] = mask
    selected = {number: mask for number, mask in found.items() if number in video.selection}
    if first not in selected:
        have = ", ".join(mask.name for mask in list(found.values())[:5]) or "no .png files"
        raise DataError(f"{path}: no mask of the first frame (number {first}); found {have}")
    for number in sorted(found.keys() - selected.keys()):
        _log.warning("%s: not used, its frame is not selected", found[number])
    return selected


def check_mask_sizes(masks: dict[int, Path], size: tuple[int, int]) -> None:
    """Raises ``DataError`` for the first mask that is not ``size`` (H, W) pixels; opens headers only."""
    for path in masks.values():
        with opened(path, "a mask") as image:
            found = image.size
        if found != size[::-1]:
            raise DataError(
                f"{path}: the mask is {found[0]} x {found[1]} pixels, its frame {size[1]} x {size[0]}"
            )


def _frame_names(video: VideoInput) -> str:
    return "" if video.total is None else f"; it has {video.total} frames"


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in FOLDER_SUFFIXES and not path.name.startswith(".")
