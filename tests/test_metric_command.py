"""The metric as a command: the published evaluator's numbers and files, and an error for every bad input."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from evaluation.command import main
from evaluation.folder_lock import FolderLock
from evaluation.vost import read_split

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "evaluation" / "evaluation_method.py"
GLOBAL, PER_SEQUENCE = "global_results-val.csv", "per-sequence_results-val.csv"
SEQUENCES = [
    "0001_plain",
    "0002_ignore",
    "0003_extra_id",
    "0004_gap_ids",
    "0005_short",
    "0006_never_predicted",
    "0007_late_object",
    "0008_long",
]


def run(folder: Path, *extra: str) -> int:
    paths = ["--results_path", str(folder / "predictions"), "--dataset_path", str(folder / "VOST")]
    return main([*paths, "--set", "val", "--workers", "1", *extra])


def csv_files(folder: Path) -> list[str]:
    """Returns everything in the result folder that is not a sequence, including hidden files."""
    return sorted(path.name for path in (folder / "predictions").iterdir() if not path.is_dir())


def write(path: Path, mask: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def failure(folder: Path, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    """Runs the command, expecting exit code 1 and no CSV file; returns the message."""
    assert run(folder, *extra) == 1
    assert csv_files(folder) == []
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def assert_golden(folder: Path) -> None:
    made = folder / "predictions"
    assert (made / GLOBAL).read_bytes() == (folder / GLOBAL).read_bytes()
    with (folder / PER_SEQUENCE).open(newline="") as file:
        header, *published = list(csv.reader(file))
    with (made / PER_SEQUENCE).open(newline="") as file:
        rows = list(csv.reader(file))
    # The published rows have an arbitrary order; here they are sorted as in the split, then by object.
    assert rows == [
        header,
        *sorted(published, key=lambda row: SEQUENCES.index(row[0][:-2]) * 10 + int(row[0][-1])),
    ]


def test_equal_to_the_published_evaluator(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(golden) == 0
    assert_golden(golden)
    table = capsys.readouterr().out
    assert "0008_long_2" in table
    assert "0.650280" in table


def test_rows_follow_the_split(golden: Path) -> None:
    (golden / "VOST" / "ImageSets" / "val.txt").write_text("0005_short\n\n0002_ignore\n")
    assert run(golden) == 0
    with (golden / "predictions" / PER_SEQUENCE).open() as file:
        names = [row["Sequence"] for row in csv.DictReader(file)]
    assert names == ["0005_short_1", "0002_ignore_1", "0002_ignore_2", "0002_ignore_3"]


@pytest.mark.parametrize("by_path", [True, False])
def test_run_as_a_program_in_two_processes(golden: Path, by_path: bool) -> None:
    program = [str(SCRIPT)] if by_path else ["-m", "evaluation.evaluation_method"]
    folders = ["--results_path", str(golden / "predictions"), "--dataset_path", str(golden / "VOST")]
    done = subprocess.run(
        [sys.executable, *program, *folders, "--workers", "2"],
        cwd=golden if by_path else ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_golden(golden)


def test_known_dataset_words(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(golden))
    datasets = golden / "aot_plus" / "datasets"
    datasets.mkdir(parents=True)
    (datasets / "MiniVOST").symlink_to(golden / "VOST")
    folder = str(golden / "predictions")
    assert main(["--results_path", folder, "--dataset_path", "mini_vost", "--workers", "1"]) == 0
    assert_golden(golden)


def test_existing_results_are_used_without_re(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(golden) == 0
    capsys.readouterr()
    assert run(golden) == 0
    output = capsys.readouterr().out
    assert str(golden / "predictions") in output
    assert "0.650280" in output
    shutil.rmtree(golden / "predictions" / "0008_long")
    # A repeated evaluation that fails leaves nothing that could pass for its result.
    assert "0008_long: all 38" in failure(golden, capsys, "--re")


@pytest.mark.parametrize(
    "change", ["fewer", "other", "annotation", "split", "unknown", "number", "empty", "code"]
)
def test_figures_of_other_masks_are_refused(
    golden: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """This holds even where the files' times show no change."""
    assert run(golden) == 0
    predictions, annotations = golden / "predictions", golden / "VOST" / "Annotations"
    mask = (annotations if change == "annotation" else predictions) / "0008_long" / "frame00018.png"
    times = (mask.stat().st_atime_ns, mask.stat().st_mtime_ns)
    if change == "fewer":
        mask.unlink()
    elif change == "split":
        (golden / "VOST" / "ImageSets" / "val.txt").write_text("0001_plain\n")
    elif change == "unknown":  # for example, files of the published evaluator
        (predictions / "global_results-val.masks.json").unlink()
    elif change in ("number", "empty"):
        content = {"0001_plain": 5 if change == "number" else {}}
        (predictions / "global_results-val.masks.json").write_text(json.dumps(content))
    elif change == "code":
        record = predictions / "global_results-val.masks.json"
        record.write_text(record.read_text().replace('"code": "', '"code": "of before'))
    else:
        write(mask, np.zeros((40, 48), np.uint8))
        os.utime(mask, ns=times)
    capsys.readouterr()
    assert run(golden) == 1
    error = capsys.readouterr().err
    assert "--re " in error
    assert ("code" in error) == (change == "code")
    assert ("0008_long" in error) == (change in ("fewer", "other", "annotation"))
    assert run(golden, "--re") == (1 if change == "fewer" else 0)


def test_figures_are_not_read_while_a_run_writes_masks(
    golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(golden) == 0
    with FolderLock(golden / "predictions"):
        assert run(golden) == 1
    assert f"process {os.getpid()} " in capsys.readouterr().err


def test_one_of_two_files_is_not_a_result(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(golden / GLOBAL, golden / "predictions" / GLOBAL)
    shutil.rmtree(golden / "predictions" / "0008_long")
    assert "0008_long: all 38" in failure(golden, capsys)


@pytest.mark.parametrize("damaged", [GLOBAL, PER_SEQUENCE])
@pytest.mark.parametrize("damage", ["empty", "cut", "row lost", "row twice", "binary", "nan", "header"])
def test_a_damaged_result_is_named(
    golden: Path, capsys: pytest.CaptureFixture[str], damaged: str, damage: str
) -> None:
    for name in (GLOBAL, PER_SEQUENCE):
        shutil.copy(golden / name, golden / "predictions" / name)
    path = golden / "predictions" / damaged
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    versions = {
        "empty": b"",
        "cut": whole[:-12],
        "row lost": b"".join(lines[:-1]),
        "row twice": whole + lines[-1],
        "binary": b"\xff\xfe\x00" + whole,
        "nan": whole.replace(lines[-1].split(b",")[1], b"nan"),
        "header": b"".join(lines[1:]),
    }
    path.write_bytes(versions[damage])
    assert run(golden) == 1
    assert str(path) in capsys.readouterr().err
    assert run(golden, "--re") == 0
    assert_golden(golden)


def test_every_missing_prediction_is_listed(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(golden / "predictions" / "0005_short")
    (golden / "predictions" / "0008_long" / "frame00018.png").unlink()
    message = failure(golden, capsys)
    listed = [line.strip() for line in message.splitlines() if line.startswith("  ")]
    # The first and the last frame are not scored.
    assert [line.partition(";")[0] for line in listed] == ["0005_short: all 2", "0008_long/frame00018.png"]


def test_what_is_there_instead_of_predictions_is_named(
    golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = golden / "predictions" / "0005_short"
    for path in folder.iterdir():
        path.rename(path.with_suffix(".npz"))
    assert re.search(r"0005_short: .*frame00018\.png.*frame\d+\.npz", failure(golden, capsys))


@pytest.mark.parametrize("flags", [[], ["--per_frame"], ["--protocol", "vos-benchmark"]])
def test_predictions_one_folder_too_deep_are_found(
    golden: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    predictions = golden / "predictions"
    predictions.rename(golden / "inner")
    predictions.mkdir()
    (golden / "inner").rename(predictions / "Annotations")
    paths = ["--results_path", str(predictions), "--dataset_path", str(golden / "VOST")]
    assert main([*paths, "--workers", "1", *flags]) == 1
    assert f"{predictions / 'Annotations'} " in capsys.readouterr().err


def test_predictions_of_frames_that_are_not_scored_may_be_missing(golden: Path) -> None:
    for frame in ("frame00012.png", "frame00030.png"):
        (golden / "predictions" / "0005_short" / frame).unlink()
    assert run(golden) == 0
    assert_golden(golden)


def test_bad_masks_are_all_named(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions, annotations = golden / "predictions", golden / "VOST" / "Annotations"
    size = predictions / "0001_plain" / "frame00018.png"
    write(size, np.zeros((120, 161), np.uint8))
    colour = predictions / "0002_ignore" / "frame00018.png"
    write(colour, np.zeros((120, 160, 3), np.uint8))
    cut = predictions / "0003_extra_id" / "frame00018.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    no_image = annotations / "0004_gap_ids" / "frame00024.png"
    no_image.write_bytes(b"no image")
    no_object = annotations / "0005_short" / "frame00012.png"
    write(no_object, np.full((80, 80), 255, np.uint8))
    message = failure(golden, capsys)
    facts = {size: "161 x 120 .*160 x 120", colour: "found mode RGB", cut: "", no_image: "", no_object: ""}
    for path, found in facts.items():
        assert re.search(f"{path}: .*{found}", message)


def test_figures_of_masks_at_480p_are_read_again(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = golden / "VOST" / "Annotations"
    annotations.rename(golden / "480p")
    annotations.mkdir()
    (golden / "480p").rename(annotations / "480p")
    assert run(golden) == 0
    assert run(golden) == 0
    assert "read from" in capsys.readouterr().out


def test_problems_cross_process_borders(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = golden / "predictions" / "0007_late_object" / "frame00018.png"
    broken.write_bytes(b"")
    assert str(broken) in failure(golden, capsys, "--workers", "2")


def test_sequences_without_enough_annotations(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    annotations = golden / "VOST" / "Annotations"
    shutil.rmtree(annotations / "0001_plain")
    for frame in ("frame00012.png", "frame00018.png"):
        (annotations / "0005_short" / frame).unlink()
    message = failure(golden, capsys)
    assert re.search(f"0001_plain: .*{annotations / '0001_plain'}", message)
    assert re.search("0005_short: .* 3 ", message)


def test_three_annotated_frames_are_enough(golden: Path) -> None:
    (golden / "VOST" / "ImageSets" / "val.txt").write_text("0005_short\n")
    (golden / "VOST" / "Annotations" / "0005_short" / "frame00030.png").unlink()
    assert run(golden) == 0


@pytest.mark.parametrize("split", ["vall", "../ImageSets/val", ""])
def test_unknown_split(golden: Path, capsys: pytest.CaptureFixture[str], split: str) -> None:
    message = failure(golden, capsys, "--set", split)
    assert repr(split) in message


def test_the_known_splits_are_listed(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search("'test'.* val", failure(golden, capsys, "--set", "test"))


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"\n", ""),
        (b"a\nb\n\n a\r\n", "line 4: 'a' .*line 1"),
        (b"\xff\xfe", ""),
        (b"a\n../b", "line 2: '../b'"),
        (b"a\0", r"line 1: 'a\\x00'"),
        (b".a", "line 1: '.a'"),
        (b"a" * 256, "line 1: .*255"),
        (b"traces", "line 1: 'traces'"),
    ],
)
def test_unusable_split(golden: Path, capsys: pytest.CaptureFixture[str], content: bytes, facts: str) -> None:
    path = golden / "VOST" / "ImageSets" / "val.txt"
    path.write_bytes(content)
    message = failure(golden, capsys)
    assert re.search(f"{path}.*{facts}", message)


def test_a_split_is_a_name_a_line(tmp_path: Path) -> None:
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets" / "val.txt").write_bytes(b"\xef\xbb\xbfb\r\n  a c\t\n\n" + "é".encode())
    assert read_split(tmp_path, "val") == ["b", "a c", "é"]


def test_folders_that_are_not_there(golden: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(golden / "nowhere")
    assert nowhere in failure(golden, capsys, "--dataset_path", nowhere)
    assert nowhere in failure(golden, capsys, "--results_path", nowhere)
    assert not Path(nowhere).exists()


def test_a_failed_write_leaves_nothing(
    golden: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: pd.DataFrame, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert "No space left on device" in failure(golden, capsys)


def test_workers_must_be_positive(golden: Path) -> None:
    with pytest.raises(SystemExit):
        run(golden, "--workers", "0")


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C during the work, with workers: no traceback, exit code 130, no CSV file."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 3, (400, 400)).astype(np.uint8)
    dataset, predictions = tmp_path / "VOST", tmp_path / "predictions"
    write(tmp_path / "noise.png", noise)
    for sequence in ("a", "b"):
        for folder in (dataset / "Annotations" / sequence, predictions / sequence):
            folder.mkdir(parents=True)
            for frame in range(4000):
                os.link(tmp_path / "noise.png", folder / f"{frame:05d}.png")
    (dataset / "ImageSets").mkdir()
    (dataset / "ImageSets" / "val.txt").write_text("a\nb\n")
    folders = ["--results_path", str(predictions), "--dataset_path", str(dataset)]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *folders, "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    while process.stderr.read(1) != "s":  # the bar's unit: it is drawn before the workers start
        assert process.poll() is None
    time.sleep(1.5)
    os.killpg(process.pid, signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130, shown
    assert "Traceback" not in shown
    assert csv_files(tmp_path) == []
