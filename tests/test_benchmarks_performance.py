"""The page of speed and memory, from given records, and the command that measures what is missing."""

import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from aot_plus.utils.errors import VOSError
from benchmarks import inference, metric, performance, training
from benchmarks.performance import FORMAT, items, read_measured, run_item
from benchmarks.performance_goals import goals_of
from benchmarks.performance_page import Measured, render_page
from evaluation.home import home

MIB_OF_A_GB = 1e9 / 2**20
MACHINE = {
    "processor": "Test CPU",
    "cores": 2,
    "threads": 2,
    "device": "cpu",
    "torch": "9.9",
    "python": "3.99",
    "commit": "0123456789abcdef",
    "date": "2030-01-02 03:04 UTC",
}


def _spread(median: float) -> dict[str, float]:
    return {"median": median, "min": median / 2, "max": median * 2, "runs": 5}


def _part(units: float, alone: float) -> dict[str, Any]:
    return {"seconds": _spread(units / 2), "units": units, "operations": 1e9, "operations_units": alone}


def _frame(model: str, dtype: str, units: float, gigabytes: float = 1.0) -> dict[str, Any]:
    return {
        "settings": {
            "model": model,
            "dtype": dtype,
            "size": [481, 849],
            "objects": 2,
            "policy": "emfs",
            "memory_gap": 5,
        },
        "machine": MACHINE,
        "memory_frames": 9,
        "seconds_per_frame": _spread(units / 2),
        "unit": {"seconds": _spread(0.5)},
        "units": units,
        "operations_units": 1.3,
        "parts": {
            "encode": _part(units * 0.5, 0.7),
            "layer0.long_term": _part(units * 0.25, 0.125),
            "decode": _part(0.2, 0.1),
            "commit": _part(0.1, 0.05),
            "policy": _part(0.02, 0.01),
        },
        "decision_share": 0.02,
        "decision_largest_tensor": 16.0,
        "attention_weights": 96.2,
        "peak_memory": gigabytes * MIB_OF_A_GB,
        "peak_cuda_memory": None,
        "memory_of_imports": 0.5 * MIB_OF_A_GB,
    }


def _training(recompute: bool) -> dict[str, Any]:
    return {
        "settings": {
            "model": "r50_aotl",
            "batch": 1,
            "frames": 15,
            "crop": [241, 241],
            "dtype": "bfloat16",
            "checkpoint_activations": recompute,
        },
        "machine": MACHINE,
        "units": 30.0,
        "seconds_per_step": _spread(15.0),
        "parts": {part: _spread(4.0) for part in ("forward", "backward", "update", "other")},
        "data_seconds_per_step": _spread(0.5),
        "frames_per_step": 15,
        "frames_encoded_per_step": 30 if recompute else 15,
        "peak_memory": 3.0 * MIB_OF_A_GB,
        "memory_before": 1.0 * MIB_OF_A_GB,
    }


RECORDS: dict[str, dict[str, Any]] = {
    "frame-r50_aotl-float32": _frame("r50_aotl", "float32", 3.0, gigabytes=1.5),
    "frame-r50_aotl-bfloat16": _frame("r50_aotl", "bfloat16", 1.0),
    "growth": {
        "machine": MACHINE,
        "frames_compared": [200, 2000],
        "ratio": 1.01,
        "resident_memory": {"2200": 700.0, "10000": 700.7},
        "memory_ratio": 1.001,
    },
    "objects": {
        "machine": MACHINE,
        "objects_compared": [10, 30],
        "stages": [{"encode": 0.5, "propagate": 1.5}, {"encode": 0.5, "propagate": 4.5}],
        "ratio": 2.5,
    },
    "unbounded": {"machine": MACHINE, "seconds": {"5": 1.0, "50": 2.0}, "residual": 0.02},
    "agreement": {
        "machine": MACHINE,
        "compared": ["float32", "bfloat16"],
        "agreement": {"MiniVOST 0001": {"mean": 0.9941}, "street": {"mean": 0.9987}},
    },
    "pipeline": {"machine": MACHINE, "ratio": 1.04},
    "metric": {"machine": MACHINE, "ratio": _spread(1.25), "peak_memory": 100.0},
    "training": _training(recompute=False),
    "training-recompute": _training(recompute=True),
}


def _page(records: dict[str, dict[str, Any]], missing: dict[str, str], **kwargs: bool) -> str:
    measured = {name: Measured(f"python -m b {name}", record) for name, record in records.items()}
    return render_page(measured, missing, "python -m benchmarks.performance", **kwargs)


def _section(page: str, title: str) -> str:
    return page.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_target_stands_beside_what_was_measured() -> None:
    rows = set(_section(_page(RECORDS, {}), "Targets").splitlines())
    assert rows >= {
        "| r50_aotl, float32: a frame | 3.00 units | at most 2.00 units | **missed** |",
        "| r50_aotl, float32: memory of the process | 1.500 GB | at most 1.200 GB | **missed** |",
        "| r50_aotl, float32: share of a decision | 2.0% | at most 5.0% | met |",
        "| r50_aotl, float32: largest tensor of a decision, against N x (T*N) weights "
        "| 16.0 MiB | below 96.2 MiB | met |",
        "| r50_aotl, bfloat16: a frame | 1.00 units | at most 1.10 units | met |",
        "| r50_aotl, bfloat16: share of a decision | 2.0% | at most 5.0% | met |",
        "| time of frame 2000 over frame 200 | 1.010 | at most 1.050 | met |",
        "| memory at frame 10000 over frame 2200 | 1.001 | at most 1.020 | met |",
        "| 30 objects over 10 | 2.50 | at most 2.20 | **missed** |",
        "| time over T = 5..50 is linear: residual | 2.0% | at most 5.0% | met |",
        "| labels of bfloat16 that are float32's, MiniVOST 0001 | 99.41% | at least 99.50% | **missed** |",
        "| labels of bfloat16 that are float32's, street | 99.87% | at least 99.50% | met |",
        "| an evaluation over its computing | 1.04 | at most 1.10 | met |",
        "| the metric over decoding alone | 1.25 | at most 1.30 | met |",
        "| the metric: memory of a process | 105 MB | at most 200 MB | met |",
        "| training: frames encoded in a step | 15 | 15 | met |",
    }


def test_misses_are_named_with_the_parts_to_blame() -> None:
    misses = _section(_page(RECORDS, {"frame-r50_deaotl-float32": "python -m c"}), "What misses its target")
    lines = misses.strip().splitlines()
    assert lines[0] == (
        "- r50_aotl, float32: a frame: 3.00 units, should be at most 2.00 units; furthest from their "
        "operations are `encode` (1.50 units, alone 0.70), `layer0.long_term` (0.75 units, alone 0.12), "
        "`decode` (0.20 units, alone 0.10)."
    )
    assert lines[1] == (
        "- r50_aotl, float32: memory of the process: 1.500 GB, should be at most 1.200 GB; "
        "0.50 GB of it before the model is built."
    )
    assert lines[2] == (
        "- 30 objects over 10: 2.50, should be at most 2.20; "
        "with 10 objects, 25% of a frame is its encoding, the stage that groups of ten share: "
        "with 3 times all the rest, it would be 2.50."
    )
    assert lines[-1] == "- Not measured yet: frame-r50_deaotl-float32."
    assert len(lines) == 5


def test_the_frame_table_and_the_parts() -> None:
    page = _page(RECORDS, {})
    frames = _section(page, "A frame")
    assert (
        "481 x 849 pixels, 2 objects, 9 frames in the bank, policy `emfs`, a write every 5 frames." in frames
    )
    row = "| 3.00 | 2.0 | 1.30 | 1.500 (0.750 to 3.000) | 1.50 | 1.2 | – | 0.500 (0.250 to 1.000) |"
    assert f"| r50_aotl | float32 {row}" in frames
    assert "| r50_deaotl | float32 | not measured | 2.5 | – | – | – | 1.2 | – | – |" in frames
    parts = _section(page, "Parts of a frame: r50_aotl")
    assert "| `encode` | 1.00 | 0.700 | 1.500 (0.7500) | 0.500 (0.2500) |" in parts
    assert "r50_deaotl" not in parts


def test_a_gpu_has_its_memory_shown_and_no_targets_of_a_cpu() -> None:
    machine = MACHINE | {"device": "Test GPU"}
    record = RECORDS["frame-r50_aotl-float32"] | {"machine": machine, "peak_cuda_memory": 2 * MIB_OF_A_GB}
    page = _page({"frame-r50_aotl-float32": record}, {})
    assert "| 1.50 | 1.2 | 2.00 | 0.500" in _section(page, "A frame")
    rows = _section(page, "Targets").strip().splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == [
        "r50_aotl, float32: share of a decision",
        "r50_aotl, float32: largest tensor of a decision, against N x (T*N) weights",
    ]


def test_training_and_machine() -> None:
    page = _page(RECORDS, {})
    training_section = _section(page, "Training")
    assert "`r50_aotl`, 1 clip(s) of 15 frames of 241 x 241 pixels, bfloat16." in training_section
    figures = "30.00 | 15.000 (7.500 to 30.000) | 4.00 | 4.00 | 4.00 | 0.50 | 3.00 | 1.00 |"
    assert f"| kept | {figures}" in training_section
    assert f"| recomputed | {figures}" in training_section
    made = _section(page, "How it was made")
    assert "- Test CPU, 2 cores, device cpu, PyTorch 9.9, Python 3.99\n" in made
    assert "  - growth: 2030-01-02 03:04 UTC, commit 0123456789, 2 thread(s)\n" in made
    assert "python -m b metric\n" in made


def test_a_page_without_any_record() -> None:
    page = _page({}, {"growth": "python -m benchmarks.inference --scenario growth"}, quick=True)
    assert "Nothing has been measured yet." in page
    assert "- Not measured yet: growth." in page
    assert "python -m benchmarks.inference --scenario growth\n" in page
    assert "targets do not apply" in page
    assert "targets do not apply" not in _page({}, {})


def test_nothing_is_missed_where_all_is_met() -> None:
    assert (
        _section(_page({"pipeline": RECORDS["pipeline"]}, {}), "What misses its target").strip() == "Nothing."
    )


def test_recomputed_activations_have_no_target() -> None:
    assert goals_of("training-recompute", RECORDS["training-recompute"]) == []


@pytest.mark.parametrize("kind", ["flags", "quick"])
def test_the_flags_of_every_item_are_taken_by_its_benchmark(kind: str) -> None:
    parsers: dict[str, Callable[[Sequence[str]], Any]] = {
        "inference": inference._parse,
        "metric": metric._parse,
        "training": training._parse,
    }
    for item in items():
        arguments = parsers[item.module](getattr(item, kind))
        assert arguments is not None, item.name
    assert len({item.name for item in items()}) == len(items()) == 12


def _print(text: str) -> list[str]:
    return [sys.executable, "-c", f"print({text!r})"]


def test_an_items_json_line_is_kept_with_its_command(tmp_path: Path) -> None:
    path = tmp_path / "work" / "item.json"
    command = _print('a table\n{"units": 2}')
    run_item(command, path)
    assert read_measured(path, command) == Measured(shlex.join(["python", *command[1:]]), {"units": 2})
    assert read_measured(path, [*command, "--frames", "3"]) is None  # another command's
    assert "a table" in path.with_suffix(".log").read_text()
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"format": FORMAT - 1}))
    assert read_measured(path, command) is None
    path.write_text("{")
    assert read_measured(path, command) is None


def test_an_item_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VOSError, match=r"exit code 2; .*item\.log says why"):
        run_item([sys.executable, "-c", "import sys; print('{}'); sys.exit(2)"], tmp_path / "item.json")
    with pytest.raises(VOSError, match="its last line is no JSON"):
        run_item(_print("no JSON"), tmp_path / "item.json")
    assert not (tmp_path / "item.json").exists()


def test_the_command_measures_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[str] = []

    def fake(command: Sequence[str], path: Path) -> None:
        name = path.stem
        if name == "objects":
            raise VOSError("out of memory")
        done.append(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"format": FORMAT, "command": list(command), "record": RECORDS[name]}))

    monkeypatch.setattr(performance, "run_item", fake)
    flags = ["--out", str(tmp_path / "page.md"), "--work", str(tmp_path / "work")]
    assert performance.main([*flags, "--only", "growth", "objects", "pipeline"]) == 1
    assert done == ["growth", "pipeline"]
    assert "error: 1 of 3 items failed:\nobjects: out of memory" in capsys.readouterr().err
    page = (tmp_path / "page.md").read_text()
    assert "an evaluation over its computing" in page
    assert "Not measured yet: frame-r50_aotl-float32," in page

    assert performance.main([*flags, "--only", "growth", "metric"]) == 0
    assert done == ["growth", "pipeline", "metric"]  # growth was there

    assert performance.main([*flags, "--only"]) == 0  # the page alone
    assert done == ["growth", "pipeline", "metric"]
    assert "the metric over decoding alone" in (tmp_path / "page.md").read_text()


def test_threads_and_the_video_reach_the_benchmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: dict[str, list[str]] = {}

    def fake(command: Sequence[str], path: Path) -> None:
        commands[path.stem] = list(command)

    monkeypatch.setattr(performance, "run_item", fake)
    flags = ["--out", str(tmp_path / "page.md"), "--work", str(tmp_path), "--only", "agreement", "metric"]
    flags += ["--threads", "2", "--device", "cpu", "--video", "/v/clip"]
    flags += ["--mask", str(home() / "tests" / "first.png")]
    assert performance.main(flags) == 0
    assert shlex.join(commands["agreement"][1:]) == (
        "-m benchmarks.inference --scenario agreement --device cpu --threads 2 "
        "--video /v/clip --mask tests/first.png"
    )
    assert commands["metric"][1:] == ["-m", "benchmarks.metric"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "nothing"], "invalid choice: 'nothing'"),
        (["--mask", "first.png"], "--video and --mask belong together"),
        (["--threads", "0"], "expected a whole number from 1"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        performance.main(flags)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
