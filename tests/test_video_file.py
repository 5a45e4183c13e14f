"""Video files: every frame by its number, in any order, however the file was encoded or damaged."""

import logging
from pathlib import Path
from threading import Thread
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet

from aot_plus.dataloaders.frame_source import Selection
from aot_plus.dataloaders.video_file import VideoFile
from aot_plus.dataloaders.video_reader import VideoReader
from aot_plus.utils.errors import DataError
from tests.video_files import HEIGHT, WIDTH, number_of, remux, write_video

FRAMES = 40
BACK_AND_FORTH = [39, 0, 17, 18, 19, 5, 30, 29, 11, 10, 9, 39, 1]

FAST = {"deadline": "realtime", "cpu-used": "8"}  # for VP8 and VP9
OPEN_GROUPS = {"x264-params": "open-gop=1:bframes=3:b-pyramid=2"}


def numbers(video: VideoFile, selection: Selection | None = None) -> list[int]:
    """Returns the numbers of the frames, having checked them against the pictures."""
    frames = list(video.frames(selection or Selection()))
    assert [number_of(frame.image) for frame in frames] == [frame.number for frame in frames]
    return [frame.number for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "options", "container"),
    [
        ("v.mp4", "libx264", {}, {"movflags": "+faststart"}),
        ("open.mp4", "libx264", OPEN_GROUPS, {}),
        ("parts.mp4", "libx264", {}, {"movflags": "frag_keyframe"}),
        ("v.mov", "mpeg4", {"bf": "2"}, {}),
        ("open.mkv", "libx264", OPEN_GROUPS, {}),
        ("v.webm", "libvpx", FAST, {}),
        ("v9.webm", "libvpx-vp9", FAST, {}),
        ("v.avi", "mpeg4", {"bf": "2"}, {}),
        ("open.avi", "libx264", OPEN_GROUPS, {}),
        ("v.mpg", "mpeg1video", {"bf": "2"}, {}),
        ("v.ts", "libx264", {}, {}),
    ],
)
def test_frames_by_number(
    name: str, codec: str, options: dict[str, str], container: dict[str, str], tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, codec, FRAMES, options=options, container=container)
    with VideoFile(path) as video:
        assert len(video) == FRAMES
        assert video.fps == pytest.approx(25)
        assert numbers(video) == list(range(FRAMES))
        assert [number_of(video.frame(n)) for n in BACK_AND_FORTH] == BACK_AND_FORTH
        assert numbers(video, Selection(13, 30, 4)) == [13, 17, 21, 25, 29]
        np.testing.assert_allclose(video.frame(20)[6, 6], (250, 10, 10), atol=12)


def test_pyav_does_not_log(tmp_path: Path) -> None:
    """Messages from a decoding thread would block the process while a file is closed."""
    path = write_video(tmp_path / "v.mp4", frames=2)
    av.logging.set_level(av.logging.ERROR)  # as importing torchvision before 0.26 does
    with VideoFile(path) as video:
        video.frame(0)
        assert av.logging.get_level() is None


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_times_that_vary(name: str, tmp_path: Path) -> None:
    times = [0, 20, 40, 41, 500, 520, 900, 910, 2000, 2001, 2002, 5000]
    video = VideoFile(write_video(tmp_path / name, frames=len(times), times=times))
    frames = list(video.frames(Selection()))
    assert [number_of(frame.image) for frame in frames] == list(range(len(times)))
    assert [round(1000 * frame.seconds) for frame in frames] == times
    assert [frame.name for frame in frames][:2] == ["00000", "00001"]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_are_upright(degrees: int, mirrored: bool, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    # Rotated counter-clockwise, then mirrored.
    write_video(path, frames=2, prepare=lambda stream: stream.set_display_rotation(degrees, hflip=mirrored))
    image = VideoFile(path).frame(1)
    assert image.shape == ((HEIGHT, WIDTH, 3) if degrees % 180 == 0 else (WIDTH, HEIGHT, 3))
    red = np.argwhere(image[..., 0] > 128).mean(axis=0) < np.array(image.shape[:2]) / 2
    corners = [(True, True), (False, True), (False, False), (True, False)]  # upper left, counter-clockwise
    turned = degrees // 90
    assert tuple(red) == corners[3 - turned if mirrored else turned]


def test_reaching_a_frame_decodes_from_the_keyframe_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    packets = VideoReader._packets

    def note(self: VideoReader) -> Any:
        for packet in packets(self):
            read.append(1)
            yield packet

    monkeypatch.setattr(VideoReader, "_packets", note)
    ahead = 8  # frames that the decoder's threads read ahead, at most
    for name in ("v.mp4", "v.mkv"):
        video = VideoFile(write_video(tmp_path / name, frames=60))
        read.clear()
        for number in (49, 50, 51, 50, 49, 48, 47, 12):  # steps back cost nothing
            assert number_of(video.frame(number)) == number
        assert len(read) <= 10 + 3 + 10 + 2 * ahead


def test_a_file_that_lists_its_frames_is_not_read_through(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", container={"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"mdat") + 8])  # all frame data is gone
    assert len(VideoFile(path)) == 40


def test_frames_that_were_cut_off_do_not_count(tmp_path: Path) -> None:
    def earlier(_: int, packet: Packet) -> list[Packet]:
        shift = round(0.28 / packet.time_base)  # 7 frames
        assert packet.pts is not None
        assert packet.dts is not None
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        return [packet]

    cut = {"use_editlist": "1", "avoid_negative_ts": "disabled"}
    path = remux(write_video(tmp_path / "v.mp4"), tmp_path / "cut.mp4", earlier, cut)
    video = VideoFile(path)
    assert len(video) == FRAMES - 7
    shown = [number_of(frame.image) for frame in video.frames(Selection())]
    assert shown == list(range(7, FRAMES))
    assert [number_of(video.frame(n)) for n in (20, 3, 32)] == [27, 10, 39]


def test_frames_of_vp8_that_are_never_shown_do_not_count(tmp_path: Path) -> None:
    def with_hidden(position: int, packet: Packet) -> list[Packet]:
        hidden = Packet(bytes([bytes(packet)[0] & ~0x10]) + bytes(packet)[1:])
        hidden.pts = hidden.dts = (packet.pts or 0) + 1
        hidden.time_base = packet.time_base
        return [packet, hidden] if position == 5 else [packet]

    path = remux(
        write_video(tmp_path / "v.webm", "libvpx", options=FAST), tmp_path / "hidden.webm", with_hidden
    )
    video = VideoFile(path)
    assert len(video) == FRAMES
    assert [number_of(video.frame(n)) for n in (30, 20)] == [30, 20]


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_damage_leaves_the_other_frames_their_numbers(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def damaged(position: int, packet: Packet) -> list[Packet]:
        if not 12 <= position < 16:
            return [packet]
        broken = Packet(bytes(packet.size))
        broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
        return [broken]

    path = remux(write_video(tmp_path / name, options={"bf": "0"}), tmp_path / f"damaged_{name}", damaged)
    video = VideoFile(path)
    assert len(video) == FRAMES
    frames = {frame.number: number_of(frame.image) for frame in video.frames(Selection())}
    assert f"{len(frames)} of 40 frames" in caplog.text
    assert not {12, 13, 14, 15} & frames.keys()
    whole = [*range(12), *range(20, 40)]
    assert [frames[number] for number in whole] == whole
    assert [number_of(video.frame(n)) for n in (33, 8)] == [33, 8]
    with pytest.raises(DataError, match="frame 13 "):
        video.frame(13)
    assert number_of(video.frame(22)) == 22


def test_a_truncated_file_keeps_what_can_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_video(tmp_path / "v.mp4", container={"movflags": "+faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: -(len(content) - content.index(b"mdat")) // 3])
    video = VideoFile(path)
    found = numbers(video)
    assert found == list(range(len(found)))
    assert 10 < len(found) < FRAMES
    assert f"{len(found)} of 40 frames" in caplog.text
    with pytest.raises(DataError, match="frame 39 "):
        video.frame(39)
    with pytest.raises(DataError, match="frame 38 "):
        list(video.frames(Selection(38)))


def test_what_is_no_video_is_named(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4")
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "empty.mp4").write_bytes(b"")
    whole = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "headless.mp4").write_bytes(whole[: whole.rindex(b"moov")])
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:2,\n{tmp_path / 'v.mp4'}\n#EXT-X-ENDLIST\n")
    (tmp_path / "concat.mp4").write_text("ffconcat version 1.0\nfile v.mp4\n")
    for name in ("text", "empty", "headless", "list", "concat", "missing"):
        with pytest.raises(DataError, match=rf"{name}\.mp4: "):
            VideoFile(tmp_path / f"{name}.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        output.mux(stream.encode(None))
    with pytest.raises(DataError, match=r"sound\.mp4: "):
        VideoFile(tmp_path / "sound.mp4")


def test_frames_that_do_not_exist_are_named(tmp_path: Path) -> None:
    video = VideoFile(write_video(tmp_path / "v:1 %03d.mp4", frames=3))
    for number in (-1, 3):
        with pytest.raises(DataError, match=f"frame {number}, .*0 to 2"):
            video.frame(number)
    assert [video.index(name) for name in ("2", "00002", "3", "x", "-1")] == [2, 2, None, None, None]


def test_several_threads_share_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    video = VideoFile(write_video(tmp_path / "v.mp4"))
    found: dict[int, list[int]] = {}

    def read(offset: int) -> None:
        found[offset] = [number_of(video.frame((7 * n + offset) % FRAMES)) for n in range(12)]

    threads = [Thread(target=read, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {offset: [(7 * n + offset) % FRAMES for n in range(12)] for offset in range(4)}
