"""The picture and the table of one decision of a memory policy."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from aot_plus.networks.memory.trace import TraceEntry
from aot_plus.tools import show_decision
from aot_plus.utils.masks import read_image, write_mask
from aot_plus.viz.decision import draw_decision
from tests.layout_runs import job_of, make_source, run
from tests.layouts import write_layout

ENTRIES: list[dict[str, Any]] = [
    {"frame": 1, "group": 0, "bank": [0], "dropped": None},
    {"frame": 2, "group": 0, "bank": [0, 1], "dropped": None},
    {"frame": 3, "group": 0, "bank": [0, 1, 2], "best": [0.5, 0.3, 0.2], "dropped": 2},
    {
        "frame": 4,
        "group": 0,
        "bank": [0, 1, 3],
        "relevance": [0.4, 0.26, 0.3],
        "score": [2.48, 1.92, 1.32],
        "dropped": 3,
    },
]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset with one video, and the results for it."""
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
    config = {"config": {"TEST_DATASET": str(data), "TEST_DATASET_SPLIT": "val"}}
    (results / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    _write_trace(results, ENTRIES)
    return data, results


def _write_trace(results: Path, entries: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (results / "traces" / "video.jsonl").write_text(text, encoding="utf-8")


def _run(folders: tuple[Path, Path], *flags: str) -> int:
    results = folders[1]
    places = ["--result_dir", str(results), "--sequence", "video", "--out", str(results / "out.png")]
    return show_decision.main([*places, *flags])


def test_table_and_picture(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folders, "--frame", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| frame | relevance | score | |"
    assert lines[2] == "| 0 | 0.4000 | 2.4800 |  |"
    assert lines[4] == "| 3 | 0.3000 | 1.3200 | dropped |"
    with Image.open(folders[1] / "out.png") as picture:
        assert picture.mode == "RGB"
        assert len(np.unique(np.asarray(picture))) > 10


def test_results_smaller_than_their_frames(folders: tuple[Path, Path]) -> None:
    for path in (folders[0] / "JPEGImages_10fps" / "video").iterdir():
        Image.open(path).resize((64, 48)).save(path)
    assert _run(folders) == 0


def test_the_first_decision_by_default_and_scores_of_any_name(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(folders) == 0
    output = capsys.readouterr().out
    assert "| frame | best | |" in output
    assert "| 2 | 0.2000 | dropped |" in output


def test_a_data_set_that_was_moved(folders: tuple[Path, Path]) -> None:
    moved = folders[0].rename(folders[0].with_name("moved"))
    assert _run(folders) == 1
    assert _run(folders, "--dataset", str(moved)) == 0


def test_a_policy_without_scores(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _write_trace(folders[1], [{"frame": 3, "group": 0, "bank": [0, 1, 2], "dropped": 1}])
    assert _run(folders) == 0
    assert "| 1 | dropped |" in capsys.readouterr().out


def test_a_declined_frame_is_a_decision(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"frame": 2, "group": 0, "bank": [0, 1], "similarity": [0.9, 0.8], "dropped": None}
    _write_trace(folders[1], [{**entry, "declined": True, "facts": {"quality": 0.25}}])
    assert _run(folders) == 0
    assert re.search(r"frame 2: .*\bquality 0\.2500$", capsys.readouterr().out, flags=re.MULTILINE)


@pytest.mark.parametrize("more", [{"declined": 1}, {"facts": [0.5]}, {"facts": {"quality": "high"}}])
def test_facts_of_another_kind_are_a_damaged_trace(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], more: dict[str, object]
) -> None:
    _write_trace(folders[1], [{"frame": 2, "group": 0, "bank": [0], "dropped": None, **more}])
    assert _run(folders) == 1
    assert str(folders[1] / "traces" / "video.jsonl") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "drawn"),
    [("sav", [True, False, True]), ("long_video", [True, False, True]), ("visor", [True] * 3)],
)
def test_what_each_layout_writes_is_drawn(
    name: str,
    drawn: list[bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_layout(name, make_source(tmp_path / "source"), tmp_path)
    job = job_of(name, tmp_path)
    run(job)
    (job.folder / "traces").mkdir(exist_ok=True)
    entry = {"frame": 4, "group": 0, "bank": [0, 3], "score": [0.5, 0.25], "dropped": 3}
    (job.folder / "traces" / "a.jsonl").write_text(json.dumps(entry) + "\n", encoding="utf-8")
    pictures: list[Any] = []
    draw = show_decision.draw_decision
    monkeypatch.setattr(
        show_decision, "draw_decision", lambda *given: pictures.extend(given[2]) or draw(*given)
    )
    places = ["--result_dir", str(job.folder), "--sequence", "a"]
    assert show_decision.main([*places, "--output", str(tmp_path / "out.png")]) == 0
    assert "| 3 | 0.2500 | dropped |" in capsys.readouterr().out
    video = job.open_dataset().sequence("a")
    frames = [read_image(video.images[number]) for number in (0, 3, 4)]
    changed = [(picture != frame).any(axis=2) for picture, frame in zip(pictures, frames, strict=True)]
    assert [bool(pixels.any()) for pixels in changed] == drawn
    for place in ((12, 12), (32, 37)):  # one in each object
        assert changed[0][place]


def test_a_mask_that_was_written_and_is_gone_is_named_below_the_table(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    mask = folders[1] / "video" / "3.png"
    mask.unlink()
    assert _run(folders, "--frame", "4") == 1
    shown = capsys.readouterr()
    assert str(mask) in shown.err
    assert "| 3 | 0.3000 | 1.3200 | dropped |" in shown.out


def test_a_row_of_bars_for_each_score_and_the_dropped_column_is_marked() -> None:
    pictures = [np.zeros((30, 40, 3), np.uint8)] * 4
    entry = TraceEntry(7, 0, [0, 1, 2], {"best": [0.1, 0.4, 0.2]}, 2)
    image = np.asarray(draw_decision("video", entry, pictures))
    bars = (image == (160, 187, 217)).all(axis=2)
    columns = [int(bars[:, 130 + 124 * number : 130 + 124 * (number + 1)].sum()) for number in range(4)]
    assert columns[0] < columns[2] < columns[1]
    assert columns[3] == 0  # the new frame has no score
    band = (image == (252, 236, 234)).all(axis=2).any(axis=0)
    assert np.flatnonzero(band)[[0, -1]].tolist() == [130 + 2 * 124, 130 + 3 * 124 - 1]
    entry.scores["other"] = [1.0, 2.0, 3.0]
    assert draw_decision("video", entry, pictures).height > image.shape[0]


@pytest.mark.parametrize("values", [[0.0, 0.0], [-1.0, -0.5], [float("inf"), float("nan")]])
def test_scores_that_are_zero_negative_or_not_finite_are_drawn(values: list[float]) -> None:
    pictures = [np.zeros((30, 40, 3), np.uint8)] * 3
    assert draw_decision("video", TraceEntry(2, 0, [0, 1], {"score": values}, 1), pictures).width > 0


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (("--frame", "2"), "frame 2.* 3, 4"),
        (("--group", "1"), "group 1"),
        (("--sequence", "other"), r"other\.jsonl: .*--trace"),
    ],
)
def test_what_is_not_there(
    folders: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, str],
    facts: str,
) -> None:
    assert _run(folders, *flags) == 1
    assert re.search(facts, capsys.readouterr().err)
    assert not (folders[1] / "out.png").exists()


def test_a_bank_that_was_never_full_is_told_from_a_group_that_is_not_there(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _write_trace(folders[1], ENTRIES[:2])
    assert _run(folders) == 1
    error = capsys.readouterr().err
    assert "3 frames" in error
    assert "LATTER_MEM_LEN" in error
    assert _run(folders, "--group", "1") == 1
    assert "LATTER_MEM_LEN" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"frame": 3, "bank": [0, 1], "dropped": 1}',
        json.dumps({**ENTRIES[2], "best": [1e31, 0.3, 0.2]}),
    ],
)
def test_a_damaged_trace(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = folders[1] / "traces" / "video.jsonl"
    path.write_text(text, encoding="utf-8")
    assert _run(folders) == 1
    assert f"error: {path}: " in capsys.readouterr().err


def test_an_output_that_cannot_be_written(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(folders, "--out", str(folders[1])) == 1
    assert re.search(rf"--output: expected .*\.png.*{folders[1]}", capsys.readouterr().err)
    out = folders[1] / "config.yaml" / "out.png"
    assert _run(folders, "--out", str(out)) == 1
    assert f"{out}: " in capsys.readouterr().err


def test_results_of_a_longer_video(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    (folders[0] / "JPEGImages_10fps" / "video" / "4.png").unlink()
    assert _run(folders, "--frame", "4") == 1
    assert re.search("frame 4, .* 4 frames", capsys.readouterr().err)
