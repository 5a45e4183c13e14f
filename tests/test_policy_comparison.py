"""``python -m benchmarks.policies``: statistics by hand, a page of made-up figures, runs."""

import dataclasses
import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from aot_plus.configs.default import DefaultStage
from aot_plus.dataloaders.mini_vost import make_dataset
from aot_plus.networks.models import build_model
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import VOSError
from benchmarks import policies
from benchmarks.policy_page import make_rows, render_page, render_table
from benchmarks.policy_runs import Record, Run, Setting, do_runs, infer_in_process, measure
from benchmarks.policy_statistics import (
    Estimate,
    expected_by_chance,
    mean_over_objects,
    paired_difference,
    visible_difference,
)

FACTS = {
    "model": "aot_mini",
    "stage": "mini_vost",
    "seed": 7,
    "steps": 3500,
    "hours": 1.5,
    "command": "python -m aot_plus.tools.train --model aot_mini",
    "commit": "abc1234",
}


def figures(*sequences: list[float]) -> list[np.ndarray]:
    return [np.array(values) for values in sequences]


# Statistics


def test_equal_numbers_of_objects_give_the_error_of_the_sequences_means() -> None:
    estimate = mean_over_objects(figures([0.5, 0.7], [0.2, 0.4], [0.9, 0.9]))  # means 0.6, 0.3, 0.9
    assert estimate.mean == pytest.approx(0.6)
    assert estimate.error == pytest.approx(0.3 / math.sqrt(3))


def test_every_object_counts_the_same() -> None:
    estimate = mean_over_objects(figures([1.0, 1.0, 1.0], [0.0]))
    assert estimate.mean == 0.75
    # Sums minus 0.75 times objects: 0.75 and -0.75; 2 / 1 * (0.5625 + 0.5625) / 4^2 = 0.375^2.
    assert estimate.error == pytest.approx(0.375)


def test_more_objects_of_the_same_sequences_do_not_make_it_surer() -> None:
    one, twice = figures([0.5], [0.2], [0.9]), figures([0.5, 0.5], [0.2, 0.2], [0.9, 0.9])
    assert mean_over_objects(twice).error == pytest.approx(mean_over_objects(one).error)


def test_a_difference_is_that_of_the_same_objects() -> None:
    baseline = figures([0.1, 0.9], [0.5, 0.3])
    estimate = paired_difference(figures([0.2, 1.0], [0.8, 0.6]), baseline)  # +0.1 and +0.3
    assert estimate.mean == pytest.approx(0.2)
    assert estimate.error == pytest.approx(0.1)  # deviations of 0.1: sqrt(2 * 0.01 / 1) / sqrt(2)
    with pytest.raises(ValueError, match="same objects"):
        paired_difference(figures([0.2], [0.8, 0.6]), baseline)
    with pytest.raises(ValueError, match="longer than argument"):
        paired_difference(figures([0.2, 1.0]), baseline)


@pytest.mark.parametrize(
    ("mean", "error", "clear"),
    [(0.21, 0.1, True), (-0.21, 0.1, True), (0.19, 0.1, False), (0.0, 0.0, False), (0.5, math.nan, False)],
)
def test_clear_is_beyond_two_standard_errors(mean: float, error: float, clear: bool) -> None:
    assert Estimate(mean, error).is_clear is clear


def test_few_sequences() -> None:
    assert math.isnan(mean_over_objects(figures([0.4, 0.6])).error)
    with pytest.raises(ValueError, match="at least one"):
        mean_over_objects([])


def test_chance_and_what_can_be_seen() -> None:
    # Student's t with 1 and 2 degrees of freedom in closed form.
    assert expected_by_chance(10, 2) == pytest.approx(10 * (1 - 2 / math.pi * math.atan(2)))
    assert expected_by_chance(10, 3) == pytest.approx(10 * (1 - 2 / math.sqrt(6)))
    estimates = [Estimate(0.0, 0.01), Estimate(0.3, 0.02), Estimate(0.1, 0.4)]
    assert visible_difference(estimates) == pytest.approx(0.04)


# The page

FIFO, EMFS, UNBOUNDED = Setting("fifo", 8), Setting("emfs", 8), Setting("unbounded", 8)


def record(j: list[list[float]], j_tr: list[list[float]], **values: object) -> Record:
    """J and J_tr of the objects of each sequence."""
    tables = zip(j, j_tr, strict=True)
    found = {f"s{index}": np.stack(pair, axis=1).tolist() for index, pair in enumerate(tables)}
    made = Record(found, 100, 10.0, 400.0, None, "x86_64, 2 cores", 2)
    return dataclasses.replace(made, **values)  # type: ignore[arg-type]


@pytest.fixture
def records() -> dict[Setting, list[Record]]:
    fifo = [record([[0.5, 0.7]], [[0.4, 0.4]]), record([[0.6, 0.6]], [[0.4, 0.4]])]
    emfs = [
        record([[0.6, 0.8]], [[0.5, 0.2]], frames=50, seconds=2.0),
        record([[0.7, 0.72]], [[0.4, 0.6]], peak_memory=412.4),
    ]
    unbounded = [record([[0.3, 0.5]], [[0.3, 0.3]]), record([[0.4, 0.42]], [[0.3, 0.3]])]
    return {FIFO: fifo, EMFS: emfs, UNBOUNDED: unbounded}


def test_a_models_table(records: dict[Setting, list[Record]]) -> None:
    assert render_table(make_rows(records)).splitlines() == [
        "| policy | capacity | J | J_tr | J − fifo | J_tr − fifo | frames/s | peak MiB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| `fifo` | 1 + 8 | 0.600 ± 0.000 | 0.400 ± 0.000 | – | – | 10.0 | 400 |",
        "| `emfs` | 1 + 8 | 0.705 ± 0.005 | 0.425 ± 0.075 | +0.105 ± 0.005* | +0.025 ± 0.075 | 12.5 | 412 |",
        "| `unbounded` | all | 0.405 ± 0.005 | 0.300 ± 0.000 | −0.195 ± 0.005* | −0.100 ± 0.000* "
        "| 10.0 | 400 |",
    ]


def test_gpu_memory_is_shown_where_there_is_any(records: dict[Setting, list[Record]]) -> None:
    records[EMFS][0] = dataclasses.replace(records[EMFS][0], peak_cuda_memory=91.6)
    lines = render_table(make_rows(records)).splitlines()
    assert lines[0].endswith("| peak MiB | GPU MiB |")
    assert lines[2].endswith("| 400 | – |")
    assert lines[3].endswith("| 412 | 92 |")


def test_the_page(records: dict[Setting, list[Record]]) -> None:
    page = render_page({"aot_mini": records}, {"aot_mini": FACTS}, [0, 1], "python -m benchmarks.policies")
    assert "\n2 val sequences of MiniVOST (seed 0, 1; never trained on), 4 objects." in page
    assert "```\npython -m benchmarks.policies\n```" in page
    assert "one CPU thread for each run, 2 at a time, reading and writing included; x86_64, 2 cores." in page
    assert "| aot_mini | mini_vost | 7 | 3500 | 1.5 | abc1234 | `aot_plus/configs/models/aot_mini.py`" in page
    assert f"```\n{FACTS['command']}\n```" in page
    conclusion = page.split("conclude\n\n")[1].split("\n\n")[0].splitlines()
    assert conclusion == [
        "- aot_mini, 1 + 8: better than `fifo`: `emfs` (J +0.105 ± 0.005); worse than `fifo`: `unbounded` "
        "(J −0.195 ± 0.005, J_tr −0.100 ± 0.000); not told from `fifo`: `emfs` (J_tr +0.025 ± 0.075).",
        "- In all, 3 of 4 differences are beyond two standard errors. If no policy differed from `fifo`, 1.2 "
        "of them would be expected to be so by chance.",
        "- With this spread, a difference typically shows from about 0.010 in J and 0.075 in J_tr.",
    ]


def test_one_sequence_allows_no_conclusion(records: dict[Setting, list[Record]]) -> None:
    single = {setting: parts[:1] for setting, parts in records.items()}
    page = render_page({"aot_mini": single}, {"aot_mini": FACTS}, [0], "command")
    assert "conclude\n\nNothing: this takes at least two sequences" in page
    assert "| `emfs` | 1 + 8 | 0.700 | 0.350 | +0.100 | −0.050 |" in page


# Runs


class FakeInference:
    """Writes the annotations as masks; for all but fifo, the last scored one is the first one."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.broken: set[str] = set()
        self.killed_at_the_end: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, run: Run, overwrite: bool, look: Callable[[], None]) -> None:
        with self._lock:
            self.calls.append((run.setting.name, overwrite))
        look()
        if run.setting.name in self.broken:
            raise VOSError("no luck")
        for name in run.sequences:
            annotations = run.dataset / "Annotations" / name
            shutil.copytree(annotations, run.folder / name, dirs_exist_ok=True)
            if run.setting.policy != "fifo":
                first, *_, last, _ = sorted(annotations.iterdir())
                shutil.copy(first, run.folder / name / last.name)
        frames = 0 if run.setting.name in self.killed_at_the_end and not overwrite else 10
        summary = {"frames": frames, "seconds": 2.0, "peak_memory": 300.0, "peak_cuda_memory": None}
        (run.folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with MiniVOST of two seeds, one val sequence each."""
    work = tmp_path_factory.mktemp("videos")
    for seed in (0, 1):
        policies._make_val(work, seed, 1, 1)
    return work


@pytest.fixture
def work(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Such a folder of its own, and one with a model's files."""
    shutil.copytree(videos, tmp_path / "work")
    models = tmp_path / "models"
    models.mkdir()
    (models / "aot_mini.safetensors").write_bytes(b"weights")
    (models / "aot_mini.json").write_text(json.dumps(FACTS))
    monkeypatch.setattr(DefaultStage, "DIR_PRETRAIN", str(models))
    return tmp_path / "work"


def compare(work: Path, infer: FakeInference, *flags: str) -> int:
    paths = ["--work", str(work), "--out", str(work / "results.md")]
    return policies.main([*paths, "--models", "aot_mini", "--val", "1", *flags], infer)


def test_the_whole_way_and_again(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infer = FakeInference()
    assert compare(work, infer, "--jobs", "2") == 0
    page = (work / "results.md").read_text()
    assert capsys.readouterr().out == f"Wrote {work / 'results.md'}\n"
    names = ["fifo_1+8", "emfs_1+8", "rmem_1+8", "unbounded", "random_1+8", "uniform_1+8"]
    names += ["fifo_1+3", "emfs_1+3", "rmem_1+3"]
    assert sorted(infer.calls) == sorted([(name, False) for name in names] * 2)
    assert page.count("\n| `") == len(names)
    assert "| `fifo` | 1 + 3 | 1.000 ± 0.000 | 1.000 ± 0.000 | – | – | 5.0 | 300 |" in page
    assert "2 val sequences" in page
    assert "--val 1 --jobs 2\n```" in page
    infer.calls.clear()
    assert compare(work, infer, "--jobs", "2") == 0
    assert infer.calls == []
    assert (work / "results.md").read_text() == page


def test_the_figures_are_those_of_the_metric(work: Path) -> None:
    infer = FakeInference()
    assert compare(work, infer, "--policies", "emfs", "--seeds", "0") == 0
    assert {name for name, _ in infer.calls} == {"fifo_1+8", "emfs_1+8", "fifo_1+3", "emfs_1+3"}
    (folder,) = work.glob("runs/*/*/emfs_1+8")
    dataset = work / folder.parents[1].name
    names = tuple((dataset / "ImageSets" / "val.txt").read_text().split())
    run = Run("aot_mini", Path(), EMFS, dataset, names, folder)
    scored = len(list((dataset / "Annotations" / names[0]).iterdir())) - 2
    in_last_quarter = scored - int(0.75 * scored)
    for table in measure(run).values():  # one frame is wrong, somewhere between wholly and hardly
        assert ((table <= 1.0) & (table >= [1 - 1 / scored, 1 - 1 / in_last_quarter])).all()
        np.testing.assert_allclose((1 - table[:, 0]) * scored, (1 - table[:, 1]) * in_last_quarter)
        assert table.min() < 1.0


def test_a_failed_run_is_named_and_done_again_alone(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    infer = FakeInference()
    infer.broken = {"rmem_1+3"}
    flags = ("--seeds", "1", "--policies", "rmem")
    assert compare(work, infer, *flags) == 1
    error = capsys.readouterr().err.splitlines()
    assert "error: 1 of 4 runs failed:" in error
    assert error[-1].startswith("aot_mini rmem_1+3 mini_vost_")
    assert error[-1].endswith("_seed1: no luck")
    assert not (work / "results.md").exists()
    infer.broken, infer.calls = set(), []
    assert compare(work, infer, *flags) == 0
    assert infer.calls == [("rmem_1+3", False)]


def test_speed_is_measured_again_where_it_was_lost(work: Path) -> None:
    infer = FakeInference()
    infer.killed_at_the_end = {"fifo_1+8"}
    assert compare(work, infer, "--seeds", "0", "--policies", "fifo") == 0
    assert infer.calls == [("fifo_1+8", False), ("fifo_1+8", True), ("fifo_1+3", False)]


def test_another_checkpoint_uses_nothing_of_the_first(work: Path, tmp_path: Path) -> None:
    infer = FakeInference()
    flags = ("--seeds", "0", "--policies", "fifo")
    assert compare(work, infer, *flags) == 0
    (tmp_path / "models" / "aot_mini.safetensors").write_bytes(b"other weights")
    assert compare(work, infer, *flags) == 0
    assert len(infer.calls) == 4


def test_a_bug_in_one_run_stops_the_others(work: Path, tmp_path: Path) -> None:
    waiting = threading.Event()

    def infer(run: Run, overwrite: bool, look: Callable[[], None]) -> None:
        if run.setting == FIFO:
            waiting.wait(10)
            raise ZeroDivisionError
        waiting.set()
        while True:
            look()

    runs = [Run("m", Path(), setting, work, (), tmp_path / setting.name) for setting in (FIFO, EMFS)]
    with pytest.raises(ZeroDivisionError):
        do_runs(runs, 2, infer)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no such file; it says how aot_mini was made"),
        ("{", "cannot be read"),
        ("[]", "missing: model, stage"),
        (json.dumps({**FACTS, "model": "deaot_mini"}), "model: expected aot_mini, found deaot_mini"),
        (json.dumps({name: value for name, value in FACTS.items() if name != "hours"}), "missing: hours"),
    ],
)
def test_facts_that_are_not_there(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "models" / "aot_mini.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    infer = FakeInference()
    assert compare(work, infer) == 1
    error = capsys.readouterr().err
    assert str(path) in error
    assert message in error
    assert infer.calls == []


def test_a_checkpoint_that_is_not_there(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "aot_mini.safetensors").unlink()
    assert compare(work, FakeInference()) == 1
    assert "aot_mini.safetensors: cannot be read" in capsys.readouterr().err


def test_inference_in_a_process(tmp_path: Path) -> None:
    """A small bank over a video of a few frames, with random weights."""
    dataset, name = tmp_path / "videos", ""
    make_dataset(dataset, seed=0, train=0, val=1)
    name = (dataset / "ImageSets" / "val.txt").read_text().strip()
    for frame in sorted((dataset / "JPEGImages_10fps" / name).iterdir())[9:]:
        frame.unlink()
    for annotation in sorted((dataset / "Annotations" / name).iterdir())[4:]:
        annotation.unlink()
    checkpoint = tmp_path / "aot_mini.pth"
    torch.save(build_model(get_config("mini_vost", "aot_mini")).state_dict(), checkpoint)
    run = Run("aot_mini", checkpoint, Setting("rmem", 3), dataset, (name,), tmp_path / "runs" / "rmem_1+3")
    made = do_runs([run], 1)[run]
    assert made.frames == 9
    assert made.peak_memory > 0
    assert list(made.figures) == [name]
    config = (run.folder / "config.yaml").read_text()
    assert "MEM_POLICY: rmem" in config
    assert "LATTER_MEM_LEN: 3" in config
    assert do_runs([run], 1) == {run: made}

    broken = dataclasses.replace(run, checkpoint=tmp_path / "none.pth", folder=tmp_path / "runs" / "broken")
    with pytest.raises(VOSError, match=r"exit code 1; .*broken\.log says why"):
        infer_in_process(broken, False, lambda: None)
    assert "none.pth" in (tmp_path / "runs" / "broken.log").read_text()
