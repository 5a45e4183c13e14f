"""Reads a video file, frame by frame. Frames are identified by number, even if their spacing varies."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType

from av.error import FFmpegError

from aot_plus.dataloaders.frame_index import FrameIndex
from aot_plus.dataloaders.frame_source import Frame, Selection
from aot_plus.dataloaders.video_reader import VideoReader, open_container, upright, video_stream
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from evaluation.files import require_regular

__all__ = ["VideoFile"]

_log = logging.getLogger(__name__)

_FPS = 10.0  # if the file does not state its rate
_RECENT = 8  # frames kept for steps back: each would otherwise decode from a keyframe


class VideoFile:
    """Reads frames of a video file in any order; several threads may share it.

    >>> with VideoFile(Path("video.mp4")) as video:
    ...     last = video.frame(len(video) - 1)

    Frames are numbered from 0 in the order in which they are shown, and rotated as the file specifies. To
    reach a frame, all frames from the keyframe before it are decoded; to go on to the next frame, only that
    one. mp4 and mov files list their frames and open at once; other files are read once without decoding.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises ``DataError`` if it contains no readable video."""
        require_regular(path)
        self.path = path
        with self._problems_named():
            with open_container(path) as container:
                stream = video_stream(path, container)
                rate = stream.average_rate or stream.guessed_rate
                self._began = float((stream.start_time or 0) * (stream.time_base or 0))
                self._index = FrameIndex.of(container, stream)
            self._reader = VideoReader(path, self._index, keep=_RECENT)
        self.fps = float(rate) if rate and 0 < rate <= 1000 else _FPS
        self.total: int | None = len(self)
        if self.total == 0:
            raise DataError(f"{path}: the video has no frames")
        self._lock = Lock()  # guards the reader

    def __len__(self) -> int:
        return self._index.total

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file: no more frames can be read."""
        with self._lock:
            self._reader.close()

    def frame(self, number: int) -> Image:
        """Decodes a frame, H x W x 3, RGB. Raises ``DataError`` if it is missing or damaged."""
        if not 0 <= number < len(self):
            raise DataError(f"{self.path}: there is no frame {number}, only 0 to {len(self) - 1}")
        with self._lock, self._problems_named():
            recent = (found for found in self._reader.recent if found[0] == number)
            found = next(recent, None) or self._reader.find(number)
            if found is None or found[0] != number:
                raise DataError(f"{self.path}: frame {number} cannot be decoded")
            return upright(found[1])

    def name(self, number: int) -> str:
        """Returns the name of a frame's mask, without suffix."""
        return f"{number:05d}"

    def index(self, name: str) -> int | None:
        """Returns the number of the frame that a mask's name (without suffix) stands for; None if none."""
        number = int(name) if name.isdecimal() else len(self)
        return number if number < len(self) else None

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Decodes the selected frames one after another, independently of ``frame``.

        Frames that cannot be decoded are skipped; a warning says how many could be. Raises ``DataError`` if
        none can be decoded.
        """
        selected = 0
        with self._problems_named():
            reader = VideoReader(self.path, self._index)
        try:
            found = reader.find(selection.start)
            while found is not None and selection.is_before_end(found[0]):
                number, frame = found
                if number in selection:
                    selected += 1
                    seconds = number / self.fps if frame.time is None else frame.time - self._began
                    yield Frame(number, self.name(number), upright(frame), seconds)
                found = reader.next()
        finally:
            reader.close()
        if selected == 0:
            raise DataError(f"{self.path}: no frame could be decoded from frame {selection.start} on")
        if selected < selection.count(len(self)):
            expected = selection.count(len(self))
            _log.warning("%s: only %s of %s frames could be decoded", self.path, selected, expected)

    @contextmanager
    def _problems_named(self) -> Iterator[None]:
        """Turns FFmpeg's errors into a ``DataError``."""
        try:
            yield
        except FFmpegError as error:
            raise DataError(
                f"{self.path}: cannot be read as a video ({error.strerror}): "
                "damaged, or of a kind that FFmpeg does not know"
            ) from error
