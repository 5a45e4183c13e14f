"""Validation during training: its figures, the best weights, and no effect on the training."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import evaluation
from aot_plus.configs import Config
from aot_plus.networks.managers import trainer as trainer_module
from aot_plus.networks.managers.processes import ProcessPlace, any_process
from aot_plus.networks.managers.train_checkpoint import best_j, ema_path, load_latest_checkpoint
from aot_plus.networks.managers.train_log import TrainLog
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.managers.validation import Validation
from aot_plus.networks.models import AOT
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.pipeline.launch import launch
from aot_plus.pipeline.run import Job, infer
from aot_plus.pipeline.train import check_files
from aot_plus.utils.errors import DataError
from aot_plus.utils.paths import run_folder
from tests.tiny_training import tiny_config
from tests.train_videos import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "VOST"
    write_dataset(root, length=8)
    return root


def config(dataset: Path, results: Path, **values: Any) -> Config:
    tested = {"TEST_DATASET": str(dataset), "TEST_DATASET_SPLIT": "train", "DIR_RESULT": str(results)}
    few = {"TRAIN_EVAL_STEPS": 1, "TRAIN_EVAL_SEQUENCES": 2, "TRAIN_TOTAL_STEPS": 2, "TRAIN_SAVE_STEP": 1}
    few |= {"TRAIN_EMA_RATIO": 1.0, "TRAIN_BATCH_SIZE": 1}
    return tiny_config(dataset, **tested | few | values)


def lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "log" / "validation.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A training of two steps, with a validation after each."""
    cfg = config(dataset, tmp_path_factory.mktemp("results"))
    Trainer(cfg, run_folder(cfg)).run()
    return cfg, run_folder(cfg)


def waits(dataset: Path, folder: Path) -> list[bool]:
    """Trains in several processes; returns at which exchanges the others are patient with the first one."""
    place = ProcessPlace.from_environment()
    cfg = config(dataset, folder, TRAIN_BATCH_SIZE=2, TRAIN_TOTAL_STEPS=3, TRAIN_EVAL_STEPS=2)
    patient: list[bool] = []

    def note(place: ProcessPlace, flag: bool, device: torch.device, group: Any = None) -> bool:
        patient.append(group is not None)
        return any_process(place, flag, device, group)

    vars(trainer_module)["any_process"] = note
    Trainer(cfg, folder, place=place).run()
    return patient


def test_the_others_are_patient_during_a_validation_alone(
    dataset: Path, tmp_path: Path, forked_processes: None
) -> None:
    assert launch(waits, dataset, tmp_path, processes=2) == [
        True,
        False,
        True,
        True,
    ]  # at the start, per step
    assert [line["step"] for line in lines(tmp_path)] == [2, 3]
    (tmp_path / "log" / "validation.jsonl").unlink()
    assert launch(waits, dataset, tmp_path, processes=2) == [True]
    assert [line["step"] for line in lines(tmp_path)] == [3]


def test_the_figures_are_those_of_an_evaluation(trained: tuple[Config, Path]) -> None:
    cfg, folder = trained
    assert [line["step"] for line in lines(folder)] == [1, 2]
    cfg.TEST_CKPT_PATH = str(ema_path(folder, 2))
    masks = folder / "masks"
    infer(Job(cfg, ema_path(folder, 2), masks))
    results = evaluation.evaluate(masks, Path(cfg.TEST_DATASET), cfg.TEST_DATASET_SPLIT)
    objects = results.objects["Sequence"].str.rpartition("_")[0]
    expected = results.objects.groupby(objects)["J-Mean"].mean().loc[["video_0", "video_1"]]
    assert lines(folder)[1]["j_of_sequences"] == pytest.approx(dict(expected), abs=1e-9)
    assert lines(folder)[1]["j"] == pytest.approx(expected.mean(), abs=1e-9)


def test_the_best_weights_are_kept(trained: tuple[Config, Path]) -> None:
    _, folder = trained
    best = max(lines(folder), key=lambda line: line["j"])
    assert [line["best"] for line in lines(folder)] == [True, best["step"] == 2]
    saved = torch.load(folder / "best.pth", weights_only=True)
    assert (saved["step"], saved["j"], saved["MODEL_VOS"]) == (best["step"], best["j"], "aot")
    kept = read_state_dict(folder / "best.pth")  # as an evaluation does
    averaged = torch.load(ema_path(folder, best["step"]), weights_only=True)["state_dict"]
    assert all(torch.equal(kept[name], tensor) for name, tensor in averaged.items())


def test_the_training_goes_on_as_if_there_were_none(trained: tuple[Config, Path], tmp_path: Path) -> None:
    cfg, folder = trained
    Trainer(config(Path(cfg.TEST_DATASET), tmp_path, TRAIN_EVAL_STEPS=0), tmp_path).run()
    with_it, without = load_latest_checkpoint(folder), load_latest_checkpoint(tmp_path)
    assert with_it is not None
    assert without is not None
    for name, tensor in without.state_dict.items():
        assert torch.equal(with_it.state_dict[name], tensor), name
    assert not (tmp_path / "best.pth").exists()


def test_a_worse_model_does_not_replace_the_best(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config(dataset, tmp_path, TRAIN_TOTAL_STEPS=4, TRAIN_SAVE_STEP=4)
    scores = iter([0.3, 0.6, 0.5, 0.6])
    monkeypatch.setattr(Validation, "_figures", lambda *_: {"video_0": np.array([next(scores)])})
    Trainer(cfg, tmp_path).run()
    assert [line["best"] for line in lines(tmp_path)] == [True, True, False, False]
    assert best_j(tmp_path, {}) == pytest.approx(0.6)
    assert torch.load(tmp_path / "best.pth", weights_only=True)["step"] == 2


def test_logits_that_are_not_finite_give_no_figures(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The masks would be background, which may have a J above 0. The training goes on."""
    decode = AOT.decode

    def spoil(self: AOT, *arguments: Any) -> torch.Tensor:
        logits = decode(self, *arguments)
        return logits if self.training else logits * torch.nan

    monkeypatch.setattr(AOT, "decode", spoil)
    Trainer(config(dataset, tmp_path), tmp_path).run()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [message.split(":")[:2] for message in warnings] == [
        [f"step {n}", " no J of video_0"] for n in (1, 2)
    ]
    assert not (tmp_path / "log" / "validation.jsonl").exists()
    assert not (tmp_path / "best.pth").exists()
    assert ema_path(tmp_path, 2).is_file()


@pytest.mark.parametrize(
    ("values", "replaced"),
    [
        ({"TRAIN_EVAL_SEQUENCES": 1}, True),
        ({"TEST_FLIP": True}, True),
        ({"LATTER_MEM_LEN": 2}, True),
        ({"TEST_READERS": 1, "TRAIN_LOG_STEP": 3}, False),
    ],
)
def test_figures_of_another_measurement_are_not_compared(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], replaced: bool
) -> None:
    scores = iter([0.6, 0.3, 0.2])
    monkeypatch.setattr(Validation, "_figures", lambda *_: {"video_0": np.array([next(scores)])})
    average: Any = nn.Linear(1, 1)
    (tmp_path / "log").mkdir()
    for step, changed in enumerate([{}, values, values], start=1):
        cfg = config(dataset, tmp_path, **changed)
        Validation(cfg, tmp_path, torch.device("cpu")).run_if_due(average, step, lambda: False)
    assert torch.load(tmp_path / "best.pth", weights_only=True)["step"] == (2 if replaced else 1)


def test_a_best_of_an_earlier_version_is_kept(dataset: Path, tmp_path: Path) -> None:
    """Its file does not state how it was measured."""
    torch.save({"state_dict": {}, "step": 1, "j": 0.6}, tmp_path / "best.pth")
    assert best_j(tmp_path, {"TEST_FLIP": True}) == 0.6


def test_a_best_that_cannot_be_read_counts_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "best.pth").write_bytes(b"damaged")
    assert best_j(tmp_path, {}) == best_j(tmp_path / "none", {})
    assert f"{tmp_path / 'best.pth'}: " in caplog.text


def test_an_interrupted_validation_is_repeated_on_resuming(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle of it saves the step, and the resuming run starts with the validation."""
    cfg = config(dataset, tmp_path, TRAIN_SAVE_STEP=2, TRAIN_EVAL_SEQUENCES=1)
    predictions = Validation._predictions

    def interrupted(self: Any, *arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return predictions(self, *arguments)

    monkeypatch.setattr(Validation, "_predictions", interrupted)
    with pytest.raises(KeyboardInterrupt, match=" 1 step"):
        Trainer(cfg, tmp_path).run()
    assert not (tmp_path / "log" / "validation.jsonl").exists()
    monkeypatch.setattr(Validation, "_predictions", predictions)
    Trainer(cfg, tmp_path).run()
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_lines_that_a_killed_run_left_are_removed(trained: tuple[Config, Path]) -> None:
    cfg, folder = trained
    for name in ("ckpt", "ema_ckpt"):
        (folder / name / "save_step_2.pth").unlink()
    before = lines(folder)
    Trainer(cfg, folder).run()
    again = lines(folder)
    assert [line["step"] for line in again] == [1, 2]
    assert [line["j"] for line in again] == [line["j"] for line in before]


@pytest.mark.parametrize("again", [[0.6, 0.4], [0.5, 0.55]])
def test_best_weights_that_a_killed_run_left_are_not_compared(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: list[float]
) -> None:
    """Killed after the validation of step 3, it resumes from step 2: J may be the same again, or lower."""
    scores = iter([0.2, 0.3, 0.6, *again])
    killing = True

    def figures(*_: Any) -> dict[str, Any]:
        return {"video_0": np.array([next(scores)])}

    def add(self: Any, done: int, j: float) -> None:
        if done == 3 and killing:
            raise ZeroDivisionError

    monkeypatch.setattr(Validation, "_figures", figures)
    monkeypatch.setattr(TrainLog, "add_validation", add)
    cfg = config(dataset, tmp_path, TRAIN_TOTAL_STEPS=4, TRAIN_SAVE_STEP=2)
    with pytest.raises(ZeroDivisionError):
        Trainer(cfg, tmp_path).run()
    killing = False
    Trainer(cfg, tmp_path).run()
    found = [(line["step"], line["j"]) for line in lines(tmp_path) if line["best"]]
    saved = torch.load(tmp_path / "best.pth", weights_only=True)
    assert found[-1] == (saved["step"], saved["j"]) == max([(3, again[0]), (4, again[1])], key=lambda b: b[1])


def test_a_missing_test_set_is_named_before_the_training(dataset: Path, tmp_path: Path) -> None:
    cfg = config(dataset, tmp_path, TEST_DATASET=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere: "):
        check_files(cfg, overwrite=False, evaluated=False)
    write_dataset(dataset.parent / "few", sequences=1, length=8)
    for mask in sorted((dataset.parent / "few" / "Annotations" / "video_0").glob("*"))[2:]:
        mask.unlink()
    with pytest.raises(DataError, match=r"video_0: .* 3 .*found 2"):
        Trainer(config(dataset, tmp_path, TEST_DATASET=str(dataset.parent / "few")), tmp_path / "run").run()
    cfg = config(dataset, tmp_path, TEST_DATASET_SPLIT="val")
    with pytest.raises(DataError, match=r"'val'.* train"):
        Trainer(cfg, tmp_path / "run").run()
