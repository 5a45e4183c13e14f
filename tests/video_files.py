"""Small video files for tests: each frame's brightness encodes its number."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

HEIGHT, WIDTH = 48, 64
STEP = 4  # of brightness, from one frame to the next
MILLISECOND = Fraction(1, 1000)


def picture(number: int) -> NDArray[np.uint8]:
    """Returns a grey image with a red upper left corner."""
    image = np.full((HEIGHT, WIDTH, 3), STEP * number, np.uint8)
    image[:16, :16] = (250, 10, 10)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """Returns a frame's number, read from its brightness."""
    return round(float(image[HEIGHT // 2, WIDTH // 2].mean()) / STEP)


def write_video(
    path: Path,
    codec: str = "libx264",
    frames: int = 40,
    *,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    prepare: Callable[[VideoStream], Any] = lambda stream: None,
) -> Path:
    """Writes ``frames`` pictures, with a keyframe at least every 10 frames.

    Args:
        path: the file; its suffix selects the format.
        codec: the name of an FFmpeg encoder.
        frames: the number of frames.
        options: options of the encoder.
        container: options of the format.
        times: the frames' times in milliseconds; without them, there are 25 frames a second.
        prepare: called with the stream before it is used.
    """
    with av.open(str(path), "w", container_options=container) as output:
        stream = output.add_stream(codec, rate=25, options=options, width=WIDTH, height=HEIGHT)
        assert isinstance(stream, VideoStream)
        stream.gop_size, stream.bit_rate = 10, 1_000_000
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        if times is not None:
            stream.codec_context.time_base = MILLISECOND
        prepare(stream)
        for number in range(frames):
            frame = VideoFrame.from_ndarray(picture(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], MILLISECOND
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def remux(
    source: Path,
    target: Path,
    change: Callable[[int, Packet], Iterable[Packet]],
    container: dict[str, str] | None = None,
) -> Path:
    """Copies a file packet by packet; ``change`` gets a position and a packet, and returns those to write."""
    with av.open(str(source)) as given, av.open(str(target), "w", container_options=container) as output:
        stream = given.streams.video[0]
        copied = output.add_stream_from_template(stream)
        for position, packet in enumerate(given.demux(stream)):
            for changed in change(position, packet) if packet.size else ():
                changed.stream = copied
                output.mux(changed)
    return target
