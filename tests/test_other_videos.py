"""The benchmark on other videos: runs on tiny videos with the annotations as result masks, and errors."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.pipeline.run import Job
from aot_plus.utils.catalogue import find_checkpoint
from benchmarks import other_scenes, other_videos, runs
from benchmarks.videos import SyntheticVideo
from evaluation.masks import read_mask


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that ran."""
    found: list[Job] = []

    def infer(job: Job) -> None:
        found.append(job)
        shutil.copytree(Path(job.cfg.TEST_DATASET, "Annotations"), job.folder, dirs_exist_ok=True)
        (job.folder / "summary.json").write_text('{"frames_per_second": 5.0}')

    def draw_video(rng: np.random.Generator) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        video = SyntheticVideo((33, 49), objects=int(rng.integers(1, 3)))
        return (video.frame(index) for index in range(7))

    monkeypatch.setattr(other_scenes, "draw_video", draw_video)
    monkeypatch.setattr(runs, "infer", infer)
    return found


def test_videos_are_in_vosts_layout_and_every_second_frame_is_annotated(
    tmp_path: Path, calls: list[Job]
) -> None:
    other_scenes.make_videos(tmp_path, seed=0, count=2)
    names = (tmp_path / "ImageSets/val.txt").read_text().split()
    assert names == ["0000_bodies", "0001_bodies"]
    for name in names:
        images = sorted(path.stem for path in (tmp_path / "JPEGImages_10fps" / name).iterdir())
        masks = sorted(path.stem for path in (tmp_path / "Annotations" / name).iterdir())
        assert images == [f"frame{number:05d}" for number in range(7)]
        assert masks == images[::2]
    picture = cv2.imread(str(tmp_path / "JPEGImages_10fps/0000_bodies/frame00000.jpg"))
    mask = read_mask(tmp_path / "Annotations/0000_bodies/frame00000.png")
    assert picture is not None
    assert picture.shape[:2] == mask.shape == (33, 49)


def test_the_figures_of_each_file_of_weights_stand_in_a_row(
    tmp_path: Path, calls: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.safetensors"
    shutil.copy(str(find_checkpoint("aot_mini.safetensors")), own)
    flags = ["--models", "aot_mini", f"aot_mini={own}", "--sequences", "2", "--work", str(tmp_path / "work")]
    assert other_videos.main(flags) == 0
    *table, line = capsys.readouterr().out.strip().splitlines()
    rows = [row for row in table if row.startswith("| aot_mini")]
    assert ["aot_mini.safetensors" in rows[0], "own.safetensors" in rows[1]] == [True, True]
    assert all("1.000 [1.000, 1.000]" in row for row in rows)
    assert [found["J"] for found in json.loads(line)["figures"].values()] == [1.0, 1.0]
    done = list(calls)
    assert other_videos.main(flags) == 0
    assert calls == done, "finished runs are kept"


def test_weights_with_the_same_name_have_separate_rows_and_nothing_runs_twice(
    tmp_path: Path, calls: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / run / "best.safetensors" for run in "ab"]
    for file in files:
        file.parent.mkdir()
        shutil.copy(str(find_checkpoint("aot_mini.safetensors")), file)
    with files[1].open("ab") as other:
        other.write(b"other")
    given = [f"aot_mini={files[index]}" for index in (0, 1, 0)]
    assert other_videos.main(["--models", *given, "--sequences", "2", "--work", str(tmp_path / "work")]) == 0
    assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]) == 2
    assert len(calls) == 2


def test_the_videos_of_all_seeds_count_together(
    tmp_path: Path, calls: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--models", "aot_mini", "--sequences", "2", "--work", str(tmp_path / "work")]
    objects = []
    for seeds in (["0"], ["1"], ["0", "1"]):
        assert other_videos.main([*work, "--seeds", *seeds]) == 0
        (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| aot_mini"))
        objects.append(int(row.strip(" |").rpartition("|")[2]))
    assert objects[2] == objects[0] + objects[1]
    assert len(calls) == 2


def test_config_values_apply_to_all_runs_which_are_separate_from_others(
    tmp_path: Path, calls: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--sequences", "2", "--work", str(tmp_path / "work"), "--models", "aot_mini"]
    for further in ([], ["--overrides", "TEST_FLIP=True"], ["--overrides", "TEST_FLIP=True"]):
        assert other_videos.main([*flags, *further]) == 0
    assert [job.cfg.TEST_FLIP for job in calls] == [False, True]
    assert other_videos.main([*flags, "--overrides", "TEST_FLAP=True"]) == 1
    assert "TEST_FLAP" in capsys.readouterr().err


def test_a_missing_file_is_named_before_anything_is_made(
    tmp_path: Path, calls: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--models", f"aot_mini={tmp_path / 'nothing.pth'}", "--work", str(tmp_path / "work")]
    assert other_videos.main(flags) == 1
    assert "nothing.pth" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
