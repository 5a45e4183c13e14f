"""``python -m aot_plus.tools.demo``: from videos and folders to masks and an overlay, and every bad input."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import FrameLabels, VideoSegmenter
from aot_plus.networks.models import AOT, loading
from aot_plus.tools import demo
from aot_plus.viz.strip import MemoryStrip

HEIGHT, WIDTH = 41, 57  # odd numbers, which codecs do not accept
Array = NDArray[np.uint8]


def frame(number: int) -> Array:
    """Returns a picture with a moving square, whose brightness encodes its number."""
    image = np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8)
    image[8:20, 8 + number : 20 + number] = (250, 120, 40)
    return image


def squares(ids: tuple[int, ...] = (1, 2)) -> Array:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for place, value in enumerate(ids):
        mask[8:20, 8 + 16 * place : 20 + 16 * place] = value
    return mask


def save_mask(path: Path, mask: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with images 8.png to 13.png; sorted as text, 10 would come before 8."""
    path = tmp_path / "frames"
    path.mkdir()
    for number in range(8, 14):
        Image.fromarray(frame(number)).save(path / f"{number}.png")
    return path


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    return save_mask(tmp_path / "first.png", squares())


def write_video(path: Path, codec: str, frames: int = 8) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 12.0, (WIDTH - 1, HEIGHT - 1))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(frame(number)[: HEIGHT - 1, : WIDTH - 1])
    writer.release()
    return path


def run(source: Path | str, mask: Path | None, output: Path, *flags: str) -> int:
    common = ["--model", "aott", "--random_weights", "--device", "cpu", "--max_resolution", "64"]
    given = [] if mask is None else ["--mask", str(mask)]
    return demo.main([*common, "--input", str(source), *given, "--output", str(output), *flags])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.split("error: ")[-1]


def read_frames(path: Path) -> list[Array]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (found := capture.read())[0]:
        frames.append(np.asarray(found[1], np.uint8))
    return frames


def test_a_folder_to_masks_and_a_playable_overlay(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, mask, out, "--policy", "fifo", "--capacity", "3", "--memory_gap", "1") == 0
    assert "6 frames" in capsys.readouterr().out
    assert sorted(path.stem for path in (out / "masks").iterdir()) == sorted(map(str, range(8, 14)))
    assert sorted(path.name for path in out.iterdir()) == ["masks", "overlay.mp4"]
    first = Image.open(out / "masks" / "8.png")
    assert first.mode == "P"
    np.testing.assert_array_equal(np.array(first), squares())
    frames = read_frames(out / "overlay.mp4")
    assert len(frames) == 6
    height, width = frames[0].shape[:2]
    scale = width // WIDTH  # the picture is enlarged, or the strip below it would be larger
    assert (height % 2, width % 2) == (0, 0)
    assert 0 < height - scale * HEIGHT < scale * HEIGHT


@pytest.mark.parametrize(
    ("name", "codec"), [("v.mp4", "mp4v"), ("v.mov", "mp4v"), ("v.avi", "MJPG"), ("v.webm", "VP80")]
)
def test_video_files(name: str, codec: str, tmp_path: Path) -> None:
    video = write_video(tmp_path / name, codec)
    mask = save_mask(tmp_path / "first.png", squares()[: HEIGHT - 1, : WIDTH - 1])
    out = tmp_path / "out"
    assert run(video, mask, out, "--start", "1", "--end", "7", "--every", "2") == 0
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["00001.png", "00003.png", "00005.png"]
    assert cv2.VideoCapture(str(out / "overlay.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(6.0, rel=0.01)


def test_frames_reach_the_network_in_order_and_as_rgb(
    folder: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: dict[int, list[int]] = {}
    seen: list[list[int]] = []
    prepare, submit = VideoSegmenter.prepare, VideoSegmenter.submit

    def note(self: VideoSegmenter, image: Array) -> PreparedFrame:
        prepared = prepare(self, image)
        read[id(prepared)] = image[0, 0].tolist() + image[10, 22].tolist()
        return prepared

    def note_again(self: VideoSegmenter, frame: PreparedFrame, mask: Array | None = None) -> FrameLabels:
        seen.append(read[id(frame)])
        return submit(self, frame, mask)

    monkeypatch.setattr(VideoSegmenter, "prepare", note)
    monkeypatch.setattr(VideoSegmenter, "submit", note_again)
    assert run(folder, mask, tmp_path / "out") == 0
    assert seen == [[10 * n] * 3 + [250, 120, 40] for n in range(9, 14)]


def test_later_masks_add_and_correct_objects(folder: Path, tmp_path: Path) -> None:
    masks, out = tmp_path / "masks", tmp_path / "out"
    save_mask(masks / "8.png", squares((1,)))
    corrected = np.zeros((HEIGHT, WIDTH), np.uint8)
    corrected[25:35, 10:20], corrected[25:35, 40:50] = 1, 7
    save_mask(masks / "11.png", corrected)
    assert run(folder, masks, out) == 0
    shown = np.array(Image.open(out / "masks" / "11.png"))
    np.testing.assert_array_equal(shown, corrected)
    assert 7 not in np.array(Image.open(out / "masks" / "10.png"))


def test_masks_of_skipped_frames_are_logged(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("8", "9", "11", "13"):
        save_mask(tmp_path / "masks" / f"{name}.png", squares())
    assert run(folder, tmp_path / "masks", tmp_path / "out", "--every", "2") == 0
    (said,) = [record.getMessage() for record in caplog.records if "9.png" in record.getMessage()]
    assert "13.png" in said
    assert "8.png" not in said


def test_ctrl_c_leaves_a_playable_video(
    folder: Path,
    mask: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    submit, calls = VideoSegmenter.submit, []

    def interrupted(self: VideoSegmenter, *arguments: Any) -> FrameLabels:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return submit(self, *arguments)

    monkeypatch.setattr(VideoSegmenter, "submit", interrupted)
    out = tmp_path / "out"
    assert run(folder, mask, out) == 130
    assert "3 frames" in capsys.readouterr().out
    assert len(read_frames(out / "overlay.mp4")) == 3
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["10.png", "8.png", "9.png"]


def test_a_broken_frame_leaves_what_was_done(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "11.png").write_bytes((folder / "11.png").read_bytes()[:60])
    assert run(folder, mask, tmp_path / "out") == 1
    assert "11.png: " in error_of(capsys)
    assert len(read_frames(tmp_path / "out" / "overlay.mp4")) == 3
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == [
        "10.png",
        "8.png",
        "9.png",
    ]


def test_earlier_results_are_replaced_only_when_asked(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, mask, out) == 0
    assert run(folder, mask, out, "--end", "2") == 1
    assert "--overwrite" in error_of(capsys)
    assert run(folder, mask, out, "--end", "2", "--overwrite") == 0
    assert len(list((out / "masks").iterdir())) == 2


def test_a_bad_first_mask_costs_no_results(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, empty = tmp_path / "out", save_mask(tmp_path / "empty.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    assert run(folder, empty, out) == 1
    assert list(out.iterdir()) == []
    assert run(folder, mask, out, "--end", "2") == 0  # not refused: there is nothing to overwrite
    assert run(folder, empty, out, "--overwrite") == 1
    assert "empty.png" in error_of(capsys)
    assert len(read_frames(out / "overlay.mp4")) == len(list((out / "masks").iterdir())) == 2


def test_earlier_results_are_seen_before_the_model_is_loaded(
    folder: Path,
    mask: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out" / "masks").mkdir(parents=True)
    monkeypatch.setattr(loading, "load_from_config", None)  # calling it would fail
    assert run(folder, mask, tmp_path / "out") == 1
    assert "--overwrite" in error_of(capsys)


def test_an_output_that_cannot_be_made(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert run(folder, mask, tmp_path / "out") == 1
    assert f"--output {tmp_path / 'out'}: " in error_of(capsys)


def test_results_never_replace_the_input(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = save_mask(tmp_path / "masks" / "8.png", squares())
    for mask in (given, given.parent):
        assert run(folder, mask, tmp_path, "--overwrite") == 1
        assert str(mask) in error_of(capsys)
    np.testing.assert_array_equal(np.array(Image.open(given)), squares())


def _bad_masks(tmp_path: Path, name: str, mask: Array) -> Path:
    save_mask(tmp_path / "masks" / "8.png", squares())
    save_mask(tmp_path / "masks" / name, mask)
    return tmp_path / "masks"


def test_bad_masks_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, empty = squares()[:-1], np.zeros((HEIGHT, WIDTH), np.uint8)
    (tmp_path / "text.png").write_text("no picture")
    cases = [
        (tmp_path / "none.png", r"none\.png: "),
        (tmp_path / "text.png", r"text\.png: "),
        (save_mask(tmp_path / "small.png", small), r"small\.png: .*57 x 40 .*57 x 41"),
        (save_mask(tmp_path / "empty.png", empty), r"empty\.png: .*empty"),
        (_bad_masks(tmp_path / "a", "77.png", squares()), r"77\.png: "),
        (_bad_masks(tmp_path / "b", "10.png", small), r"10\.png: .*57 x 40 .*57 x 41"),
        (save_mask(tmp_path / "d" / "9.png", squares()).parent, r"\(number 0\).* 9\.png$"),
    ]
    for number, (path, facts) in enumerate(cases):
        assert run(folder, path, tmp_path / f"out{number}") == 1
        assert re.search(facts, error_of(capsys))


def test_a_mask_among_the_frames_is_no_frame(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, save_mask(folder / "first_mask.png", squares()), tmp_path / "out") == 1
    assert "first_mask.png: " in error_of(capsys)


def test_bad_videos_are_named(tmp_path: Path, mask: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    for name in ("none.mp4", "broken.mp4", "empty", mask.name):
        assert run(tmp_path / name, mask, tmp_path / "out") == 1
        assert f"{tmp_path / name}: " in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_frames_of_different_sizes(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(frame(10)[:-2]).save(folder / "10.png")
    assert run(folder, mask, tmp_path / "out") == 1
    assert re.search(r"10\.png: .*57 x 39 .*57 x 41", error_of(capsys))


def test_a_mask_after_the_end_of_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "v.mp4", "mp4v")
    masks = tmp_path / "masks"
    for name in ("0", "00099"):  # zeros before a number do not matter
        save_mask(masks / f"{name}.png", squares()[:-1, :-1])
    assert run(video, masks, tmp_path / "out") == 1
    assert "00099.png" in error_of(capsys)


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--start", "6"], " 6, --start .* 6"),
        (["--start", "-1"], "--start: expected 0.* -1"),
        (["--start", "3", "--end", "3"], "--end: .*--start.* 3.* 3"),
        (["--every", "0"], "--every: expected 1.* 0"),
        (["--dtype", "float99"], "float99"),
        (["--policy", "nonsense"], "nonsense"),
    ],
)
def test_bad_flags_are_named(
    flags: list[str],
    facts: str,
    folder: Path,
    mask: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(folder, mask, tmp_path / "out", *flags) == 1
    assert re.search(facts, error_of(capsys))


def first_labels(output: Path, name: str = "8") -> Array:
    return np.array(Image.open(output / "masks" / f"{name}.png"))


def test_masks_and_boxes_become_the_first_mask(folder: Path, tmp_path: Path) -> None:
    masks = []
    for number, rows in enumerate((slice(25, 30), slice(32, 38))):
        shown = np.zeros((HEIGHT, WIDTH), np.uint8)
        shown[rows, 5:15] = 255
        masks += ["--mask", str(save_mask(tmp_path / f"{number}.png", shown))]
    assert run(folder, None, tmp_path / "out", *masks, "--box", "12,5,20,18", "--end", "1") == 0
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[25:30, 5:15], expected[32:38, 5:15] = 1, 2
    expected[8:20, 16:28] = 3  # the orange square of the first frame
    np.testing.assert_array_equal(first_labels(tmp_path / "out"), expected)


def test_ignored_pixels_of_a_mask_are_no_object(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    shown = squares()
    shown[0] = 255
    assert run(folder, save_mask(tmp_path / "void.png", shown), tmp_path / "out") == 0
    assert re.search(r"void\.png .*\b2 objects.* 1, 2$", caplog.text, re.MULTILINE)
    np.testing.assert_array_equal(first_labels(tmp_path / "out"), shown)
    last = first_labels(tmp_path / "out", "13")
    assert last.any()
    assert 255 not in last


def test_a_box_may_begin_outside_of_the_frame(folder: Path, tmp_path: Path) -> None:
    boxes = ["--box", "-5,5,12,12", "--box", "-3,25,9,9"]
    assert run(folder, None, tmp_path / "out", *boxes, "--end", "1") == 0
    shown = first_labels(tmp_path / "out")
    assert set(np.unique(shown)) == {0, 1, 2}
    assert not shown[:, 7:].any()


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--box", "--end", "1"], "--box"),
        (["--box", "1,2,3"], "--box: .*x,y,width,height.*'1,2,3'"),
        (["--box", "1,2,0,3"], "--box: .*width.*height.*'1,2,0,3'"),
        ([], "error: .*--mask.*--box"),
    ],
)
def test_bad_boxes_are_usage_errors(
    flags: list[str], facts: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(folder, None, tmp_path / "out", *flags)
    assert re.search(facts, capsys.readouterr().err)


class Camera:
    """A stand-in for OpenCV's camera: number 0 delivers five frames."""

    def __init__(self, number: int) -> None:
        self.opened, self.left = number == 0, 5

    def isOpened(self) -> bool:
        return self.opened

    def set(self, *_: Any) -> bool:
        return True

    def get(self, _: int) -> float:
        return -1.0  # as some cameras report

    def read(self) -> tuple[bool, Array | None]:
        self.left -= 1
        return (False, None) if self.left < 0 else (True, frame(20 - self.left)[..., ::-1])

    def release(self) -> None:
        self.left = 0


def test_a_camera(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    box = ["--box", "22,5,20,18"]
    assert run("camera:0", None, tmp_path / "all", *box, "--start", "1") == 0
    assert re.search("camera:0: .* 5 frames", caplog.text)
    names = sorted(path.name for path in (tmp_path / "all" / "masks").iterdir())
    assert names == ["00001.png", "00002.png", "00003.png", "00004.png"]
    square = np.pad(np.ones((12, 12), np.uint8), ((8, 21), (25, 20)))
    np.testing.assert_array_equal(first_labels(tmp_path / "all", "00001"), square)
    assert run("camera:0", None, tmp_path / "some", *box, "--end", "2") == 0
    assert len(list((tmp_path / "some" / "masks").iterdir())) == 2
    assert run("camera:0", None, tmp_path / "none", *box, "--start", "9") == 1
    assert re.search("camera:0: .* 5 frames.*--start .*9", error_of(capsys))
    assert run("camera:1", None, tmp_path / "none", *box) == 1
    assert "camera:1: " in error_of(capsys)


@pytest.mark.parametrize("flag", ["--memory_gap", "--capacity", "--max_resolution"])
def test_numbers_that_are_too_small_are_named(
    flag: str, folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(folder, mask, tmp_path / "out", flag, "0")
    assert f"argument {flag}: " in capsys.readouterr().err


def test_without_a_checkpoint(
    folder: Path, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--input", str(folder), "--mask", str(mask), "--output", str(tmp_path / "out")]
    assert demo.main(flags) == 1
    assert "--random_weights" in error_of(capsys)
    assert demo.main([*flags, "--model", "aot_mini", "--end", "2"]) == 0  # this model ships with one


def test_capacity_counts_the_whole_memory(
    folder: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    banks: list[list[int]] = []
    update = MemoryStrip.update

    def note(self: MemoryStrip, bank: list[int], *rest: Any) -> None:
        banks.append(list(bank))
        update(self, bank, *rest)

    monkeypatch.setattr(MemoryStrip, "update", note)
    assert (
        run(folder, mask, tmp_path / "out", "--policy", "fifo", "--capacity", "3", "--memory_gap", "1") == 0
    )
    assert banks == [[0], [0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]


def test_colours_from_file_to_network_to_overlay(
    tmp_path: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "red.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(2):
        writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))  # OpenCV's blue, green, red
    writer.release()
    seen: list[Array] = []
    prepare = VideoSegmenter.prepare

    def note(self: VideoSegmenter, image: Array) -> PreparedFrame:
        seen.append(image[40, 60])
        return prepare(self, image)

    monkeypatch.setattr(VideoSegmenter, "prepare", note)
    save_mask(mask, np.pad(np.ones((20, 20), np.uint8), ((0, 28), (0, 44))))
    assert run(tmp_path / "red.avi", mask, tmp_path / "out") == 0
    np.testing.assert_allclose(seen[0], (250, 0, 0), atol=12)
    overlay = read_frames(tmp_path / "out" / "overlay.mp4")[0]
    scale = overlay.shape[1] // 64
    np.testing.assert_allclose(overlay[40 * scale, 60 * scale], (0, 0, 250), atol=40)


def test_max_resolution_is_the_longest_side_of_the_networks_input(
    folder: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    encode = AOT.encode

    def note(self: AOT, images: Any) -> Any:
        sizes.append(max(images.shape[2:]))
        return encode(self, images)

    monkeypatch.setattr(AOT, "encode", note)
    for number, flags in enumerate([["--max_resolution", "33"], ["--max_resolution", "1000"]]):
        assert run(folder, mask, tmp_path / f"out{number}", "--end", "1", *flags) == 0
    assert sizes[0] <= 33 < WIDTH <= sizes[1]
