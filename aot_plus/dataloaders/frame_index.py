"""Lists how many frames a video file has, and at which of them its decoding can begin."""

import logging
from bisect import bisect_right
from collections.abc import Iterable

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["FrameIndex", "is_shown", "shown_at"]

_log = logging.getLogger(__name__)

_LARGE = 1_000_000_000  # bytes: to read so many may take longer than people wait without a word
_BACK = (1, 2, 4, 8, 16)  # keyframes before a frame
_VP8_SHOWN = 0x10  # a bit of a packet's first byte


class FrameIndex:
    """Holds the number of frames, and the keyframes.

    Each keyframe is known by its time, in the stream's units, and by the number of frames that come before it
    in the file. Those that come after it in the file may be shown before it, but none of those before it is
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
            frames: time of each frame, and True for keyframes, in the order of the file.
            by_dts: times are those of decoding, else those of showing.
            in_order: the file's times of showing put the frames in order.
            can_jump: the times are right after a jump, too.
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
        """Takes the list of all frames that the file has, as mp4 does; reads through a file without one.

        Reading through decodes nothing, but takes as long as the disk needs for the whole file. It leaves
        the container at its end.
        """
        entries = stream.index_entries
        if len(entries) == stream.frames > 0:
            listed = ((entry.timestamp, entry.is_keyframe) for entry in entries if not entry.is_discard)
            # AVI knows no times of showing: FFmpeg takes the frames' order in the file for them.
            in_order = container.format.name != "avi" or not stream.codec_context.has_b_frames
            return cls(listed, by_dts=True, in_order=in_order)
        if container.size > _LARGE:
            path = container.name.removeprefix("file:")
            _log.info("%s: has no list of its frames, it is read through once", path)
        packets = filter(is_shown, container.demux(stream))
        read = ((shown_at(packet), packet.is_keyframe) for packet in packets)
        # In MPEG's program streams, frames after a jump get the times of their neighbours.
        return cls(read, by_dts=False, can_jump=container.format.name != "mpeg")

    def frames_before(self, key: Packet) -> int | None:
        """Returns how many frames come before a keyframe in the file, None if it is none that is known."""
        time = key.dts if self._by_dts else shown_at(key)
        return self._before.get(time) if key.is_keyframe and time is not None else None

    def nearest_key(self, number: int) -> int:
        """Returns how many frames come before the last keyframe of the frames up to ``number``."""
        position = bisect_right(self._numbers, number)
        return self._numbers[position - 1] if position else 0

    def starts_before(self, number: int) -> list[int]:
        """Returns times of some keyframes of the frames up to ``number``, the nearest first.

        The nearest one may not do: some of the frames after it in the file are shown before it, and files
        of some formats call more frames keyframes than there are.
        """
        position = bisect_right(self._numbers, number) if self._can_jump else 0
        return [self._times[position - back] for back in _BACK if back <= position]


def is_shown(packet: Packet) -> bool:
    """Returns True for a packet that holds a frame to be shown.

    False for the empty packet at the end, for frames that were cut off but are still in the file, and for
    those of VP8 that only help to decode others.
    """
    if packet.size == 0 or packet.is_discard:
        return False
    return packet.stream.codec_context.name != "vp8" or bool(memoryview(packet)[0] & _VP8_SHOWN)


def shown_at(packet: Packet) -> int | None:
    """Returns the time at which a packet's frame is shown, as far as the file says."""
    return packet.dts if packet.pts is None else packet.pts
