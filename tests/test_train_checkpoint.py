"""Training checkpoints: resuming bit for bit, keeping the last few, skipping damaged ones."""

import logging
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aot_plus.networks.managers.ema import ModelEMA
from aot_plus.networks.managers.random_state import get_random_state, set_random_state
from aot_plus.networks.managers.train_checkpoint import (
    TrainingCheckpoint,
    load_latest_checkpoint,
    save_checkpoint,
    saved_steps,
)
from aot_plus.utils.errors import CheckpointError


class TinyTraining:
    """Model, optimizer and EMA of a training whose inputs come from all three random number generators."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.optimizer = torch.optim.AdamW([{"params": self.model.parameters(), "role": "main"}], lr=0.1)
        self.ema = ModelEMA(self.model, 100, 0.1)
        self.step = 0

    def train(self, steps: int) -> None:
        for _ in range(steps):
            scale = random.random() + random.gauss(0, 1) + np.random.standard_normal()
            self.optimizer.zero_grad()
            (self.model(torch.randn(6, 4)).square().mean() * scale).backward()
            self.optimizer.step()
            self.ema.update(self.model)
            self.step += 1

    def checkpoint(self) -> TrainingCheckpoint:
        return TrainingCheckpoint(
            step=self.step,
            state_dict=self.model.state_dict(),
            optimizer=self.optimizer.state_dict(),
            scaler=torch.amp.GradScaler("cuda", enabled=False).state_dict(),
            ema=self.ema.state_dict(),
            random_states=[get_random_state()],
            counters={"skipped": 2},
        )

    def load(self, checkpoint: TrainingCheckpoint) -> None:
        self.model.load_state_dict(checkpoint.state_dict)
        self.optimizer.load_state_dict(dict(checkpoint.optimizer))
        self.ema.load_state_dict(checkpoint.ema)
        self.step = checkpoint.step
        set_random_state(checkpoint.random_states[0])

    def weights(self) -> list[Tensor]:
        return [*self.model.state_dict().values(), *self.ema.model.state_dict().values()]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(1)
    np.random.seed(2)


def small_checkpoint(step: int, value: float = 0.0) -> TrainingCheckpoint:
    weights = {"w": torch.full((100,), value)}
    ema = {"state_dict": weights, "updates": step}
    return TrainingCheckpoint(step, weights, {}, {}, ema, [get_random_state()])


def test_the_random_state_of_cuda_is_restored_where_cuda_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[Tensor] = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([7]))
    monkeypatch.setattr(torch.cuda, "set_rng_state", restored.append)
    assert "cuda" not in get_random_state()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    state = get_random_state()
    set_random_state(state)
    assert restored == [torch.tensor([7])]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    set_random_state(state)  # a training that goes on on a CPU
    assert len(restored) == 1


def save_small(folder: Path, *steps: int, keep: int = 8) -> None:
    for step in steps:
        save_checkpoint(folder, small_checkpoint(step, float(step)), keep)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_resumed_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    undisturbed = TinyTraining()
    undisturbed.train(3)  # an odd number of normal draws, so the generators hold back one half of a pair
    save_checkpoint(tmp_path, undisturbed.checkpoint(), keep=8)
    undisturbed.train(4)

    resumed = TinyTraining()
    resumed.train(1)
    checkpoint = load_latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.counters == {"skipped": 2}
    resumed.load(checkpoint)
    resumed.train(4)
    assert all(torch.equal(a, b) for a, b in zip(undisturbed.weights(), resumed.weights(), strict=True))
    assert resumed.step == undisturbed.step == 7
    assert resumed.ema.updates == 7


def test_both_files_hold_evaluable_weights(tmp_path: Path) -> None:
    training = TinyTraining()
    training.train(2)
    path = save_checkpoint(tmp_path, training.checkpoint(), keep=8)
    assert path == tmp_path / "ckpt" / "save_step_2.pth"
    assert files(tmp_path) == ["ckpt/save_step_2.pth", "ema_ckpt/save_step_2.pth"]
    for model, file in ((training.model, path), (training.ema.model, tmp_path / "ema_ckpt" / path.name)):
        loaded = torch.load(file, weights_only=True)["state_dict"]
        assert loaded.keys() == model.state_dict().keys()
        assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())


def test_nothing_saved(tmp_path: Path) -> None:
    assert load_latest_checkpoint(tmp_path / "missing") is None
    assert saved_steps(tmp_path / "missing") == []


def test_the_last_few_are_kept_by_number(tmp_path: Path) -> None:
    save_small(tmp_path, 5, 500, 1000, 10_000, keep=2)
    names = ["save_step_1000.pth", "save_step_10000.pth"]
    assert files(tmp_path) == [f"{folder}/{name}" for folder in ("ckpt", "ema_ckpt") for name in names]
    assert saved_steps(tmp_path) == [1000, 10_000]


def test_saving_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2)
    (tmp_path / "ckpt" / "save_step_1.pth").unlink()  # killed while removing the pair
    (tmp_path / "ckpt" / ".save_step_3.abc.pth").write_bytes(b"half")
    (tmp_path / "ckpt" / "notes.txt").write_text("mine")
    save_small(tmp_path, 3, keep=2)
    names = ["save_step_2.pth", "save_step_3.pth"]
    expected = [f"{folder}/{name}" for folder in ("ckpt", "ema_ckpt") for name in names]
    assert files(tmp_path) == sorted([*expected, "ckpt/notes.txt"])


def test_an_incomplete_pair_is_passed_over(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2)
    (tmp_path / "ckpt" / "save_step_2.pth").unlink()  # killed between the two files
    checkpoint = load_latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 1


def _truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("not a checkpoint")


def _flip(path: Path) -> None:
    """Changes one byte of the stored tensor."""
    data = bytearray(path.read_bytes())
    data[data.index(torch.full((4,), 2.0).numpy().tobytes())] ^= 0xFF
    path.write_bytes(bytes(data))


def _foreign(path: Path) -> None:
    torch.save([1, 2], path)


def _weights_only(path: Path) -> None:
    torch.save({"state_dict": {}}, path)


def _other_step(path: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "step": 7}, path)


def _other_type(path: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "state_dict": [1, 2]}, path)


DAMAGE = [_truncate, _empty, _text, _flip, _foreign, _weights_only, _other_step, _other_type]


@pytest.mark.parametrize("folder", ["ckpt", "ema_ckpt"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_falls_back_with_a_warning(
    tmp_path: Path, folder: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save_small(tmp_path, 1, 2)
    damage(tmp_path / folder / "save_step_2.pth")
    with caplog.at_level(logging.WARNING):
        checkpoint = load_latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert torch.equal(checkpoint.state_dict["w"], torch.ones(100))
    assert str(tmp_path / folder / "save_step_2.pth") in caplog.text


def test_the_damaged_one_does_not_push_out_good_ones(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2, 5)
    _truncate(tmp_path / "ckpt" / "save_step_5.pth")
    save_small(tmp_path, 3, keep=2)
    assert saved_steps(tmp_path) == [2, 3, 5]


def test_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    save_small(tmp_path, 1, 2)
    for step in (1, 2):
        _truncate(tmp_path / "ckpt" / f"save_step_{step}.pth")
    with pytest.raises(CheckpointError, match=r"save_step_2\.pth.*save_step_1\.pth"):
        load_latest_checkpoint(tmp_path)


class Unsaveable:
    def __reduce__(self) -> str:
        raise ZeroDivisionError


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    save_small(tmp_path, 1)
    broken = small_checkpoint(1)
    broken.optimizer = {"state": Unsaveable()}
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path, broken, keep=8)
    broken.step = 2
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(tmp_path, broken, keep=8)
    assert files(tmp_path) == ["ckpt/save_step_1.pth", "ema_ckpt/save_step_1.pth"], "nor half of a pair"
    assert load_latest_checkpoint(tmp_path) is not None
