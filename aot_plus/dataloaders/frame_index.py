"""Indexes a video file: the number of its frames, and the keyframes at which decoding can begin."""

import logging
from bisect import bisect_right
from collections.abc import Iterable

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["FrameIndex", "is_shown", "shown_at"]

_log = logging.getLogger(__name__)

_LARGE = 1_000_000_000  # bytes: reading this many may take so long that the user should be told
_BACK = (1, 2, 4, 8, 16)  # how many keyframes to go back from a frame
_VP8_SHOWN = 0x10  # bit in a packet's first byte


class FrameIndex:
    """Holds the number of frames, and the keyframes.

    A keyframe is identified by its time, in the stream's units, and by the number of frames that precede it
    in the file. Frames that follow it in the file may be shown before it, but no frame that precedes it is
    shown after it.
    """

    def __init__(
        self,
        frames: Iterable[tuple[int | None, bool]],
        *,
        by_dts: bool,
        in_order: bool = True,
        can_jump: bool = True,
    ) -> None:
        """
        Args:
            frames: each frame's time and whether it is a keyframe, in the order of the file.
            by_dts: whether times are decoding times (DTS) rather than presentation times (PTS).
            in_order: whether the file's presentation times give the order of the frames.
            can_jump: whether times are also correct after a seek.
        """
        self._by_dts = by_dts
        self.in_order = in_order
        self._can_jump = can_jump and in_order
        self._before: dict[int, int] = {}  # by time, ascending
        self.total = 0
        for time, is_key in frames:
            if is_key and time is not None:
                self._before[time] = self.total
            self.total += 1
        self._times, self._numbers = list(self._before), list(self._before.values())

    @classmethod
    def of(cls, container: InputContainer, stream: VideoStream) -> "FrameIndex":
        """Uses the file's own list of frames if it has one, as mp4 does; otherwise reads the whole file.

        Reading the file decodes nothing, but takes as long as the disk needs for all of it. It leaves the
        container at its end.
        """
        entries = stream.index_entries
        if len(entries) == stream.frames > 0:
            listed = ((entry.timestamp, entry.is_keyframe) for entry in entries if not entry.is_discard)
            # AVI stores no presentation times: FFmpeg derives them from the order of frames in the file.
            in_order = container.format.name != "avi" or not stream.codec_context.has_b_frames
            return cls(listed, by_dts=True, in_order=in_order)
        if (container.size or 0) > _LARGE:  # from PyAV 19 on, an unknown size is None
            path = container.name.removeprefix("file:")
            _log.info("%s: has no list of its frames, so the whole file is read once", path)
        packets = filter(is_shown, container.demux(stream))
        read = ((shown_at(packet), packet.is_keyframe) for packet in packets)
        # In MPEG program streams, frames after a seek get the times of their neighbours.
        return cls(read, by_dts=False, can_jump=container.format.name != "mpeg")

    def frames_before(self, key: Packet) -> int | None:
        """Returns how many frames precede a keyframe in the file; None if it is not a known keyframe."""
        time = key.dts if self._by_dts else shown_at(key)
        return self._before.get(time) if key.is_keyframe and time is not None else None

    def nearest_key(self, number: int) -> int:
        """Returns how many frames precede the last keyframe up to frame ``number``."""
        position = bisect_right(self._numbers, number)
        return self._numbers[position - 1] if position else 0

    def starts_before(self, number: int) -> list[int]:
        """Returns the times of some keyframes up to frame ``number``, the nearest first.

        The nearest may not be early enough: frames that follow it in the file may be shown before it, and
        files of some formats mark frames as keyframes that are not.
        """
        position = bisect_right(self._numbers, number) if self._can_jump else 0
        return [self._times[position - back] for back in _BACK if back <= position]


def is_shown(packet: Packet) -> bool:
    """Returns True for a packet that holds a frame to be shown.

    False for the empty packet at the end, for frames that were trimmed but are still in the file, and for
    VP8's hidden frames, which only help to decode others.
    """
    if packet.size == 0 or packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN)


def shown_at(packet: Packet) -> int | None:
    """Returns the time at which a packet's frame is shown, else its decoding time; None if it has neither."""
    return packet.dts if packet.pts is None else packet.pts
