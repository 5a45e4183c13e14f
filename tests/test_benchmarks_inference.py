"""The inference benchmark at tiny sizes: its figures are finite, its operation counts match the formulas."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aot_plus.dataloaders.mini_vost import RenderedSequence
from aot_plus.networks.layers import attention, processor
from benchmarks import inference, units
from benchmarks.units import booked
from benchmarks.videos import SyntheticVideo

TINY = ["--size", "49x65", "--capacity", "3", "--memory_gap", "2", "--frames", "4", "--device", "cpu"]


@pytest.fixture(autouse=True)
def small_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT_SIZE", 16)
    monkeypatch.setattr(inference, "UNIT_SIZE", 16)


def measure(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    """Returns the figures in the last line of a run, having checked that all are finite numbers."""
    assert inference.main(["--model", "aot_mini", *flags]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["settings"]["model"] == "aot_mini"
    assert set(record["machine"]) >= {"processor", "threads", "device", "torch", "commit", "date"}
    assert_finite(record["figures"])
    return dict(record["figures"])


def assert_finite(figures: Any) -> None:
    if isinstance(figures, dict):
        assert figures
        for value in figures.values():
            assert_finite(value)
    else:
        assert math.isfinite(figures)


def test_a_frame(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = measure(capsys, *TINY, "--json", str(tmp_path / "line.json"))
    stages = ("encode", "propagate", "decode", "commit", "policy", "other")
    assert all(found[name]["median"] > 0 for name in ("step", "streamed", *stages))
    assert found["step"]["units"] == pytest.approx(found["step"]["median"] / found["unit"]["median"])
    assert found["step"]["operations"] == sum(found[stage]["operations"] for stage in stages)
    assert found["operations_units"] == found["step"]["operations"] / (2 * 16**3)
    assert found["memory_frames"] == 3
    assert found["memory_above_imports_mb"] > 0
    assert json.loads((tmp_path / "line.json").read_text())["figures"] == found
    larger = measure(capsys, *TINY, "--memory_frames", "5")
    grown = {stage for stage in stages if larger[stage]["operations"] > found[stage]["operations"]}
    assert grown == {"propagate", "policy"}
    # 4 x 5 tokens, 128 channels, 2 layers: 2 N N (128 + 128) operations for each of two more frames.
    difference = larger["propagate"]["operations"] - found["propagate"]["operations"]
    assert difference == 2 * 2 * 2 * 20 * 20 * (128 + 128)


def test_launches_with_and_without_recordings(capsys: pytest.CaptureFixture[str]) -> None:
    found = measure(capsys, "--scenario", "launches", *TINY)
    assert found["plain"]["operations"] > 100
    assert found["plain"]["recordings"] == 0
    # Encode, propagate and decode run on every frame, choose and write on every second, hold on the others.
    assert found["recorded"]["recordings"] == 3 + 0.5 + 0.5 + 0.5
    assert found["recorded"]["operations"] < 2  # copies of the image and of the number of a written frame


def test_each_attention_of_a_frame_in_all_ways(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    products, parts = attention._matmul_attention, []

    def note(*tensors: torch.Tensor) -> torch.Tensor:
        parts.append(attention.WEIGHTS_AT_A_TIME["cpu"] // 2**20)
        return products(*tensors)

    monkeypatch.setattr(attention, "_matmul_attention", note)
    found = measure(capsys, "--scenario", "attention", *TINY, "--frames", "1")
    # 4 x 5 tokens, 3 frames, 2 layers: self-attention, short-term and long-term attention.
    assert {name: of["calls"] for name, of in found.items()} == {
        "1 x 4 heads of 32, 32: 20 x 20": 4,
        "1 x 4 heads of 32, 32: 20 x 60": 2,
    }
    names = {"calls", "chosen", "kernel", *(f"products, {size} Mi" for size in (1, 4, 16))}
    assert all(set(of) == names for of in found.values())
    assert set(parts) == {1, 4, 16}
    assert attention.WEIGHTS_AT_A_TIME == processor.WEIGHTS_AT_A_TIME
    assert attention.uses_matmul_attention is processor.uses_matmul_attention


def test_parts_within_parts_are_booked_alone() -> None:
    class Work:
        reading = 0.0

        def outer(self) -> None:
            self.reading += 1
            self.inner()
            self.reading += 2

        def inner(self) -> None:
            self.reading += 10

    work = Work()
    with booked(lambda: work.reading, [(work, "outer", "outer"), (Work, "inner", "inner")]) as totals:
        work.outer()
        work.reading += 100
    assert totals == {"outer": 3, "inner": 10, "other": 100}
    work.outer()  # the original methods are restored
    assert totals == {"outer": 3, "inner": 10, "other": 100}


def test_growth_objects_and_the_unbounded_bank(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"EARLY": 2, "LATE": 6, "COMPARED_CYCLES": 2, "FEW": 2, "MANY": 12}.items():
        monkeypatch.setattr(inference, name, value)
    growth = measure(capsys, "--scenario", "growth", *TINY, "--frames", "30")
    resident = list(growth["resident_mb"].values())
    assert growth["memory_ratio"] == resident[-1] / resident[0]
    assert measure(capsys, "--scenario", "objects", *TINY)["ratio"] > 0
    filling = measure(capsys, "--scenario", "filling", *TINY)
    assert list(filling) == ["first", "next", "full"]
    assert min(one["mean"] for one in filling.values()) > 0
    unbounded = measure(capsys, "--scenario", "unbounded", *TINY, "--frames", "8")
    assert list(unbounded["seconds"]) == ["5", "6", "7", "8"]


def test_number_formats(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, masks = zip(*map(SyntheticVideo((33, 49), objects=2).frame, range(4)), strict=True)
    short = RenderedSequence("short", np.stack(images), np.stack(masks), num_objects=2)
    monkeypatch.setattr("benchmarks.real_videos.render_sequence", lambda *_: short)
    (tmp_path / "video").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "video" / f"{index}.png")
    Image.fromarray(masks[0]).save(tmp_path / "mask.png")
    flags = ["--video", str(tmp_path / "video"), "--mask", str(tmp_path / "mask.png"), "--dtype", "float32"]
    found = measure(capsys, "--scenario", "agreement", "--frames", "2", "--device", "cpu", *flags)
    same = {"equal_labels": 1.0, "worst": 1.0, "frames": 2}  # float32 compared with itself
    assert found == {"short": same, "video": same}


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--model", "nothing"], "model 'nothing'"),
        (["--size", "49x64"], "49x64.*49x65"),
        (["--device", "tpu"], "--device: 'tpu'"),
        (["--ckpt_path", "nowhere.pth"], "nowhere.pth"),
        (["--checkpoint", "nowhere.pth"], "nowhere.pth"),
        (["--policy", "nothing"], "MEM_POLICY: .*'nothing'"),
        (["--scenario", "agreement", "--model", "r50_aotl"], "--checkpoint: .*r50_aotl"),
        (["--scenario", "unbounded", "--frames", "3"], "--frames: .*7.*3"),
    ],
)
def test_a_wrong_value_is_one_line(flags: list[str], facts: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert inference.main(["--model", "aot_mini", "--device", "cpu", "--size", "49x65", *flags]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert re.search(facts, captured.err)
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--scenario", "agreement", "--video", "x"], "--video and --mask"),
        (["--video", "x", "--mask", "y"], "--video: .*agreement.*frame"),
        (["--objects", "255"], "--objects: .*254.*255"),
    ],
)
def test_flags_that_do_not_fit(flags: list[str], facts: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        inference.main(flags)
    assert re.search(facts, capsys.readouterr().err)
