"""The metric's benchmark: its files, the two commands it times, and its record."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aot_plus.utils.errors import VOSError
from benchmarks import metric, metric_decode
from benchmarks.metric import run_process, write_dataset
from benchmarks.performance_goals import goals_of
from evaluation.home import home
from evaluation.vost import check_predictions, find_sequences, read_mask


def test_the_files_are_sequences_with_predictions(tmp_path: Path) -> None:
    dataset, results = tmp_path / "dataset", tmp_path / "results"
    names = write_dataset(dataset, results, frames=7, sequences=2, size=(48, 64), objects=2)
    sequences = find_sequences(dataset, "val")
    assert [(one.name, len(one.frames)) for one in sequences] == [(names[0], 4), (names[1], 3)]
    check_predictions(results, sequences)
    for name in names:
        masks = [read_mask(path) for path in sorted((dataset / "Annotations" / name).iterdir())]
        predictions = [read_mask(path) for path in sorted((results / name).iterdir())]
        assert all(np.unique(mask).tolist() == [0, 1, 2] for mask in masks)
        np.testing.assert_array_equal(predictions[1:], masks[:-1])


def test_decoding_alone_reads_every_mask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = write_dataset(tmp_path / "d", tmp_path / "r", frames=6, sequences=2, size=(48, 64), objects=1)
    folders = [str(tmp_path / "r" / name) for name in names]
    assert metric_decode.main(folders) == 0
    assert capsys.readouterr().out == "6 masks\n"
    (tmp_path / "r" / names[0] / "00000.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify image file"):
        metric_decode.main(folders)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ["--frames", "6", "--sequences", "2", "--size", "48x64", "--processes", "1", "--runs", "1"]
    assert metric.main([*flags, "--json", str(tmp_path / "line.json")]) == 0
    *table, line = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert json.loads((tmp_path / "line.json").read_text()) == record
    assert record["settings"] == {
        "frames": 6,
        "sequences": 2,
        "size": [48, 64],
        "objects": 2,
        "processes": 1,
    }
    for name in ("seconds", "decode_seconds", "ratio"):
        values = record[name]
        assert values["runs"] == 1
        assert 0 < values["min"] <= values["median"] <= values["max"]
    assert record["peak_memory"] > 0
    assert len(goals_of("metric", record)) == 2
    assert any(row.startswith("metric ") for row in table)


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(VOSError, match=r"exit code 3:\nno masks"):
        run_process([sys.executable, "-c", "import sys; sys.stderr.write('no masks'); sys.exit(3)"])


def test_the_peak_memory_is_that_of_the_process() -> None:
    script = (
        "import sys; from benchmarks.metric import run_process\n"
        "for code in sys.argv[1:]: print(run_process([sys.executable, '-c', code])[1])"
    )
    # From a process of its own: this one is larger than those that are measured.
    codes = ["pass", f"bytearray(b'1') * {300 * 2**20}"]
    ended = subprocess.run(
        [sys.executable, "-c", script, *codes], cwd=home(), capture_output=True, text=True, check=True
    )
    small, large = map(float, ended.stdout.split())
    assert small < 200
    assert 300 <= large < 400


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--frames", "20", "--sequences", "10"], "--frames: expected at least 3 for each of 10 sequences"),
        (["--objects", "255"], "--objects: expected at most 254"),
        (["--processes", "0"], "expected a whole number from 1"),
        (["--size", "480"], "expected HEIGHTxWIDTH"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        metric.main(flags)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
