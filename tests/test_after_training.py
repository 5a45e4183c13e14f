"""The training tool beyond the training itself: its processes, and the evaluation that follows."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from aot_plus.networks.managers import processes
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.pipeline import train as pipeline
from aot_plus.pipeline.train import check_files, evaluation_job
from aot_plus.tools import train
from aot_plus.utils.errors import ConfigError, VOSError
from aot_plus.utils.paths import run_folder
from tests.tiny_training import as_flags, tiny_config
from tests.train_videos import write_dataset


def place_second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the environment of the second process of two, as torchrun does."""
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)


def test_changed_evaluation_values_repeat_only_the_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The training is complete and must not change."""
    dataset = tmp_path / "videos"
    write_dataset(dataset, sequences=1, length=6)
    shutil.copy(dataset / "ImageSets" / "train.txt", dataset / "ImageSets" / "val.txt")
    tested = {"TEST_DATASET": str(dataset), "TEST_DEVICE": "cpu", "DIR_RESULT": str(tmp_path / "results")}
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=1, TRAIN_BATCH_SIZE=1, **tested)
    checkpoint = run_folder(cfg) / "ckpt" / "save_step_1.pth"

    def run(*values: str) -> tuple[str, str]:
        code = train.main([*as_flags(cfg), *values])
        output = capsys.readouterr()
        assert code == (1 if output.err.startswith("error:") else 0)
        return output.out, output.err

    assert "1 done, 0 skipped" in run()[0]
    written = checkpoint.stat().st_mtime_ns
    assert "0 done, 1 skipped" in run()[0]
    assert "1 done, 0 skipped" in run("TEST_FLIP=True")[0]
    (masks,) = (run_folder(cfg) / "eval" / "videos").iterdir()
    shutil.copytree(masks / "video_0", masks / "of_another_list")
    message = run("TEST_FLIP=False")[1]
    assert re.search("of_another_list.*TEST_FLIP.*True.*False", message)
    assert "aot-plus eval" in message  # its --overwrite and --resume leave the training alone
    assert checkpoint.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "values", [{"MEM_POLICY": "nope"}, {"TEST_PROTOCOL": "nope"}, {"TEST_DATASET_SPLIT": "nope"}]
)
def test_what_would_stop_the_evaluation_is_named_before_the_training(
    tmp_path: Path, values: dict[str, Any]
) -> None:
    videos = tmp_path / "videos"
    write_dataset(videos, sequences=1)
    tested = {"TEST_DATASET": str(videos), "TEST_DATASET_SPLIT": "train", "DIR_RESULT": str(tmp_path)}
    check_files(tiny_config(videos, **tested), overwrite=False, evaluated=True)
    wrong = tiny_config(videos, **tested | values)
    check_files(wrong, overwrite=False, evaluated=False)
    with pytest.raises(VOSError, match="'nope'"):
        check_files(wrong, overwrite=False, evaluated=True)


def test_the_evaluation_reads_the_folder_in_its_layout(tmp_path: Path) -> None:
    folder = tmp_path / "in_no_form_that_is_recognised"
    (folder / "valid").mkdir(parents=True)
    tested = {"TEST_DATASET": str(folder), "TEST_LAYOUT": "youtubevos2019", "DIR_RESULT": str(tmp_path)}
    job = evaluation_job(tiny_config(folder, **tested), tmp_path / "w.pth", 1)
    assert (job.open_dataset().root, job.open_dataset().split) == (folder, "valid")


@pytest.mark.parametrize(("device", "count"), [("auto", 4), ("cuda", 4), ("cuda:1", 1), ("cpu", 1)])
def test_there_is_one_process_for_each_gpu_that_the_device_allows(
    device: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def note(cfg: Any, *, resume: bool | None, overwrite: bool, processes: int) -> Path:
        started.append(processes)
        return tmp_path

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(pipeline, "check_files", lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "train", note)
    assert train.main(["--stage", "mini_vost", "--no_eval", "--device", device]) == 0
    assert started == [count]


def test_processes_do_not_share_a_numbered_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place_second_of_two(monkeypatch)
    cfg = tiny_config(tmp_path, TRAIN_DEVICE="cuda:1")
    with pytest.raises(ConfigError, match=r"TRAIN_DEVICE cuda:1: .* 2"):
        pipeline.train(cfg, resume=None, overwrite=False, processes=1)


@pytest.mark.parametrize(
    ("device", "chosen"), [("auto", "cuda:1"), ("cuda", "cuda:1"), ("cuda:0", "cuda:0"), ("cpu", "cpu")]
)
def test_a_training_knows_the_number_of_its_gpu(
    device: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ProcessPlace() if device == "cuda:0" else ProcessPlace(1, 2, 1, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(processes, "resolve_device", lambda name, key: torch.device(name))
    cfg = tiny_config(tmp_path, TRAIN_DEVICE=device)
    assert Trainer(cfg, tmp_path, place=place).device == torch.device(chosen)


@pytest.mark.parametrize(("rank", "lines"), [("0", ["2 processes"]), ("1", [])])
def test_under_torchrun_the_first_process_counts_all(
    rank: str,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place_second_of_two(monkeypatch)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(pipeline, "_train", lambda *_: tmp_path)
    caplog.set_level("INFO")
    pipeline.train(tiny_config(tmp_path), resume=None, overwrite=False, processes=1)
    assert re.findall(r"\d+ process\w*", caplog.text) == lines


def test_only_the_first_process_makes_and_needs_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others wait for its validation, and generating MiniVOST twice would not be faster."""
    place_second_of_two(monkeypatch)
    write_dataset(tmp_path / "videos", sequences=1)
    cfg = tiny_config(tmp_path / "videos", DIR_DATA=str(tmp_path), TRAIN_EVAL_STEPS=1, PRETRAIN_MODEL="")
    assert cfg.TEST_DATASET == "mini_vost"
    check_files(cfg, overwrite=False, evaluated=False)
    assert not (tmp_path / "MiniVOST").exists()
