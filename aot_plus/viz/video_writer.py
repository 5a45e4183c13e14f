"""A video file that is playable however its writing ends."""

import logging
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from evaluation.files import write_target, writing

__all__ = ["VideoWriter"]

_log = logging.getLogger(__name__)

# Codec, suffix, and what people call it; the first that OpenCV can write is used.
CODECS = (
    ("avc1", ".mp4", "H.264"),
    ("mp4v", ".mp4", "MPEG-4 Part 2; this OpenCV cannot write H.264, and browsers do not play it"),
    ("MJPG", ".avi", "Motion JPEG; this OpenCV can write neither H.264 nor MPEG-4"),
)


class VideoWriter:
    """Writes frames to ``<stem>.mp4`` (or ``.avi``), in a ``with`` block.

    The file is opened at the first frame, under a hidden name. Leaving the block, also by an error, closes it
    and gives it its name, with the frames so far. A file that does not play, as on a full disk, is removed.
    """

    def __init__(self, stem: Path, fps: float) -> None:
        self._stem = stem
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._temporary = self._target = stem
        self._size = (0, 0)  # height, width of the frames
        self.path: Path | None = None  # of the file; None before the first frame
        self.codec = ""  # its usual name

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None or self.path is None:
            return
        self._writer.release()
        if _plays(self._temporary):
            with writing(self.path):
                self._temporary.replace(self._target)
            return
        self._temporary.unlink(missing_ok=True)
        problem = f"{self.path}: the video could not be written (is the disk full?)"
        if error is None:
            raise DataError(problem)
        _log.error(problem)  # the error that ended the block is the one to be raised

    def write(self, image: Image) -> None:
        """Appends a frame (H x W x 3, RGB), all of one size. Raises ``DataError`` if no codec works."""
        if self._writer is None:
            self._size = (image.shape[0], image.shape[1])
            self._writer = self._open()
        if image.shape[:2] != self._size:
            raise DataError(f"{self.path}: a frame of another size, {image.shape[:2]}, not {self._size}")
        self._writer.write(cv2.cvtColor(_even(image), cv2.COLOR_RGB2BGR))

    def _open(self) -> cv2.VideoWriter:
        with writing(self._stem):
            self._stem.parent.mkdir(parents=True, exist_ok=True)
        height, width = (side + side % 2 for side in self._size)
        for codec, suffix, name in CODECS:
            path = self._stem.with_name(self._stem.name + suffix)
            target = write_target(path)
            temporary = target.with_name(f".{target.stem}.unfinished{suffix}")
            fourcc = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(temporary), fourcc, self._fps, (width, height))
            if writer.isOpened():
                self.path, self._target, self._temporary, self.codec = path, target, temporary, name
                return writer
            temporary.unlink(missing_ok=True)
        tried = ", ".join(codec for codec, _, _ in CODECS)
        raise DataError(f"{self._stem}: OpenCV cannot write a video of {width} x {height} here ({tried})")


def _plays(path: Path) -> bool:
    """True if a frame can be read: OpenCV says nothing of a video that it could not finish."""
    capture = cv2.VideoCapture(str(path))
    try:
        return capture.read()[0]
    finally:
        capture.release()


def _even(image: Image) -> Image:
    """Repeats the last row or column of an odd side: codecs halve the colours' resolution."""
    bottom, right = image.shape[0] % 2, image.shape[1] % 2
    return np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge") if bottom or right else image
