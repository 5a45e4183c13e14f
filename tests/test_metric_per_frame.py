"""J per frame in a file: the figures match the metric's, also for incomplete runs."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from evaluation import DataError, evaluate, evaluate_per_frame
from evaluation.command import main
from evaluation.per_frame import COLUMNS

FILE = "per-frame_results-val.csv"


def run(folder: Path, *extra: str) -> int:
    paths = ["--results_path", str(folder / "predictions"), "--dataset_path", str(folder / "VOST")]
    return main([*paths, "--workers", "1", *extra])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions" / FILE).open(newline="") as file:
        reader = csv.DictReader(file)
        found = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS
    return found


def test_means_are_the_metrics(golden: Path) -> None:
    assert run(golden) == 0
    assert run(golden, "--per_frame") == 0
    values: dict[str, list[tuple[float, bool]]] = {}
    for row in rows(golden):
        values.setdefault(f"{row['Sequence']}_{row['Object']}", []).append(
            (float(row["J"]), row["Last"] == "1")
        )
    with (golden / "predictions" / "per-sequence_results-val.csv").open(newline="") as file:
        expected = {
            row["Sequence"]: (float(row["J-Mean"]), float(row["J_last-Mean"])) for row in csv.DictReader(file)
        }
    assert values.keys() == expected.keys()
    for name, pairs in values.items():
        j, j_tr = np.mean([j for j, _ in pairs]), np.mean([j for j, last in pairs if last])
        np.testing.assert_allclose((j, j_tr), expected[name], atol=2e-6)


def test_folders_may_be_text(golden: Path) -> None:
    paths = (golden / "predictions", golden / "VOST")
    texts = tuple(map(str, paths))
    assert evaluate(*texts, workers=1).overall.equals(evaluate(*paths, workers=1).overall)
    assert evaluate_per_frame(*texts, workers=1).equals(evaluate_per_frame(*paths, workers=1))


def test_the_other_files_stay_as_they_are(golden: Path) -> None:
    assert run(golden, "--per_frame") == 0
    assert [path.name for path in (golden / "predictions").glob("*.csv")] == [FILE]


def test_frames_are_named(golden: Path) -> None:
    assert run(golden, "--per_frame") == 0
    annotated = sorted(path.stem for path in (golden / "VOST" / "Annotations" / "0005_short").iterdir())
    assert [row["Frame"] for row in rows(golden) if row["Sequence"] == "0005_short"] == annotated[1:-1]


def test_goes_on_where_a_sequence_cannot_be_scored(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = golden / "predictions"
    for path in (predictions / "0001_plain").iterdir():
        path.unlink()
    broken = next((predictions / "0002_ignore").glob("*18.png"))
    broken.write_bytes(b"no image")
    for path in (golden / "VOST" / "Annotations" / "0004_gap_ids").iterdir():
        path.unlink()
    assert run(golden, "--per_frame") == 0
    problems = {row["Sequence"]: row["Problem"] for row in rows(golden) if row["Problem"]}
    assert list(problems) == ["0001_plain", "0002_ignore", "0004_gap_ids"]
    assert re.search(r" frame\d+", problems["0001_plain"])
    assert f"{broken}: " in problems["0002_ignore"]
    assert " 3 " in problems["0004_gap_ids"]
    assert {row["Sequence"] for row in rows(golden) if row["J"]} == {
        *("0003_extra_id", "0005_short", "0006_never_predicted", "0007_late_object", "0008_long")
    }
    out = capsys.readouterr().out
    assert [out.count(problem) for problem in problems.values()] == [1, 1, 1]


def test_no_predictions_at_all(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(golden, "--per_frame") == 0
    (golden / "VOST" / "ImageSets" / "val.txt").write_text("elsewhere\n")
    assert run(golden, "--per_frame") == 1
    assert "'val'" in capsys.readouterr().err
    assert not (golden / "predictions" / FILE).exists()


def test_a_file_that_cannot_be_written_is_named_before_scoring(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = golden / "predictions" / FILE
    path.mkdir()
    monkeypatch.setattr("evaluation.per_frame.score_each", lambda *rest: pytest.fail("scored"))
    with pytest.raises(DataError, match=str(path)):
        evaluate_per_frame(golden / "predictions", golden / "VOST", "val", workers=1)
