"""Defines a common interface to video files, folders of images and cameras, and the selection of frames."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from aot_plus.utils.errors import ConfigError
from aot_plus.utils.images import Image

__all__ = ["Frame", "FrameSource", "Selection"]


class Frame(NamedTuple):
    """Holds a frame of a video."""

    number: int  # in the whole video, from 0
    name: str  # name of the frame's mask, without suffix
    image: Image  # H x W x 3, RGB
    seconds: float  # since the first frame of the video


@dataclass(frozen=True)
class Selection:
    """Selects the frames ``start``, ``start + every``, ... before ``end``, counted from 0."""

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
        return index >= self.start and self.is_before_end(index) and (index - self.start) % self.every == 0

    def is_before_end(self, index: int) -> bool:
        """Returns True if the selection has not ended before this frame."""
        return self.end is None or index < self.end

    def count(self, total: int) -> int:
        """Counts the selected frames of a video of ``total`` frames."""
        end = total if self.end is None else min(self.end, total)
        return len(range(self.start, end, self.every))


class FrameSource(Protocol):
    """Provides the frames of a video."""

    total: int | None  # number of frames, None for a camera
    fps: float  # frames per second, on average

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Reads the selected frames one after another. Raises ``DataError`` if frames cannot be read."""
        ...

    def index(self, name: str) -> int | None:
        """Returns the number of the frame that a mask's name (without suffix) stands for; None if none."""
        ...
