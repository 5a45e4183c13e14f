"""Decodes a video file, from any of its keyframes on, and numbers the frames."""

import logging
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from aot_plus.dataloaders.frame_index import FrameIndex, is_shown, shown_at
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image

__all__ = ["NumberedFrame", "VideoReader", "open_container", "upright", "video_stream"]

_log = logging.getLogger(__name__)

# Metadata need not be UTF-8, which PyAV always accepts from version 19 on.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

NumberedFrame = tuple[int, VideoFrame]

# Formats of single files. Playlists, which FFmpeg also supports, make it open other files and URLs.
_FORMATS = "asf,avi,flv,gif,ivf,matroska,mov,mp4,mpeg,mpegts,mxf,ogg,webm"


def open_container(path: Path) -> InputContainer:
    """Opens a file at its start. Raises FFmpeg's errors."""
    # Importing torchvision before 0.26 makes PyAV log. That needs Python's global lock, which PyAV holds
    # while it waits for its decoding threads to end: a message of theirs would block the process forever.
    av.logging.set_level(None)
    # Without "file:", a path with a colon would be taken for a URL.
    return av.open(f"file:{path}", "r", container_options={"format_whitelist": _FORMATS}, **_METADATA)


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Returns the stream that a player would show. Raises ``DataError`` if there is none to decode."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream):
        raise DataError(f"{path}: holds no video")
    if stream.codec_context is None:
        raise DataError(f"{path}: FFmpeg has no decoder for this video")
    return stream


class VideoReader:
    """Decodes frames in order, and seeks to keyframes.

    A frame's number is how many frames are shown before it, whether these can be decoded or not, so it does
    not depend on where decoding began. Only opening a file raises FFmpeg's errors; a damaged file merely
    yields fewer frames.
    """

    def __init__(self, path: Path, index: FrameIndex, *, keep: int = 0) -> None:
        """Opens the file. ``keep``: how many of the last decoded frames are kept in ``recent``."""
        self._path = path
        self._index = index
        self.recent: deque[NumberedFrame] = deque(maxlen=keep)
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._path)
        self._stream = video_stream(self._path, self._container)
        self._stream.thread_type = "AUTO"
        self._frames = self._decoded(at_start=True)
        self._last = -1  # number of the frame decoded last

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def next(self) -> NumberedFrame | None:
        """Decodes the next frame, skipping those that cannot be decoded; None after the last."""
        found = next(self._frames, None)
        if found is not None:
            self._last = found[0]
            self.recent.append(found)
        return found

    def find(self, number: int) -> NumberedFrame | None:
        """Decodes frame ``number`` or, if that is not possible, the next one; None after the last."""
        if self._last < number and self._index.nearest_key(number) <= self._last + 1:
            found = self.next()
        else:
            found = self._jump(number)
        while found is not None and found[0] < number:
            found = self.next()
        return found

    def _jump(self, number: int) -> NumberedFrame | None:
        """Seeks to a keyframe that is not shown after frame ``number``; returns the first decoded frame."""
        for time in self._index.starts_before(number):
            try:
                self._container.seek(time, stream=self._stream)
            except FFmpegError:  # the file is not seekable
                break
            self._frames = self._decoded(at_start=False)
            found = self.next()
            if found is not None and found[0] <= number:
                return found
        self.close()
        self._open()
        return self.next()

    def _decoded(self, *, at_start: bool) -> Iterator[NumberedFrame]:
        """Decodes from the start of the file, or from the next keyframe, without frames shown before it."""
        number: int | None = 0 if at_start else None  # of the next frame to be shown
        is_whole = at_start  # whether the frames that the next one refers to were decoded
        awaited: list[int] = []  # heap of the times of frames that were read but not shown yet
        for packet in self._packets():
            if number is None and packet is not None:
                number = self._index.frames_before(packet)
            if number is None:
                continue
            if packet is not None and is_shown(packet):
                heappush(awaited, shown_at(packet) or 0)
            for frame in self._decode(packet):
                time = frame.pts if self._index.in_order else None
                while awaited and time is not None and awaited[0] < time:  # those frames could not be decoded
                    heappop(awaited)
                    number += 1
                is_whole = is_whole or frame.key_frame
                if is_whole and number < self._index.total:
                    yield number, frame
                if awaited:
                    heappop(awaited)
                number += 1

    def _packets(self) -> Iterator[Packet | None]:
        """Reads packets. The last one is empty, or None if the file cannot be read to its end."""
        try:
            yield from self._container.demux(self._stream)
        except FFmpegError as error:
            _log.warning("%s: cannot be read any further (%s)", self._path, error.strerror)
            yield None

    def _decode(self, packet: Packet | None) -> list[VideoFrame]:
        """Decodes a packet; the last one flushes the decoder. A damaged packet yields no frames."""
        try:
            return self._stream.decode(packet)
        except FFmpegError as error:
            _log.debug("%s: %s", self._path, error)
            return []


def upright(frame: VideoFrame) -> Image:
    """Converts a frame to RGB, H x W x 3, and rotates or mirrors it as the file specifies."""
    image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return image
    # x' = a x + c y, y' = b x + d y; only multiples of 90 degrees occur.
    (a, b), (c, d) = np.frombuffer(bytes(matrix), np.int32).reshape(3, 3)[:2, :2].tolist()
    if a == d == 0:
        image, a, d = image.swapaxes(0, 1), c, b
    return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
