"""Writes a video file that is playable, in browsers too, even if an error ends the writing."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from evaluation.files import write_target, writing

__all__ = ["VideoWriter"]

_log = logging.getLogger(__name__)

_ENCODER = "libx264"
_QUALITY = {"crf": "20", "preset": "superfast"}
_TICK = Fraction(1, 90_000)  # seconds; a common unit of time in video files


class VideoWriter:
    """Writes frames to an MP4 file in a ``with`` block: H.264, which browsers can play while downloading.

    The file is opened at the first frame, under a hidden name. Leaving the block, even by an error, completes
    it with the frames so far and renames it. A file that cannot be completed, as on a full disk, is removed.
    """

    def __init__(self, path: Path, fps: float) -> None:
        """``fps``: average frames per second; each frame has its own time."""
        self.path = path
        self._fps = Fraction(fps).limit_denominator(1001)
        self._target = path
        self._temporary: Path | None = None  # path of the file until it is complete
        self._output: tuple[OutputContainer, VideoStream] | None = None
        self._size = (0, 0)  # height, width of the frames
        self._began = 0.0  # time of the first frame
        self._ticks = -1  # time from the first frame to the last, in ticks

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._complete()
        except DataError as problem:
            if error is None:
                raise
            if str(problem) != str(error):  # the block's own error is raised
                _log.error(problem)
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)

    def write(self, image: Image, seconds: float) -> None:
        """Appends a frame (H x W x 3, RGB), of the same size as the others, with its time in the video.

        Raises ``DataError`` if it cannot be written.
        """
        with self._problems_named():
            if self._output is None:
                self._size, self._began = (image.shape[0], image.shape[1]), seconds
                self._output = self._open()
            if image.shape[:2] != self._size:
                raise DataError(f"{self.path}: a frame of another size, {image.shape[:2]}, not {self._size}")
            self._ticks = max(self._ticks + 1, round((seconds - self._began) / _TICK))
            container, stream = self._output
            container.mux(stream.encode(_encodable(image, self._ticks)))

    def _open(self) -> tuple[OutputContainer, VideoStream]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._target = write_target(self.path)
        self._temporary = self._target.with_name(f".{self._target.stem}.unfinished{self._target.suffix}")
        container = av.open(
            f"file:{self._temporary}", "w", format="mp4", container_options={"movflags": "+faststart"}
        )
        height, width = (side + side % 2 for side in self._size)
        stream = container.add_stream(
            _ENCODER, rate=self._fps, options=_QUALITY, width=width, height=height, time_base=_TICK
        )
        assert isinstance(stream, VideoStream)
        # Set explicitly, because players would otherwise guess them from the size.
        stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
        stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return container, stream

    def _complete(self) -> None:
        if self._output is None or self._temporary is None:
            return
        container, stream = self._output
        with self._problems_named():
            try:
                container.mux(stream.encode(None))
            finally:
                container.close()
            self._temporary.replace(self._target)

    @contextmanager
    def _problems_named(self) -> Iterator[None]:
        """Turns errors of FFmpeg and the system into a ``DataError``."""
        try:
            with writing(self.path):
                yield
        except FFmpegError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error


def _encodable(image: Image, ticks: int) -> VideoFrame:
    """Converts an image for the encoder: an odd side's last row or column is repeated.

    Colours have half the resolution, as all players expect.
    """
    bottom, right = image.shape[0] % 2, image.shape[1] % 2
    if bottom or right:
        image = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(image, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
    frame.pts, frame.time_base = ticks, _TICK
    return frame
