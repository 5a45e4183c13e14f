"""The picture and the table of one decision of EMFS."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from aot_plus.tools import show_decision
from aot_plus.utils.masks import write_mask
from aot_plus.viz.decision import Decision, StoredFrame, draw_decision

CONFIG = {
    "MEM_RELEVANCE_KEEP": 0.2,
    "MEM_EMFS_WEIGHT": 4.0,
    "MEM_EMFS_SLOPE": 10.0,
    "MEM_EMFS_MIDPOINT": 0.4,
    "DIR_DATA": "aot_plus/datasets",
}
# Frame 4 comes to a bank of 0, 1, 3; the entry before is that of frame 3.
ENTRIES: list[dict[str, Any]] = [
    {"frame": 1, "group": 0, "bank": [0], "dropped": None},
    {"frame": 2, "group": 0, "bank": [0, 1], "dropped": None},
    {
        "frame": 3,
        "group": 0,
        "bank": [0, 1, 2],
        "relevance": [0.5, 0.3, 0.2],
        "redundancy": [0.3, 0.3, 0.4],
        "score": [2.73, 1.93, 1.3],
        "dropped": 2,
    },
    {
        "frame": 4,
        "group": 0,
        "bank": [0, 1, 3],
        "relevance": [0.4, 0.26, 0.3],
        "redundancy": [0.2, 0.2, 0.6],
        "score": [2.48, 1.92, 1.32],
        "dropped": 3,
    },
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset of one video and the results of EMFS on it."""
    data, results = tmp_path / "data", tmp_path / "results"
    frames = data / "JPEGImages_10fps" / "video"
    frames.mkdir(parents=True)
    (data / "ImageSets").mkdir()
    (results / "traces").mkdir(parents=True)
    for number in range(5):
        Image.new("RGB", (32, 24), (40 * number, 90, 120)).save(frames / f"{number}.png")
        mask = np.zeros((24, 32), np.uint8)
        mask[5:15, 8:20] = 1
        write_mask(results / "video" / f"{number}.png", mask)
    (results / "config.yaml").write_text(yaml.safe_dump({"config": CONFIG}), encoding="utf-8")
    _write_trace(results, ENTRIES)
    return data, results


def _write_trace(results: Path, entries: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (results / "traces" / "video.jsonl").write_text(text, encoding="utf-8")


def _run(folders: tuple[Path, Path], *flags: str) -> int:
    data, results = folders
    out = str(results / "out.png")
    places = ["--result_dir", str(results), "--dataset", str(data), "--sequence", "video", "--out", out]
    return show_decision.main([*places, *flags])


def test_table_and_picture(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folders, "--frame", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| 0 | 0.5000 | 0.3750 | 0.4000 | 0.2000 | 0.8808 | 2.4800 |  |"
    # Frame 3 was appended last: no average before. Its redundancy is beyond the midpoint.
    assert lines[4] == "| 3 |  | 0.3000 | 0.3000 | 0.6000 | 0.1192 | 1.3200 | dropped |"
    assert lines[5] == "1 of the sequence's 2 decisions dropped the least relevant frame."
    with Image.open(folders[1] / "out.png") as picture:
        assert picture.mode == "RGB"
        assert len(np.unique(np.asarray(picture))) > 10


def test_the_first_decision_by_default(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(folders) == 0
    assert "| 2 |  | 0.2000 | 0.2000 | 0.4000 | 0.5000 | 1.3000 | dropped |" in capsys.readouterr().out


def test_the_higher_score_is_the_higher_bar_and_the_dropped_column_is_marked() -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    frames = [StoredFrame(n, picture, relevance, 0.5, 1.0) for n, relevance in enumerate((0.1, 0.4, 0.2))]
    image = np.asarray(draw_decision(Decision("title", 2.0, frames, 2, 3, picture)))
    blue = (image == (78, 121, 167)).all(axis=2)
    columns = [int(blue[:, 130 + 124 * number : 130 + 124 * (number + 1)].sum()) for number in range(4)]
    assert columns[0] < columns[2] < columns[1]
    assert columns[3] == 0  # the new frame has no score
    band = (image == (252, 236, 234)).all(axis=2).any(axis=0)
    assert np.flatnonzero(band)[[0, -1]].tolist() == [130 + 2 * 124, 130 + 3 * 124 - 1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--frame", "2"), "no decision at frame 2; there are: 3, 4"),
        (("--group", "1"), "this group of objects has no decision"),
        (("--sequence", "other"), "there is no such trace; tools.eval writes it with --trace"),
    ],
)
def test_what_is_not_there(
    folders: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, str],
    message: str,
) -> None:
    assert _run(folders, *flags) == 1
    assert message in capsys.readouterr().err
    assert not (folders[1] / "out.png").exists()


def test_traces_of_other_policies_and_damaged_ones(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    fifo = [{"frame": 3, "group": 0, "bank": [0, 1, 2], "dropped": 1}]
    _write_trace(folders[1], fifo)
    assert _run(folders) == 1
    assert "expected decisions of EMFS, found none" in capsys.readouterr().err
    (folders[1] / "traces" / "video.jsonl").write_text("{", encoding="utf-8")
    assert _run(folders) == 1
    assert "cannot be read as a trace" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["group", "score"])
def test_a_trace_that_lacks_something(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    lacking = [{name: value for name, value in entry.items() if name != missing} for entry in ENTRIES]
    _write_trace(folders[1], lacking)
    assert _run(folders) == 1
    assert f"error: {folders[1] / 'traces' / 'video.jsonl'}: " in capsys.readouterr().err


def test_a_config_that_lacks_something(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[1] / "config.yaml").write_text("config: {DIR_DATA: x}\n", encoding="utf-8")
    assert _run(folders) == 1
    assert "config.yaml: cannot be read as a saved config (KeyError('MEM_" in capsys.readouterr().err


def test_an_output_that_cannot_be_written(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(folders, "--out", str(folders[1])) == 1
    assert "expected a name that ends in .png" in capsys.readouterr().err
    assert _run(folders, "--out", str(folders[1] / "config.yaml" / "out.png")) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_frames_without_any_relevance_are_drawn() -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    frames = [StoredFrame(number, picture, 0.0, 0.5, 0.5) for number in range(2)]
    assert draw_decision(Decision("title", 4.0, frames, 1, 2, picture)).width > 0


def test_results_of_a_longer_video(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (folders[0] / "JPEGImages_10fps" / "video" / "4.png").unlink()
    assert _run(folders, "--frame", "4") == 1
    assert "the trace has frame 4, the video 4 frames" in capsys.readouterr().err
