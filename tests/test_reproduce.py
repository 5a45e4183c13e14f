"""``python -m aot_plus.tools.reproduce``: commands, reuse, failures, tables; once a real network."""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aot_plus.configs.default import DefaultStage
from aot_plus.networks.memory.policies import POLICIES
from aot_plus.networks.models import build_model
from aot_plus.pipeline import commands, reproduction
from aot_plus.pipeline.commands import Finished, eval_command, run_shown
from aot_plus.pipeline.rows import SMALL_POLICIES, paper_runs, small_runs
from aot_plus.pipeline.table import signed
from aot_plus.tools import reproduce
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from evaluation.command import main as metric

ROOT = Path(__file__).resolve().parents[1]
NUM_FRAMES = 6
SCORED = NUM_FRAMES - 2  # of which the last quarter is one frame


def make_videos(root: Path, names: Sequence[str] = ("pour",)) -> Path:
    """Sequences of two objects, every frame annotated."""
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


class FakeCommands:
    """Inference copies the annotations; for a policy in ``wrong`` the last scored frame is empty.

    The metric is the real one, in this process.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.inferred: list[str] = []  # policies with a sequence that was not there
        self.commands: list[list[str]] = []
        self.wrong: set[str] = set()
        self.said: dict[str, str] = {}  # policy -> output of inference that fails
        self.interrupted: set[str] = set()

    def __call__(self, command: Sequence[str], *, with_stdout: bool) -> Finished:
        self.commands.append(list(command))
        if "evaluation/evaluation_method.py" in command:
            return Finished(metric([*command[2:], "--workers", "1"]), "")
        flags = dict(pairwise(command))
        model, policy = flags["--model"], flags["--policy"]
        if policy in self.interrupted:
            raise KeyboardInterrupt
        if policy in self.said:
            return Finished(1, self.said[policy])
        folder = self.results / model / policy
        dataset = Path(flags["--dataset"])
        for name in (dataset / "ImageSets" / "val.txt").read_text().split():
            if not (folder / name).is_dir():
                self.inferred.append(policy)
                shutil.copytree(dataset / "Annotations" / name, folder / name)
                os.utime(folder / name)  # copytree copies the time as well
                if policy in self.wrong:
                    write_mask(folder / name / f"{SCORED:05d}.png", np.zeros((40, 56), np.uint8))
        return Finished(0, f"a: 100%|██| 6/6\rINFO loaded\nSequences: 1 done\nResults: {folder}\n")

    @property
    def measured(self) -> int:
        return sum("evaluation/evaluation_method.py" in command for command in self.commands)


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files in the places of all checkpoints."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setattr(DefaultStage, "DIR_PRETRAIN", str(folder))
    for run in [*paper_runs(), *small_runs()]:
        Path(run.checkpoint).touch()
    return folder


@pytest.fixture
def fake(tmp_path: Path, checkpoints: Path) -> FakeCommands:
    return FakeCommands(tmp_path / "results")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    return make_videos(tmp_path / "Copy")


@pytest.fixture
def small_videos(tmp_path: Path) -> Path:
    root = make_videos(tmp_path / "Small")
    (root / "mini_vost.json").write_text("{}")
    return root


def run(dataset: Path | str, fake: FakeCommands, *flags: str) -> int:
    out = fake.results.parent / "table"
    return reproduce.main(["--dataset", str(dataset), "--out", str(out), *flags], fake)


def read_table(fake: FakeCommands) -> list[dict[str, str]]:
    with (fake.results.parent / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cells(text: str, row: str) -> list[list[str]]:
    """The rest of the table's lines that begin with that cell."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return [line[1:] for line in lines if line and line[0] == row]


# Rows and commands


def test_measured_beside_published(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.wrong = {"fifo"}
    assert run(videos, fake) == 0
    output = capsys.readouterr().out
    # Without the last of 4 scored frames; the last quarter is that frame alone.
    assert cells(output, "AOT*") == [["0.00", "39.0", "−39.00", "75.00", "50.4", "+24.60"]]
    assert cells(output, "DeAOT* + EMFS") == [["100.00", "41.9", "+58.10", "100.00", "52.6", "+47.40"]]
    assert "Not measured" not in output
    page = (fake.results.parent / "table.md").read_text(encoding="utf-8")
    assert cells(page, "AOT*") == cells(output, "AOT*")
    assert f"```\npython -m aot_plus.tools.reproduce --dataset {videos}" in page
    assert "\nOn copy val, 1 sequence. The published figures are of VOST's 70: the differences mean" in page
    first, *others = read_table(fake)
    assert first == {
        "row": "AOT*",
        "model": "r50_aotl",
        "policy": "fifo",
        "checkpoint": paper_runs()[0].checkpoint,
        "J_tr": "0.0000",
        "J": "75.0000",
        "published_J_tr": "39.0000",
        "published_J": "50.4000",
        "difference_J_tr": "-39.0000",
        "difference_J": "24.6000",
        "status": "measured",
        "reason": "",
        "results": str(fake.results / "r50_aotl" / "fifo"),
    }
    assert [line["row"] for line in others] == ["AOT* + EMFS", "DeAOT*", "DeAOT* + EMFS"]


def test_a_difference_has_a_sign() -> None:
    assert [signed(value) for value in (0.126, -0.126, 0.004, -0.004)] == ["+0.13", "−0.13", "0.00", "0.00"]


def test_small_models_with_every_policy(
    small_videos: Path, fake: FakeCommands, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(SMALL_POLICIES) == sorted(POLICIES)
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
    told = f"- deaot_mini: {checkpoints / 'deaot_mini.safetensors'}: there is no such checkpoint; "
    assert told + "aot_plus/pretrain_models/README.md lists" in output
    assert "On small val, 1 sequence. `python -m benchmarks.policies` says" in output
    assert "published" not in output
    table = read_table(fake)
    assert [(line["model"], line["policy"]) for line in table[:6]] == [
        ("aot_mini", policy) for policy in SMALL_POLICIES
    ]
    assert {line["published_J"] for line in table} == {""}


def test_rows_by_name_and_number(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, fake, "--rows", "deaot + emfs", "1") == 0
    assert [line["status"] for line in read_table(fake)] == ["measured", "not run", "not run", "measured"]
    assert "- AOT* + EMFS, DeAOT*: not in --rows\n" in capsys.readouterr().out
    assert fake.inferred == ["fifo", "emfs"]


def test_an_unknown_row_is_answered_with_the_nearest(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in ("DeOAT", "5"):
        assert run(videos, fake, "--rows", wrong) == 1
        assert f"error: --rows: unknown row {wrong!r}; the nearest: " in capsys.readouterr().err
    assert run(videos, fake, "--rows", "AOT+EFMS") == 1
    error = capsys.readouterr().err
    assert "the nearest: AOT* + EMFS, " in error
    assert "there are: 1 AOT*, 2 AOT* + EMFS, 3 DeAOT*, 4 DeAOT* + EMFS" in error
    assert fake.commands == []


def test_wrong_flags_are_said_before_any_work(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main(["--dataset", str(videos), "--out", str(videos)], fake) == 1
    assert f"error: --out: {videos} is a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run(videos, fake, "--processes", "0")
    assert "--processes: expected a whole number from 1, found '0'" in capsys.readouterr().err
    assert fake.commands == []


def test_processes_are_torchruns() -> None:
    values = {"model": "m", "stage": "s", "checkpoint": "c", "dataset": "d", "split": "val", "policy": "p"}
    alone, shared = eval_command(**values), eval_command(**values, processes=3)  # type: ignore[arg-type]
    assert alone[:3] == [sys.executable, "-m", "aot_plus.tools.eval"]
    assert shared[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "3"]
    assert shared[6:] == alone[1:]


def test_processes_are_passed_on(videos: Path, fake: FakeCommands) -> None:
    assert run(videos, fake, "--rows", "1", "--processes", "2") == 0
    assert fake.commands[0][5] == "2"
    assert "--nproc_per_node" not in fake.commands[1]


# What is missing


def test_a_missing_dataset_and_checkpoint_are_both_named(
    fake: FakeCommands,
    checkpoints: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_DATA", str(tmp_path))
    (checkpoints / "AOT_EMFS.pth").unlink()
    assert run("vost", fake) == 1
    output = capsys.readouterr().out
    assert (
        f"- AOT*, AOT* + EMFS, DeAOT*, DeAOT* + EMFS: {tmp_path}/VOST: there is no such dataset folder; get "
        "VOST from https://www.vostdataset.org and put (or link) it there\n"
    ) in output
    assert f"- AOT* + EMFS: {checkpoints}/AOT_EMFS.pth: there is no such checkpoint; " in output
    assert "--dataset mini_vost needs no download" in output
    assert cells(output, "AOT*") == [["missing", "39.0", "–", "missing", "50.4", "–"]]
    assert fake.commands == []
    assert not (tmp_path / "table.md").exists()


def test_missing_rows_do_not_fail_the_others(videos: Path, fake: FakeCommands, checkpoints: Path) -> None:
    (checkpoints / "R50_AOTL.pth").unlink()
    assert run(videos, fake) == 0
    assert [line["status"] for line in read_table(fake)] == ["missing"] + ["measured"] * 3
    (fake.results.parent / "table.csv").unlink()
    assert run(videos, fake, "--rows", "1") == 1  # nothing measured
    assert not (fake.results.parent / "table.csv").exists()


def test_mini_vost_is_made_once(fake: FakeCommands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_DATA", str(tmp_path))
    root = tmp_path / "MiniVOST"
    (root / "ImageSets").mkdir(parents=True)
    (root / "ImageSets" / "train.txt").write_text("a\nb\nc\n")
    made = []

    def make_dataset(out: Path, seed: int, train: int, val: int, workers: int) -> None:
        made.append((out, seed, train, val))
        make_videos(out)

    monkeypatch.setattr(reproduction, "make_dataset", make_dataset)
    for _ in range(2):
        dataset = reproduction.open_argument("mini_vost", tmp_path)
        assert dataset.sequences("val") == ["pour"]
    assert made == [(root, 0, 3, 20)]


def test_a_split_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "MiniVOST" / "ImageSets" / "val.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"val\.txt: cannot be read"):
        reproduction.open_argument("mini_vost", tmp_path)


def test_the_default_place_of_the_table(
    videos: Path,
    fake: FakeCommands,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(DefaultStage, "DIR_RESULT", str(tmp_path / "all"))
    assert reproduce.main(["--dataset", str(videos), "--rows", "1"], fake) == 0
    assert (tmp_path / "all" / "reproduce" / "copy.csv").is_file()
    assert capsys.readouterr().out.endswith(f"Wrote {tmp_path}/all/reproduce/copy.md\n")
    assert (
        reproduce.main(["--dataset", str(videos), "--rows", "1", "--out", str(tmp_path / "v1.5.md")], fake)
        == 0
    )
    assert (tmp_path / "v1.5.csv").is_file()
    assert reproduce.main(["--dataset", str(videos), "--out", str(tmp_path / "v1.5.md" / "table")], fake) == 1
    assert "cannot be written" in capsys.readouterr().err


# What is used again


def test_a_second_call_runs_no_inference_and_no_metric(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(videos, fake) == 0
    page = (fake.results.parent / "table.md").read_text(encoding="utf-8")
    assert (len(fake.inferred), fake.measured) == (4, 4)
    assert run(videos, fake) == 0
    assert (len(fake.inferred), fake.measured) == (4, 4)
    assert (fake.results.parent / "table.md").read_text(encoding="utf-8") == page


def test_the_metric_runs_again_where_its_files_are_not_of_the_masks(videos: Path, fake: FakeCommands) -> None:
    rows = ("--rows", "1")
    folder = fake.results / "r50_aotl" / "fifo"
    assert run(videos, fake, *rows) == 0
    later = (folder / "global_results-val.csv").stat().st_mtime + 5
    os.utime(folder / "pour", (later, later))
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 2
    os.utime(folder / "pour", (later - 10, later - 10))
    (folder / "global_results-val.csv").write_text("J-Mean\nbroken\n")
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 3
    make_videos(videos, ("pour", "tear"))
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 4
    (videos / "ImageSets" / "val.txt").write_text("tear\n")  # nothing is newer, but one sequence less counts
    assert run(videos, fake, *rows) == 0
    assert fake.measured == 5
    assert len(fake.inferred) == 2


def test_a_newer_checkpoint_is_said(
    videos: Path, fake: FakeCommands, checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(videos, fake, "--rows", "1") == 0
    assert "is newer than" not in caplog.text
    later = (fake.results / "r50_aotl" / "fifo" / "pour").stat().st_mtime + 5
    os.utime(checkpoints / "R50_AOTL.pth", (later, later))
    assert run(videos, fake, "--rows", "1") == 0
    assert "R50_AOTL.pth is newer than the masks of 1 sequences" in caplog.text


# What goes wrong


def test_a_failing_row_does_not_keep_the_others(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = [f"Failed: s{number}: no mask" for number in range(5)]
    fake.said = {"fifo": "\n".join(["10 done, 0 skipped, 5 failed", *failed]), "emfs": "killed"}
    assert run(videos, fake, "--rows", "1", "2") == 1
    output = capsys.readouterr().out
    assert (
        "- AOT*: inference ended with exit code 1: s0: no mask; s1: no mask; s2: no mask; and 2 more"
        in output
    )
    assert "- AOT* + EMFS: inference ended with exit code 1: " in output
    assert "Nothing was measured, and no file written." in output
    fake.said = {"fifo": "bar\rERROR\nerror: config.yaml: made with another config\n"}
    assert run(videos, fake, "--rows", "1", "2") == 1
    first, second, *_ = read_table(fake)
    assert (first["status"], first["J"], first["difference_J"]) == ("failed", "", "")
    assert first["reason"] == "inference ended with exit code 1: config.yaml: made with another config"
    assert second["status"] == "measured"


def test_a_failing_metric_is_named(
    videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    (fake.results / "r50_aotl" / "fifo" / "pour").mkdir(parents=True)  # no mask in it
    assert run(videos, fake, "--rows", "1") == 1
    assert "- AOT*: the metric ended with exit code 1: " in capsys.readouterr().out


def test_after_an_interrupt_the_table_says_what_was_not_run(
    small_videos: Path, fake: FakeCommands, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.interrupted = {"rmem"}
    assert run(small_videos, fake) == 130
    captured = capsys.readouterr()
    assert "Run the same command again to go on." in captured.err
    assert cells(captured.out, "aot_mini")[0] == ["J_tr", "100.00", "100.00", *["not run"] * 4]
    listed = "- aot_mini (rmem, uniform, random, unbounded), deaot_mini: interrupted"
    assert listed in captured.out
    assert listed in (fake.results.parent / "table.md").read_text(encoding="utf-8")
    fake.interrupted, fake.inferred = set(), []
    assert run(small_videos, fake, "--rows", "aot_mini") == 0
    assert fake.inferred == ["rmem", "uniform", "random", "unbounded"]


# Commands in processes


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys, time; {code}"]


def test_output_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    code = "sys.stderr.write('10%█\\r20%█\\n'); sys.stderr.flush(); print('Results: é'); sys.exit(3)"
    finished = run_shown(_python(code))
    assert finished == Finished(3, "10%█\r20%█\nResults: é\n")
    assert capsys.readouterr().err == finished.output
    assert run_shown(_python(code), with_stdout=False).output == "10%█\r20%█\n"


def test_progress_bars_know_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "77")
    assert run_shown(_python("print(os.environ['COLUMNS'], 'LINES' in os.environ)")).output == "77 True\n"


def test_an_interrupted_command_says_how_far_it_got(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_shown(_python("os.kill(os.getppid(), signal.SIGINT); time.sleep(0.3); print('finished: 3')"))
    assert "finished: 3" in capsys.readouterr().err


def test_an_interrupted_command_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "GRACE_SECONDS", 0.1)
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); "
    with pytest.raises(KeyboardInterrupt):
        run_shown(_python(code + "os.kill(os.getppid(), signal.SIGINT); time.sleep(300)"))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_whole_way(tmp_path: Path) -> None:
    """In a copy of the tree: real inference with random weights, the real metric; then once more.

    The row is made with the small model: what is checked here does not depend on it, and it is faster.
    """
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "VOST", "MiniVOST", "*.pth", "*.safetensors")
    for folder in ("aot_plus", "evaluation"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    paper = tree / "aot_plus" / "utils" / "paper.py"
    row = '"r50_aotl", "AOT_EMFS.pth"'
    text = paper.read_text(encoding="utf-8")
    assert row in text
    paper.write_text(text.replace(row, '"aot_mini", "AOT_EMFS.pth"'), encoding="utf-8")
    make_videos(tree / "aot_plus" / "datasets" / "VOST")
    torch.manual_seed(0)
    model = build_model(get_config("pre_vost_2", "aot_mini"))
    torch.save(model.state_dict(), tree / "aot_plus" / "pretrain_models" / "AOT_EMFS.pth")
    command = [sys.executable, "-m", "aot_plus.tools.reproduce"]

    def reproduce_all() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=tree,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=500,
        )

    first = reproduce_all()
    assert first.returncode == 0, first.stderr
    assert "1 done, 0 skipped" in first.stderr
    assert "evaluate:" in first.stderr  # the metric's bar
    results = tree / "results" / "default_aot_mini" / "pre_vost_2" / "eval" / "vost" / "emfs_1+8"
    with (results / "global_results-val.csv").open(encoding="utf-8") as file:
        (figures,) = csv.DictReader(file)
    ((j_tr, _, _, j, _, _),) = cells(first.stdout, "AOT* + EMFS")
    assert (float(j_tr) / 100, float(j) / 100) == pytest.approx(
        (float(figures["J_last-Mean"]), float(figures["J-Mean"])), abs=1e-4
    )
    assert cells(first.stdout, "DeAOT*") == [["missing", "39.5", "–", "missing", "51.7", "–"]]
    table = (tree / "results" / "reproduce" / "vost.md").read_bytes()
    second = reproduce_all()
    assert second.returncode == 0, second.stderr
    assert "0 done, 1 skipped" in second.stderr
    assert "evaluate:" not in second.stderr
    assert (tree / "results" / "reproduce" / "vost.md").read_bytes() == table
