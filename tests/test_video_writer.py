"""Written videos play in browsers, with the right times and colours, and are complete or not there at all."""

import base64
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from aot_plus.dataloaders.frame_source import Selection
from aot_plus.dataloaders.video_file import VideoFile
from aot_plus.utils.errors import DataError
from aot_plus.viz.video_writer import VideoWriter
from tests.video_files import number_of, picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FRAMES = 12
ODD = (41, 57)  # odd numbers, which codecs do not accept

# Plays a video to its end; then returns its size, its length, and the colours on the left and on the right.
PLAY = """async (data) => {
    const video = document.createElement('video');
    video.muted = true;
    video.src = 'data:video/mp4;base64,' + data;
    await new Promise((ended, failed) => {
        video.onended = ended;
        video.onerror = () => failed(video.error.message);
        video.play();
    });
    const canvas = document.createElement('canvas');
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    const context = canvas.getContext('2d');
    context.drawImage(video, 0, 0);
    const colour = (x) => [...context.getImageData(x, 10, 1, 1).data].slice(0, 3);
    return [canvas.width, canvas.height, video.duration, colour(10), colour(canvas.width - 10)];
}"""


def write(path: Path, image: Any = picture, frames: int = FRAMES) -> Path:
    with VideoWriter(path, 24) as writer:
        for number in range(frames):
            writer.write(image(number), number / 24)
    return path


def test_the_format_is_one_that_all_players_know(tmp_path: Path) -> None:
    path = write(tmp_path / "new folder" / "v: 1%d.mp4")
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, stream.average_rate) == (FRAMES, 24)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # so that it can play while it downloads
    assert [number_of(frame.image) for frame in VideoFile(path).frames(Selection())] == list(range(FRAMES))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [ODD, (1, 1), (2, 3)])
def test_odd_sizes_repeat_the_last_row_and_column(size: tuple[int, int], tmp_path: Path) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    written = VideoFile(write(tmp_path / "v.mp4", lambda _: image)).frame(3)
    assert written.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    np.testing.assert_allclose(written, 200, atol=3)


def test_each_frame_keeps_its_time(tmp_path: Path) -> None:
    times = [7.0, 7.033, 7.033, 7.5, 9.0, 8.0]  # camera clocks are not perfect
    with VideoWriter(tmp_path / "v.mp4", 10) as writer:
        for number, seconds in enumerate(times):
            writer.write(picture(number), seconds)
    frames = list(VideoFile(tmp_path / "v.mp4").frames(Selection()))
    assert [number_of(frame.image) for frame in frames] == list(range(len(times)))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.033, 0.033, 0.5, 2.0, 2.0], abs=1e-3)


def test_chromium_plays_it_in_the_right_colours(browser: "Browser", tmp_path: Path) -> None:
    image = np.zeros((*ODD, 3), np.uint8)
    image[:, :28], image[:, 28:] = (220, 30, 40), (20, 120, 200)
    path = write(tmp_path / "v.mp4", lambda _: image)
    page = browser.new_page()
    width, height, seconds, left, right = page.evaluate(PLAY, base64.b64encode(path.read_bytes()).decode())
    page.close()
    assert (width, height) == (58, 42)
    assert seconds == pytest.approx(FRAMES / 24, abs=0.05)
    np.testing.assert_allclose([left, right], [image[0, 0], image[0, -1]], atol=8)


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 24) as writer:
        writer.write(picture(0), 0.0)
        with pytest.raises(DataError, match=r"v\.mp4: .*\(47, 64\).*\(48, 64\)"):
            writer.write(picture(1)[:-1], 0.1)
    assert len(VideoFile(tmp_path / "v.mp4")) == 1


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", frames=0)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_until_another_is_complete(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"of before")
    with pytest.raises(DataError, match="no frame"), VideoWriter(tmp_path / "v.mp4", 10):
        raise DataError("no frame could be read")
    assert (tmp_path / "v.mp4").read_bytes() == b"of before"


def test_what_is_no_file_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "v.mp4")
    with pytest.raises(DataError, match=r"v\.mp4: .*pipe"), VideoWriter(tmp_path / "v.mp4", 10) as writer:
        writer.write(picture(0), 0.0)
    assert (tmp_path / "v.mp4").is_fifo()


@contextmanager
def full_disk() -> Iterator[None]:
    """Limits the size of files to 100 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def noise(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.mark.parametrize("frames", [16, 80])  # fails at the end, and while frames are written
def test_what_cannot_be_completed_is_removed(frames: int, tmp_path: Path) -> None:
    with full_disk(), pytest.raises(DataError, match=r"v\.mp4: .*\(File too large\)"):
        write(tmp_path / "v.mp4", noise, frames)
    assert list(tmp_path.iterdir()) == []


class BlockError(Exception):
    """An error other than in writing."""


def write_and_fail(path: Path, image: Any, frames: int) -> None:
    with VideoWriter(path, 9) as writer:
        for number in range(frames):
            writer.write(image(number), number / 9)
        raise BlockError


def test_an_error_of_the_block_is_the_one_to_be_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk(), pytest.raises(BlockError):
        write_and_fail(tmp_path / "v.mp4", noise, 16)
    assert re.search(r"v\.mp4: .*\(File too large\)", caplog.text)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_mid_video_leaves_what_was_done(tmp_path: Path) -> None:
    with pytest.raises(BlockError):
        write_and_fail(tmp_path / "v.mp4", picture, 3)
    assert len(VideoFile(tmp_path / "v.mp4")) == 3
