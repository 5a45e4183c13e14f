"""The training benchmark at a tiny size: parts of a step, encoded frames, answers to bad flags."""

import functools
import json

import pytest

from benchmarks import training
from benchmarks.performance_goals import goals_of
from benchmarks.performance_page import Measured, render_page
from benchmarks.training import PARTS, measure_training

TINY = ["--batch", "1", "--frames", "2", "--crop", "49x49", "--steps", "2", "--dtype", "float32"]


@pytest.fixture
def small_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "measure_training", functools.partial(measure_training, unit_size=16))


@pytest.mark.usefixtures("small_unit")
def test_the_command_measures_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main([*TINY, "--device", "cpu"]) == 0
    *table, line = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["settings"] == {
        "model": "aot_mini",
        "stage": "mini_vost",
        "batch": 1,
        "frames": 2,
        "crop": [49, 49],
        "dtype": "float32",
        "checkpoint_activations": False,
        "steps": 2,
    }
    assert tuple(record["parts"]) == PARTS
    assert all(values["min"] > 0 and values["runs"] == 2 for values in record["parts"].values())
    assert record["units"] == record["seconds_per_step"]["median"] / record["unit"]["seconds"]["median"]
    assert record["data_seconds_per_step"]["runs"] == 2
    assert record["frames_per_step"] == record["frames_encoded_per_step"] == 2  # no frame twice
    assert record["peak_memory"] >= record["memory_before"] > 0
    assert [goal.met for goal in goals_of("training", record)] == [True]
    assert "| kept | " in render_page({"training": Measured("a command", record)}, {}, "another")
    assert [row.split()[0] for row in table[1:7]] == ["a", *PARTS, "data"]


def test_the_flags_reach_the_config() -> None:
    args = training._parse(["--crop", "241x257", "--frames", "15", "--checkpoint_activations"])
    cfg = training._config(args)
    assert cfg.DATA_RANDOMCROP == (241, 257)
    assert cfg.DATA_SHORT_EDGE_LEN == 249  # 241 * 480 / 465: room for the crop, as in the published recipe
    assert cfg.DATA_SEQ_LEN == 15
    assert cfg.TRAIN_CHECKPOINT_ACTIVATIONS
    assert cfg.DATA_WORKERS == 0
    assert not training._config(training._parse([])).TRAIN_CHECKPOINT_ACTIVATIONS


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nothing"], "unknown model 'nothing'"),
        (["--stage", "nothing"], "unknown stage 'nothing'"),
        (["--crop", "48x48"], "DATA_RANDOMCROP"),
        (["--device", "tpu"], "--device: 'tpu' cannot be used here"),
    ],
)
def test_a_wrong_value_is_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert training.main(flags) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    # A progress bar may stand before it.
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
