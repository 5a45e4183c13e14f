"""``python -m aot_plus.tools.reproduce``: jobs, reuse, failures, tables; one test with a real network."""

import csv
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import evaluation
from aot_plus.configs.default import DefaultStage
from aot_plus.dataloaders.mini_vost import writer
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.networks.memory.policies import POLICIES
from aot_plus.networks.models import build_model
from aot_plus.pipeline import reproduction, rows
from aot_plus.pipeline.rows import SMALL_POLICIES, paper_rows, small_rows
from aot_plus.pipeline.run import Inference, Job
from aot_plus.pipeline.table import signed
from aot_plus.tools import eval as eval_tool
from aot_plus.tools import reproduce
from aot_plus.utils import catalogue
from aot_plus.utils.catalogue import PAPER_ROWS, PaperRow
from aot_plus.utils.config import config_to_dict, get_config
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from aot_plus.utils.sources import how_to_get
from evaluation.protocols import Protocol
from evaluation.results import Results

ROOT = Path(__file__).resolve().parents[1]
NUM_FRAMES = 6
METRIC = evaluation.evaluate
SCORED = NUM_FRAMES - 2  # their last quarter is one frame


def make_videos(root: Path, names: Sequence[str] = ("pour",)) -> Path:
    """Writes sequences of two objects, with every frame annotated."""
    rng = np.random.default_rng(0)
    mask = np.zeros((40, 56), np.uint8)
    mask[8:20, 8:20], mask[20:30, 30:50] = 1, 2
    for name in names:
        for frame in range(NUM_FRAMES):
            path = root / "JPEGImages_10fps" / name / f"{frame:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (*mask.shape, 3), dtype=np.uint8)).save(path)
            write_mask(root / "Annotations" / name / f"{frame:05d}.png", mask)
    (root / "ImageSets").mkdir(exist_ok=True)
    (root / "ImageSets" / "val.txt").write_text("".join(f"{name}\n" for name in names))
    return root


class FakeInference:
    """Copies the annotations; for a policy in ``wrong``, the last scored frame is empty.

    The metric is the real one; it runs in this process, and its calls are counted.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.inferred: list[str] = []  # policies with a sequence that had no masks yet
        self.jobs: list[Job] = []
        self.wrong: set[str] = set()
        self.failed: dict[str, dict[str, str]] = {}  # policy -> sequences that fail, and why
        self.refused: dict[str, str] = {}  # policy -> error of inference
        self.interrupted: set[str] = set()
        self.measured = 0

    def __call__(self, job: Job) -> Inference:
        self.jobs.append(job)
        policy = job.cfg.MEM_POLICY
        if policy in self.interrupted:
            raise KeyboardInterrupt
        if policy in self.refused:
            raise DataError(self.refused[policy])
        dataset = job.open_dataset()
        for name in dataset.sequences():
            if not (job.folder / name).is_dir():
                self.inferred.append(policy)
                shutil.copytree(dataset.root / "Annotations" / name, job.folder / name)
                os.utime(job.folder / name)  # copytree copies the time as well
                if policy in self.wrong:
                    write_mask(job.folder / name / f"{SCORED:05d}.png", np.zeros((40, 56), np.uint8))
        return Inference(job, EvaluationSummary(failed=self.failed.get(policy, {})))

    def evaluate(self, folder: Path, dataset: Path, split: str, protocol: Protocol) -> Results:
        self.measured += 1
        return METRIC(folder, dataset, split, 1, protocol)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with empty files in place of all checkpoints."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(DefaultStage, "DIR_PRETRAIN", str(folder))
    monkeypatch.setattr(catalogue, "_SHIPPED", folder)
    for row in [*paper_rows(), *small_rows()]:
        row.checkpoint.touch()
    return folder


@pytest.fixture
def fake(tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> FakeInference:
    monkeypatch.setattr(DefaultStage, "DIR_RESULT", str(tmp_path / "results"))
    fake = FakeInference(tmp_path / "results")
    monkeypatch.setattr(reproduction, "infer", fake)
    monkeypatch.setattr(evaluation, "evaluate", fake.evaluate)
    return fake


def masks_of(fake: FakeInference, policy: str = "fifo") -> Path:
    """Returns the result folder of the first row with the policy."""
    return next(job.folder for job in fake.jobs if policy == job.cfg.MEM_POLICY)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return make_videos(tmp_path / "Copy")


@pytest.fixture
def small_videos(tmp_path: Path) -> Path:
    root = make_videos(tmp_path / "Small")
    (root / "mini_vost.json").write_text("{}")
    return root


def run(dataset: Path | str, fake: FakeInference, *flags: str) -> int:
    out = fake.results.parent / "table"
    return reproduce.main(["--dataset", str(dataset), "--out", str(out), *flags])


def read_table(fake: FakeInference) -> list[dict[str, str]]:
    with (fake.results.parent / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(text: str, row: str) -> list[list[str]]:
    """Returns the other cells of the table's lines whose first cell is ``row``."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [line[1:] for line in lines if line and line[0] == row]


# Rows and commands


def test_measured_beside_published(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.wrong = {"fifo"}
    assert run(videos, fake) == 0
    output = capsys.readouterr().out
    # The last of 4 scored frames is wrong, and it is the whole last quarter.
    assert cells(output, "AOT*") == [["0.00", "39.0", "−39.00", "75.00", "50.4", "+24.60"]]
    assert cells(output, "DeAOT* + EMFS") == [["100.00", "41.9", "+58.10", "100.00", "52.6", "+47.40"]]
    assert {line["status"] for line in read_table(fake)} == {"measured"}
    page = (fake.results.parent / "table.md").read_text(encoding="utf-8")
    assert cells(page, "AOT*") == cells(output, "AOT*")
    assert f"```\npython -m aot_plus.tools.reproduce --dataset {videos}" in page
    assert re.search(r"\bcopy val, 1 .*\b70\b", page)  # its sequences, and the published ones
    first, *others = read_table(fake)
    assert first == {
        "row": "AOT*",
        "model": "r50_aotl",
        "policy": "fifo",
        "checkpoint": str(paper_rows()[0].checkpoint),
        "J_tr": "0.0000",
        "J": "75.0000",
        "published_J_tr": "39.0000",
        "published_J": "50.4000",
        "difference_J_tr": "-39.0000",
        "difference_J": "24.6000",
        "status": "measured",
        "reason": "",
        "results": str(fake.results / "default_r50_aotl" / "pre_vost_2" / "eval" / "copy" / "fifo_1+8"),
    }
    assert [line["row"] for line in others] == ["AOT* + EMFS", "DeAOT*", "DeAOT* + EMFS"]


def test_a_difference_has_a_sign() -> None:
    assert [signed(value) for value in (0.126, -0.126, 0.004, -0.004)] == ["+0.13", "−0.13", "0.00", "0.00"]


def test_small_models_with_every_policy(
    small_videos: Path, fake: FakeInference, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(SMALL_POLICIES) <= set(POLICIES)
    (checkpoints / "deaot_mini.safetensors").unlink()
    fake.wrong = {"fifo", "random"}
    assert run(small_videos, fake) == 0
    output = capsys.readouterr().out
    assert cells(output, "model") == [["figure", *SMALL_POLICIES]]
    assert cells(output, "aot_mini") == [
        ["J_tr", "0.00", "100.00", "100.00", "100.00", "0.00", "100.00"],
        ["J", "75.00", "100.00", "100.00", "100.00", "75.00", "100.00"],
    ]
    assert cells(output, "deaot_mini") == [[figure, *["missing"] * 6] for figure in ("J_tr", "J")]
    assert f"- deaot_mini: {checkpoints / 'deaot_mini.safetensors'}: " in output
    assert "small val, 1 " in output
    assert "python -m benchmarks.policies" in output
    table = read_table(fake)
    assert [(line["model"], line["policy"]) for line in table[:6]] == [
        ("aot_mini", policy) for policy in SMALL_POLICIES
    ]
    assert {line["published_J"] for line in table} == {""}


def test_rows_by_name_and_number(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, fake, "--rows", "deaot + emfs", "1") == 0
    assert [line["status"] for line in read_table(fake)] == ["measured", "not run", "not run", "measured"]
    assert re.search(r"^- AOT\* \+ EMFS, DeAOT\*: .*--rows$", capsys.readouterr().out, flags=re.MULTILINE)
    assert fake.inferred == ["fifo", "emfs"]


def test_an_unknown_row_is_answered_with_the_nearest(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong, nearest in (("DeOAT", "DeAOT*"), ("AOT+EFMS", "AOT* + EMFS"), ("5", None)):
        assert run(videos, fake, "--rows", wrong) == 1
        error, _, known = capsys.readouterr().err.rpartition(": ")
        assert known == "1 AOT*, 2 AOT* + EMFS, 3 DeAOT*, 4 DeAOT* + EMFS\n"
        assert "--rows: " in error
        _, _, told = error.partition(repr(wrong))
        assert ("AOT" in told) == (nearest is not None)
        assert nearest is None or f": {nearest}" in told
    assert fake.jobs == []


def test_small_models_with_chosen_policies(
    small_videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small_videos, fake, "--policies", "spread", "fifo", "spread") == 0
    assert cells(capsys.readouterr().out, "model") == [["figure", "spread", "fifo"]]
    assert [line["policy"] for line in read_table(fake)] == ["spread", "fifo"] * 2
    assert run(small_videos, fake, "--policies", "newest") == 1
    assert "newest" in capsys.readouterr().err


def test_wrong_flags_are_reported_before_any_work(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main(["--dataset", str(videos), "--out", str(videos)]) == 1
    assert f"error: --output: {videos} " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run(videos, fake, "--processes", "0")
    assert re.search("--processes: .*'0'", capsys.readouterr().err)
    assert run(videos, fake, "--policies", "fifo") == 1
    assert "error: --policies: " in capsys.readouterr().err
    assert reproduce.main(["--dataset", "davis2071", "--download"]) == 1
    captured = capsys.readouterr()
    assert re.search("error: --dataset: .*davis2017.*davis2071", captured.err)
    assert captured.out == ""
    assert fake.jobs == []


@pytest.mark.parametrize("dataset", ["mose_v1", "davis2016", "folder"])
def test_no_published_figures_beside_other_data(
    dataset: str, fake: FakeInference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = dataset if dataset != "folder" else str(tmp_path / "folder")
    (tmp_path / "folder" / "JPEGImages").mkdir(parents=True)
    assert run(name, fake) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert name in captured.err
    assert "davis2017" in captured.err
    assert fake.jobs == []


def test_processes_are_passed_on(videos: Path, fake: FakeInference) -> None:
    assert run(videos, fake, "--rows", "1", "--processes", "2") == 0
    assert [job.processes for job in fake.jobs] == [2]


def test_the_readmes_commands_give_the_same_results(
    tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_DATA", str(tmp_path))
    make_videos(tmp_path / "VOST")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(
        r"^\| (\S.*?) \| ([\d.]+) \| ([\d.]+) \| `\./eval_vost\.sh ?(.*?)` \|$", readme, re.M
    )
    assert [(method, float(j_tr), float(j)) for method, j_tr, j, _ in commands] == [
        (row.method, row.j_tr, row.j) for row in PAPER_ROWS
    ]
    for (*_, flags), row in zip(commands, paper_rows(), strict=True):
        (typed,) = eval_tool._jobs(eval_tool._parser("eval").parse_args(flags.split()))
        job = reproduction.job_of(row, "vost")
        assert config_to_dict(typed.cfg) == config_to_dict(job.cfg)
        assert (typed.checkpoint, typed.folder) == (job.checkpoint, job.folder)


# Missing files


def test_a_missing_dataset_and_checkpoint_are_both_named(
    fake: FakeInference,
    checkpoints: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_DATA", str(tmp_path))
    (checkpoints / "AOT_EMFS.pth").unlink()
    assert run("vost", fake) == 1
    output = capsys.readouterr().out
    rows = "- AOT*, AOT* + EMFS, DeAOT*, DeAOT* + EMFS: "
    assert f"{rows}{tmp_path}/VOST: " in output
    assert how_to_get("vost") in output
    assert f"- AOT* + EMFS: {checkpoints}/AOT_EMFS.pth: " in output
    assert "--dataset mini_vost" in output
    assert cells(output, "AOT*") == [["missing", "39.0", "–", "missing", "50.4", "–"]]
    assert fake.jobs == []
    assert not (tmp_path / "table.md").exists()


def test_missing_rows_do_not_fail_the_others(videos: Path, fake: FakeInference, checkpoints: Path) -> None:
    (checkpoints / "R50_AOTL.pth").unlink()
    assert run(videos, fake) == 0
    assert [line["status"] for line in read_table(fake)] == ["missing"] + ["measured"] * 3
    (fake.results.parent / "table.csv").unlink()
    assert run(videos, fake, "--rows", "1") == 1  # nothing measured
    assert not (fake.results.parent / "table.csv").exists()


def test_mini_vost_is_made_once(fake: FakeInference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_DATA", str(tmp_path))
    made = []

    def add_val(out: Path, seed: int, val: int, workers: int) -> None:
        made.append((out, seed, val))
        make_videos(out)

    monkeypatch.setattr(writer, "add_val", add_val)
    for _ in range(2):
        name, dataset = reproduction.prepare_dataset("mini_vost", tmp_path)
        assert (name, dataset.sequences()) == ("mini_vost", ["pour"])
    assert made == [(tmp_path / "MiniVOST", 0, 20)]


def test_a_split_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "MiniVOST" / "ImageSets" / "val.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"val\.txt: "):
        reproduction.prepare_dataset("mini_vost", tmp_path)


def test_the_default_place_of_the_table(
    videos: Path,
    fake: FakeInference,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_RESULT", str(tmp_path / "all"))
    assert reproduce.main(["--dataset", str(videos), "--rows", "1"]) == 0
    assert (tmp_path / "all" / "reproduce" / "copy.csv").is_file()
    assert capsys.readouterr().out.endswith(f" {tmp_path}/all/reproduce/copy.md\n")
    assert reproduce.main(["--dataset", str(videos), "--rows", "1", "--out", str(tmp_path / "v1.5.md")]) == 0
    assert (tmp_path / "v1.5.csv").is_file()
    assert reproduce.main(["--dataset", str(videos), "--out", str(tmp_path / "v1.5.md" / "table")]) == 1
    assert f"{tmp_path}/v1.5.md/table" in capsys.readouterr().err


# Reuse


def test_a_second_call_runs_no_inference_and_no_metric(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, fake) == 0
    page = (fake.results.parent / "table.md").read_text(encoding="utf-8")
    assert (len(fake.inferred), fake.measured) == (4, 4)
    assert run(videos, fake) == 0
    assert (len(fake.inferred), fake.measured) == (4, 4)
    assert (fake.results.parent / "table.md").read_text(encoding="utf-8") == page


def test_the_metric_runs_again_where_its_files_do_not_match_the_masks(
    videos: Path, fake: FakeInference
) -> None:
    rows = ("--rows", "1")
    assert run(videos, fake, *rows) == 0
    folder = masks_of(fake)
    mask = folder / "pour" / f"{SCORED:05d}.png"
    times = (mask.stat().st_atime_ns, mask.stat().st_mtime_ns)
    write_mask(mask, np.zeros((40, 56), np.uint8))
    os.utime(mask, ns=times)  # the file does not look newer
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 2
    (folder / "global_results-val.csv").write_text("J-Mean\nbroken\n")
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 3
    make_videos(videos, ("pour", "tear"))
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 4
    (videos / "ImageSets" / "val.txt").write_text("tear\n")  # one sequence fewer
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 5
    assert len(fake.inferred) == 2


# Failures


def test_a_failing_row_does_not_stop_the_others(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.failed = {"fifo": {f"s{number}": f"s{number}: no mask" for number in range(5)}}
    fake.refused = {"emfs": "config.yaml: made with another config"}
    assert run(videos, fake, "--rows", "1", "2") == 1
    output = capsys.readouterr().out
    assert re.search(
        r"^- AOT\*: .*s0: no mask; s1: no mask; s2: no mask; .*\b2\b", output, flags=re.MULTILINE
    )
    assert "- AOT* + EMFS: config.yaml: made with another config" in output
    assert not list(fake.results.parent.glob("table.*"))
    fake.refused = {}
    assert run(videos, fake, "--rows", "1", "2") == 1
    first, second, *_ = read_table(fake)
    assert (first["status"], first["J"], first["difference_J"]) == ("failed", "", "")
    assert "s0: no mask; " in first["reason"]
    assert second["status"] == "measured"


def test_a_failing_metric_is_named(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fake.results / "default_r50_aotl" / "pre_vost_2" / "eval" / "copy" / "fifo_1+8"
    (folder / "pour").mkdir(parents=True)  # no mask in it
    assert run(videos, fake, "--rows", "1") == 1
    assert re.search(rf"^- AOT\*: .*{re.escape(str(folder))}", capsys.readouterr().out, flags=re.MULTILINE)


def test_what_cannot_be_scored_is_reported_before_inference(
    videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    image = videos / "JPEGImages_10fps" / "pour" / "00002.jpg"
    image.unlink()
    assert run(videos, fake, "--rows", "1") == 1
    assert re.search(r"^- AOT\*: .*pour/00002\.png", capsys.readouterr().out, flags=re.MULTILINE)
    assert fake.jobs == []


def test_after_an_interrupt_the_table_says_what_was_not_run(
    small_videos: Path, fake: FakeInference, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.interrupted = {"rmem"}
    assert run(small_videos, fake) == 130
    captured = capsys.readouterr()
    assert cells(captured.out, "aot_mini")[0] == ["J_tr", "100.00", "100.00", *["not run"] * 4]
    listed = "- aot_mini (rmem, uniform, random, unbounded), deaot_mini: "
    assert listed in captured.out
    assert listed in (fake.results.parent / "table.md").read_text(encoding="utf-8")
    fake.interrupted, fake.inferred = set(), []
    assert run(small_videos, fake, "--rows", "aot_mini") == 0
    assert fake.inferred == ["rmem", "uniform", "random", "unbounded"]


def test_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs real inference with random weights and the real metric in a separate home; then runs it again.

    The row uses the small model, which is faster; the checks do not depend on the model.
    """
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    paper = (PaperRow("AOT* + EMFS", "aot_mini", "AOT_EMFS.pth", "emfs", 42.8, 51.6), PAPER_ROWS[2])
    monkeypatch.setattr(rows, "PAPER_ROWS", paper)
    make_videos(tmp_path / "aot_plus" / "datasets" / "VOST")
    torch.manual_seed(0)
    model = build_model(get_config("pre_vost_2", "aot_mini"))
    checkpoint = tmp_path / "aot_plus" / "pretrain_models" / "AOT_EMFS.pth"
    checkpoint.parent.mkdir()
    torch.save(model.state_dict(), checkpoint)

    assert reproduce.main([]) == 0
    first = capsys.readouterr()
    assert "evaluate:" in first.err  # the metric's bar
    results = tmp_path / "results" / "default_aot_mini" / "pre_vost_2" / "eval" / "vost" / "emfs_1+8"
    with (results / "global_results-val.csv").open(encoding="utf-8") as file:
        (figures,) = csv.DictReader(file)
    ((j_tr, _, _, j, _, _),) = cells(first.out, "AOT* + EMFS")
    assert (float(j_tr) / 100, float(j) / 100) == pytest.approx(
        (float(figures["J_last-Mean"]), float(figures["J-Mean"])), abs=1e-4
    )
    assert cells(first.out, "DeAOT*") == [["missing", "39.5", "–", "missing", "51.7", "–"]]
    table = (tmp_path / "results" / "reproduce" / "vost.md").read_bytes()
    assert reproduce.main([]) == 0
    assert "evaluate:" not in capsys.readouterr().err
    assert (tmp_path / "results" / "reproduce" / "vost.md").read_bytes() == table

    torch.save({name: tensor * 0.9 for name, tensor in model.state_dict().items()}, checkpoint)
    assert reproduce.main([]) == 1
    refused = capsys.readouterr().out
    assert "the checkpoint's content" in refused
    assert cells(refused, "AOT* + EMFS") == [["failed", "42.8", "–", "failed", "51.6", "–"]]
    assert reproduce.main(["--overwrite"]) == 0
    assert cells(capsys.readouterr().out, "AOT* + EMFS")[0][0] != "failed"
