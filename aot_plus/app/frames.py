"""Reads the frames of a video by number: in any order for a slider, one after another for a run."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aot_plus.dataloaders.frame_source import Frame, Selection
from aot_plus.dataloaders.video_file import VideoFile
from aot_plus.dataloaders.video_input import open_frames
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image

__all__ = ["FrameList", "Frames"]

_CACHED = 128_000_000  # bytes of decoded frames
_CHUNK = 16  # frames decoded at a time when reading backward
_PARTS, _PART = 16, 65_536  # how many parts of the content identify it, and their bytes


@dataclass(frozen=True)
class FrameList:
    """Identifies a video's frames by their number, the SHA-256 of their names, and that of some content."""

    count: int
    names: str
    parts: tuple[str, ...] = ()  # empty in older projects

    def resembles(self, other: "FrameList") -> bool:
        """Returns whether at most half of the parts differ, as if some damaged images were replaced."""
        differ = sum(own != its for own, its in zip(self.parts, other.parts, strict=False))
        return 2 * differ <= len(self.parts)


class Frames:
    """Reads frames of a video file or a folder of images, with a small cache. Any thread may call it."""

    def __init__(self, path: Path) -> None:
        """Raises ``DataError`` if it is not a video, or its first frame or frame names cannot be read."""
        self.path = path
        self._source = open_frames(path)
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Image] = OrderedDict()
        self.fps = self._source.fps
        self.count = len(self._source)
        self.list = FrameList(self.count, self._digest_names(), self._digest_parts())
        first = self.image(0)
        self.size = (first.shape[0], first.shape[1])  # H, W

    def name(self, number: int) -> str:
        """Returns the name of a frame: its file's name without suffix, or its number."""
        return self._source.name(number)

    def image(self, number: int) -> Image:
        """Reads a frame, H x W x 3 RGB. Raises ``DataError`` if it is missing or damaged."""
        with self._lock:
            image = self._cache.get(number)
        if image is None:
            image = self._source.frame(number)
            self._keep(number, image)
        return image

    def read(self, numbers: range) -> Iterator[Frame]:
        """Reads frames one after another, forward or backward, independently of ``image``.

        ``numbers``: has a step of 1 or -1. Raises ``DataError`` for a frame that cannot be read.
        """
        if not numbers:
            return
        if numbers.step > 0:
            frames = self._source.frames(Selection(numbers.start, numbers.stop))
        else:
            frames = self._backward(numbers)
        for frame in frames:
            self._keep(frame.number, frame.image)
            yield frame

    def _backward(self, numbers: range) -> Iterator[Frame]:
        """Decodes chunks of frames. One of a damaged video is skipped, as ``frames`` skips single frames."""
        for place in range(0, len(numbers), _CHUNK):
            chunk = numbers[place : place + _CHUNK][::-1]
            try:
                frames = list(self._source.frames(Selection(chunk.start, chunk.stop)))
            except DataError:
                if chunk.start == numbers[-1] or not isinstance(self._source, VideoFile):
                    raise
                continue
            yield from reversed(frames)

    def close(self) -> None:
        """Closes the video file."""
        if isinstance(self._source, VideoFile):
            self._source.close()

    def _digest_names(self) -> str:
        digest = hashlib.sha256()
        for number in range(self.count):
            try:
                digest.update(f"{self.name(number)}\0".encode())
            except UnicodeEncodeError:
                raise DataError(
                    f"{self.path}: an image's name is not UTF-8: rename {self.name(number)!a}"
                ) from None
        return digest.hexdigest()

    def _digest_parts(self) -> tuple[str, ...]:
        """Samples the video file, or the images, at equal distances: reading all would take too long."""
        source, shares = self._source, range(_PARTS)
        if isinstance(source, VideoFile):
            size = self.path.stat().st_size
            return tuple(_digest(self.path, size * share // _PARTS) for share in shares)
        return tuple(_digest(source.path_of(self.count * share // _PARTS), 0) for share in shares)

    def _keep(self, number: int, image: Image) -> None:
        """Caches a frame, and evicts the oldest ones if the cache is full."""
        with self._lock:
            self._cache[number] = image
            self._cache.move_to_end(number)
            held = sum(image.nbytes for image in self._cache.values())
            while held > _CACHED and len(self._cache) > 1:
                held -= self._cache.popitem(last=False)[1].nbytes


def _digest(path: Path, start: int) -> str:
    """Returns the beginning of the SHA-256 of a file's size and of a part of it; "" if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(start)
        return hashlib.sha256(b"%d\0" % path.stat().st_size + file.read(_PART)).hexdigest()[:16]
    return ""
