"""The inference benchmark at tiny sizes: what its records hold, and what bad flags are answered with."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aot_plus.dataloaders.mini_vost import RenderedSequence
from aot_plus.utils.errors import ConfigError
from benchmarks import inference
from benchmarks.frame_cost import measure_frame
from benchmarks.performance_goals import goals_of
from benchmarks.performance_page import Measured, render_page
from benchmarks.scaling import linear_fit, measure_growth, measure_objects, measure_unbounded
from benchmarks.streams import Setup, Stream, alternate
from benchmarks.videos import SyntheticVideo

TINY = Setup(
    model="aot_mini",
    stage="pre_vost_2",
    checkpoint=None,
    size=(49, 65),
    memory_frames=3,
    objects=2,
    dtype="float32",
    policy="emfs",
    memory_gap=2,
    device="cpu",
    frames=4,
    unit_size=16,
)
AOT_KINDS = ("self", "long_term", "short_term", "feed_forward", "other")
DEAOT_KINDS = ("self", "long_term", "short_term", "other")


def _expected_parts(kinds: tuple[str, ...]) -> set[str]:
    layers = {f"layer{layer}.{kind}" for layer in range(2) for kind in kinds}
    return {"encode", "propagate", "decode", "commit", "policy", "other"} | layers


@pytest.mark.parametrize(("model", "kinds"), [("aot_mini", AOT_KINDS), ("deaot_mini", DEAOT_KINDS)])
def test_a_frame_has_all_its_parts(model: str, kinds: tuple[str, ...]) -> None:
    table, record = measure_frame(replace(TINY, model=model))
    parts = record["parts"]
    assert set(parts) == _expected_parts(kinds)
    assert all(part["seconds"]["min"] > 0 for part in parts.values())
    computing = {name for name, part in parts.items() if part["operations"] > 0}
    assert computing >= set(parts) - {"propagate", "other"}
    assert sum(part["operations"] for part in parts.values()) == pytest.approx(record["operations"])
    assert sum(part["seconds"]["median"] for part in parts.values()) == record["profiled_seconds"]
    assert record["decision_share"] == parts["policy"]["seconds"]["median"] / record["profiled_seconds"]
    assert record["memory_frames"] == 3
    assert all(f"\n{name} " in table for name in parts)
    page = render_page({"frame-r50_aotl-float32": Measured("a command", record)}, {}, "another")
    assert all(f"\n| `{name}` |" in page for name in parts)


def test_units_are_seconds_over_those_of_the_product() -> None:
    _, record = measure_frame(TINY)
    unit = record["unit"]["seconds"]["median"]
    assert record["unit"]["size"] == 16
    assert record["units"] == record["seconds_per_frame"]["median"] / unit
    assert record["seconds_per_frame"]["runs"] == 2  # 4 frames are 2 cycles
    assert record["operations_units"] == record["operations"] / (2 * 16**3)
    assert record["attention_weights"] == 20 * 3 * 20 * 4 / 2**20  # 4 x 5 tokens, 3 frames
    assert record["decision_largest_tensor"] > 0
    encode = record["parts"]["encode"]
    assert encode["units"] == encode["seconds"]["median"] / unit
    assert record["peak_memory"] >= record["memory_of_imports"] > 0
    assert record["peak_cuda_memory"] is None


def test_a_larger_memory_costs_more_operations_in_long_term_attention_alone() -> None:
    small, large = (measure_frame(replace(TINY, memory_frames=frames))[1]["parts"] for frames in (2, 4))
    grown = {name for name in small if large[name]["operations"] > small[name]["operations"]}
    assert grown == {"layer0.long_term", "layer1.long_term", "policy"}
    # 4 x 5 tokens, 128 channels: 2 * N * N * (128 + 128) operations for each of two more frames.
    difference = large["layer0.long_term"]["operations"] - small["layer0.long_term"]["operations"]
    assert difference == 2 * 2 * 20 * 20 * (128 + 128)


def test_a_stream_fills_its_bank_and_runs_whole_cycles() -> None:
    stream = Stream(TINY.load_for_size(), TINY)
    assert stream.memory_frames == 1
    stream.fill(3)
    assert (stream.memory_frames, stream.frame) == (3, 4)  # two masks, then a cycle of two
    times = alternate([stream], cycles=3)
    assert stream.frame == 10
    assert len(times) == 1
    assert len(times[0]) == 3


def test_growth_compares_frames_and_follows_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.scaling.CYCLES", 2)
    table, record = measure_growth(replace(TINY, frames=20), early=2, late=6)
    assert record["frames_compared"] == [2, 6]
    assert list(record["resident_memory"]) == [str(frame) for frame in range(10, 21)]
    values = list(record["resident_memory"].values())
    assert record["memory_ratio"] == values[-1] / values[0]
    assert [times["runs"] for times in record["seconds_per_frame"]] == [2, 2]
    assert "Frame 6 takes" in table
    assert len(goals_of("growth", record)) == 2


def test_objects_are_compared() -> None:
    _, record = measure_objects(TINY, few=2, many=12)
    assert record["objects_compared"] == [2, 12]
    assert record["ratio"] > 0
    assert goals_of("objects", record)[0].what == "12 objects over 2"
    assert [set(stages) for stages in record["stages"]] == [
        {"encode", "propagate", "decode", "commit", "other"}
    ] * 2


def test_the_unbounded_bank_grows_by_every_frame() -> None:
    _, record = measure_unbounded(replace(TINY, frames=8), runs=1)
    assert list(record["seconds"]) == ["5", "6", "7", "8"]
    assert "T = 5..8" in goals_of("unbounded", record)[0].what
    with pytest.raises(ConfigError, match="--frames: expected at least 7, found 6"):
        measure_unbounded(replace(TINY, frames=6))


def test_linear_fit() -> None:
    line = linear_fit([1, 2, 3, 4], [5.0, 7.0, 9.0, 11.0])
    assert (line["slope"], line["intercept"]) == (pytest.approx(2), pytest.approx(3))
    assert line["residual"] == pytest.approx(0, abs=1e-9)
    assert line["r_squared"] == pytest.approx(1)
    bent = linear_fit([0, 1, 2], [0.0, 3.0, 0.0])  # the line is flat at 1: distances -1, 2, -1
    assert bent["residual"] == pytest.approx(2**0.5)
    assert bent["r_squared"] == pytest.approx(0)


@pytest.fixture
def small_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "Setup", functools.partial(Setup, unit_size=16))


def _last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("{")] == lines[-1:]
    return dict(json.loads(lines[-1]))


@pytest.mark.usefixtures("small_unit")
def test_the_command_measures_a_frame(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", "aot_mini", "--size", "49x65", "--memory_frames", "2", "--frames", "1", "--policy"]
    flags += ["fifo", "--memory_gap", "1", "--device", "cpu", "--json", str(tmp_path / "line.json")]
    assert inference.main(flags) == 0
    record = _last_line(capsys)
    assert record == json.loads((tmp_path / "line.json").read_text())
    assert record["settings"]["size"] == [49, 65]
    assert record["settings"]["policy"] == "fifo"
    assert set(record["machine"]) >= {"processor", "cores", "threads", "torch", "commit", "date"}


def test_the_command_compares_number_formats(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, masks = zip(*map(SyntheticVideo((33, 49), objects=2).frame, range(4)), strict=True)
    short = RenderedSequence("short", np.stack(images), np.stack(masks), num_objects=2)
    monkeypatch.setattr("benchmarks.whole_runs.render_sequence", lambda *_: short)
    rng = np.random.default_rng(0)
    (tmp_path / "video").mkdir()
    for frame in range(3):
        pixels = rng.integers(0, 256, (33, 49, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "video" / f"{frame}.png")
    mask = np.zeros((33, 49), np.uint8)
    mask[5:20, 5:20] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    flags = ["--scenario", "agreement", "--frames", "2", "--device", "cpu", "--dtype", "float32"]
    flags += ["--video", str(tmp_path / "video"), "--mask", str(tmp_path / "mask.png")]
    assert inference.main(flags) == 0
    record = _last_line(capsys)
    agreement = record["agreement"]
    same = {"mean": 1.0, "min": 1.0, "frames": 2}  # float32 against itself
    assert agreement == {"MiniVOST short": same, "video": same}
    assert [goal.met for goal in goals_of("agreement", record)] == [True, True]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "nothing"], "unknown model 'nothing'"),
        (["--model", "aot_mini", "--size", "49x64"], "the nearest it takes is 49x65"),
        (["--device", "tpu"], "--device: 'tpu' cannot be used here"),
        (["--model", "aot_mini", "--ckpt_path", "nowhere.pth"], "nowhere.pth"),
        (["--scenario", "agreement", "--model", "r50_aotl"], "--ckpt_path: none ships for r50_aotl"),
        (["--scenario", "unbounded", "--frames", "3"], "--frames: expected at least 7"),
    ],
)
def test_a_wrong_value_is_one_line(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inference.main(flags) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size", "481"], "expected HEIGHTxWIDTH"),
        (["--memory_frames", "1"], "expected a whole number from 2"),
        (["--objects", "255"], "expected at most 254"),
        (["--video", "clip"], "--video and --mask belong together"),
        (["--scenario", "nothing"], "invalid choice"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        inference.main(flags)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
