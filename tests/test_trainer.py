"""The trainer: resuming, several processes, bad steps, folders already in use, the log."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Batch
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.managers import origin as origin_module
from aot_plus.networks.managers import stop_request, train_folder
from aot_plus.networks.managers import trainer as trainer_module
from aot_plus.networks.managers.learner import Learner
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.managers.random_state import get_random_state
from aot_plus.networks.managers.stop_request import StopRequest
from aot_plus.networks.managers.train_checkpoint import (
    TrainingCheckpoint,
    ema_path,
    load_latest_checkpoint,
    saved_steps,
)
from aot_plus.networks.managers.train_folder import decide_resume
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.models import build_model
from aot_plus.tools import train
from aot_plus.utils.config import config_to_dict, read_saved_config, read_saved_content, save_config
from aot_plus.utils.errors import CheckpointError, ConfigError, DataError, ProcessError, VOSError
from evaluation.digests import digest_file
from evaluation.signals import Terminated
from tests import forked
from tests.forked import Forked
from tests.processes import wait_until
from tests.tiny_training import as_flags, tiny_config
from tests.train_videos import write_dataset

SMALL: dict[str, Any] = {"DATA_RANDOMCROP": (33, 33)}  # half precision is slow on a CPU


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "VOST"
    write_dataset(root)
    return root


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Uses one thread, as the processes that the tests start do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def content(folder: Path) -> dict[str, Any]:
    """Reads the last checkpoint."""
    checkpoint = load_latest_checkpoint(folder)
    assert checkpoint is not None
    return vars(checkpoint)


def assert_same(first: Any, second: Any, path: str = "") -> None:
    """Compares bit for bit, recursively in dictionaries and lists."""
    if isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for index, (one, other) in enumerate(zip(first, second, strict=True)):
            assert_same(one, other, f"{path}/{index}")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    else:
        assert first == second, path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def log_lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log" / "train.jsonl").read_text().splitlines()]


def start_tool(cfg: Config, log: Path, **environment: str) -> Forked:
    """Starts ``aot_plus.tools.train`` in its own process."""
    return forked.start(train.main, ["--no_eval", *as_flags(cfg)], log=log, environment=environment)


def run_folder(cfg: Config) -> Path:
    return Path(cfg.DIR_RESULT) / f"{cfg.EXP_NAME}_{cfg.MODEL_NAME}" / cfg.STAGE_NAME


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(dataset: Path, tmp_path: Path) -> None:
    """Batch norms learn, paths are dropped, and there is a data worker."""
    cfg = tiny_config(dataset, DIR_RESULT=str(tmp_path / "results"), MODEL_FREEZE_BN=False, DATA_WORKERS=1)
    Trainer(cfg, tmp_path / "undisturbed").run()
    tool = start_tool(cfg, tmp_path / "killed.txt")
    wait_until(lambda: saved_steps(run_folder(cfg)), tool.process.is_alive, say=tool.output)
    tool.process.kill()
    assert tool.wait() == -signal.SIGKILL
    assert saved_steps(run_folder(cfg))[-1] < cfg.TRAIN_TOTAL_STEPS
    Trainer(cfg, run_folder(cfg)).run()
    assert_same(content(run_folder(cfg)), content(tmp_path / "undisturbed"))
    steps = [line["step"] for line in log_lines(run_folder(cfg))]
    assert steps == list(range(1, cfg.TRAIN_TOTAL_STEPS + 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_request_notes_the_first_signal_only(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop.signal is None
        for _ in range(2):  # a second, immediate signal is the same Ctrl-C arriving by another route
            os.kill(os.getpid(), number)
            assert stop.signal is number
        monkeypatch.setattr(stop_request, "_PATIENCE", -1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before


def test_a_stop_request_is_for_the_process_that_waits_for_it() -> None:
    """A forked data worker inherits it, and a terminal's Ctrl-C reaches both processes."""
    with StopRequest() as stop:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGINT)
            os._exit(0 if stop.signal is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_ctrl_c_while_the_data_workers_start_saves_first(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception there would be lost: Python discards exceptions raised during a fork."""
    make = Trainer._batches

    def interrupted(self: Trainer, *arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return make(self, *arguments)

    monkeypatch.setattr(Trainer, "_batches", interrupted)
    with pytest.raises(KeyboardInterrupt, match="saved after 1 step"):
        Trainer(tiny_config(dataset), tmp_path).run()
    assert saved_steps(tmp_path) == [1]


def test_a_signal_in_the_last_step_prevents_what_would_follow(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, the evaluation would start; and several processes would each wait for the launcher."""
    step_of = Learner.train_step

    def last(self: Learner, batch: Any, step: int) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return step_of(self, batch, step)

    monkeypatch.setattr(Learner, "train_step", last)
    with pytest.raises(Terminated, match=" 1 step"):
        Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    assert saved_steps(tmp_path) == [1]


def test_a_signal_saves_first(dataset: Path, tmp_path: Path) -> None:
    cfg = tiny_config(
        dataset, DIR_RESULT=str(tmp_path), TRAIN_TOTAL_STEPS=100000, TRAIN_SAVE_STEP=100000, DATA_WORKERS=1
    )
    tool = start_tool(cfg, tmp_path / "output.txt")
    log = run_folder(cfg) / "log" / "train.jsonl"
    wait_until(lambda: log.is_file() and log.read_text(), tool.process.is_alive, say=tool.output)
    os.killpg(tool.pid, signal.SIGTERM)  # as a terminal or torchrun does: the data workers get it too
    assert tool.wait() == 143
    (step,) = saved_steps(run_folder(cfg))
    assert log_lines(run_folder(cfg))[-1]["step"] == step


def test_two_processes_learn_the_same_as_one_with_two_parts(dataset: Path, tmp_path: Path) -> None:
    """They agree bit for bit, without dropped paths and batch norms, which each process handles on its own.

    One process that learns from the whole batch at once rounds differently: gradients differ by 1e-6 until
    the input of a ReLU is that close to 0 and changes its sign, which changes a gradient by a thousandth.
    """
    values: dict[str, Any] = {"TRAIN_BATCH_SIZE": 4, "TRAIN_LSTT_DROPPATH": 0.0, "MODEL_FREEZE_BN": True}
    validated = {"TRAIN_EVAL_STEPS": 6, "TRAIN_EVAL_SEQUENCES": 1, "TEST_DATASET": str(dataset)}
    cfg = tiny_config(
        dataset, DIR_RESULT=str(tmp_path / "two"), TEST_DATASET_SPLIT="train", **values, **validated
    )
    Trainer(tiny_config(dataset, TRAIN_ACCUMULATION_STEPS=2, **values), tmp_path / "one").run()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    places = [
        {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_PORT": port}
        for rank in "01"
    ]
    tools = [start_tool(cfg, tmp_path / place["RANK"], MASTER_ADDR="127.0.0.1", **place) for place in places]
    for tool in tools:
        assert tool.wait() == 0, tool.output()
    alone, shared = log_lines(tmp_path / "one"), log_lines(run_folder(cfg))
    assert len(alone) == len(shared) == cfg.TRAIN_TOTAL_STEPS
    for first, second in zip(alone, shared, strict=True):
        for name in ("step", "loss", "num_objects", "gradient_norm"):
            assert first[name] == second[name]
        assert first["mean_iou"] == pytest.approx(second["mean_iou"], abs=1e-6)  # summed in another order
    one, two = content(tmp_path / "one"), content(run_folder(cfg))
    assert_same(one["state_dict"], two["state_dict"])
    assert len(two["random_states"]) == 2
    validations = (run_folder(cfg) / "log" / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in validations] == [6]  # only one of the two validates


def test_each_process_has_its_own_random_numbers_and_resumes_with_them(dataset: Path, tmp_path: Path) -> None:
    def draw(rank: int, start: int = 0, checkpoint: TrainingCheckpoint | None = None) -> list[float]:
        Trainer(tiny_config(dataset), tmp_path, place=ProcessPlace(rank, 2, rank, 2))._seed(start, checkpoint)
        numbers: list[float] = torch.rand(3).tolist()
        return numbers

    assert draw(0) == draw(0)
    assert len({tuple(draw(rank, start)) for rank in (0, 1) for start in (0, 5)}) == 4
    states, following = [], []
    for rank in (0, 1):
        draw(rank)
        states.append(get_random_state())
        following.append(torch.rand(3).tolist())
    checkpoint = TrainingCheckpoint(1, {}, {}, {}, {}, states)
    assert [draw(rank, 1, checkpoint) for rank in (0, 1)] == following


def test_accumulated_parts_make_the_step_of_the_whole_batch(dataset: Path) -> None:
    states = []
    for parts in (1, 2):
        cfg = tiny_config(
            dataset, TRAIN_ACCUMULATION_STEPS=parts, TRAIN_LSTT_DROPPATH=0.0, MODEL_FREEZE_BN=True
        )
        torch.manual_seed(0)
        learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
        result = learner.train_step(next(iter(build_train_loader(cfg))), 0)
        states.append((result.loss, result.mean_iou, result.gradient_norm, result.predictions))
    assert states[0][:1] == pytest.approx(states[1][:1], rel=1e-5)
    assert states[0][1] == pytest.approx(states[1][1], nan_ok=True)
    assert states[0][2] == pytest.approx(states[1][2], rel=1e-4)
    assert torch.equal(states[0][3], states[1][3])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_weights_learn_from_clipped_gradients(dataset: Path, dtype: str) -> None:
    limit = 1e-3
    values = {"TRAIN_DTYPE": dtype, "TRAIN_BATCH_SIZE": 1, "DATA_SEQ_LEN": 2, **SMALL}
    cfg = tiny_config(dataset, TRAIN_CLIP_GRAD_NORM=limit, **values)
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    norms: list[float] = []

    def measure(*_: Any) -> None:
        found = [weight.grad for weight in learner.model.parameters() if weight.grad is not None]
        norms.append(float(torch.cat([gradient.flatten() for gradient in found]).norm()))

    learner.optimizer.register_step_pre_hook(measure)
    result = learner.train_step(next(iter(build_train_loader(cfg))), 0)
    assert result.updated
    assert result.gradient_norm > 2 * limit
    assert norms == [pytest.approx(limit, rel=1e-2)]


def test_gradients_that_overflow_skip_the_step_and_lower_the_loss_scale(dataset: Path) -> None:
    values = {"TRAIN_DTYPE": "float16", "TRAIN_BATCH_SIZE": 1, "DATA_SEQ_LEN": 2, **SMALL}
    cfg = tiny_config(dataset, MODEL_FREEZE_BN=False, **values)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    learner.scaler.load_state_dict({**learner.scaler.state_dict(), "scale": 2.0**40})
    before = {name: value.clone() for name, value in learner.model.state_dict().items()}
    result = learner.train_step(next(iter(build_train_loader(cfg))), 0)
    assert not result.updated
    assert result.loss < 100
    assert_same(dict(learner.model.state_dict()), before)
    assert learner.ema.updates == 0
    resumed = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    resumed.load_state(learner.state())
    assert learner.scaler.get_scale() == resumed.scaler.get_scale() == 2.0**39


def test_the_averaged_model_follows_the_buffers(dataset: Path, tmp_path: Path) -> None:
    cfg = tiny_config(dataset, MODEL_FREEZE_BN=False, TRAIN_TOTAL_STEPS=2, TRAIN_EMA_RATIO=5.0)
    path = Trainer(cfg, tmp_path).run()
    averaged = torch.load(path, weights_only=True)["state_dict"]
    trained = content(tmp_path)["state_dict"]
    assert torch.equal(averaged["encoder.bn1.running_mean"], trained["encoder.bn1.running_mean"])
    assert averaged["encoder.bn1.running_mean"].abs().sum() > 0
    assert not torch.equal(averaged["encoder.conv1.weight"], trained["encoder.conv1.weight"])


def test_the_values_of_the_config_reach_the_step(dataset: Path) -> None:
    """Learning rates, weight decay and average; each value differs from its default."""
    cfg = tiny_config(
        dataset,
        TRAIN_TOTAL_STEPS=100,
        TRAIN_BATCH_SIZE=1,
        DATA_SEQ_LEN=2,
        TRAIN_LR=1e-3,
        TRAIN_LR_MIN=2e-4,
        TRAIN_LR_POWER=2.0,
        TRAIN_LR_WARM_UP_RATIO=0.2,
        TRAIN_LR_ENCODER_RATIO=0.5,
        TRAIN_WEIGHT_DECAY=0.03,
        TRAIN_WEIGHT_DECAY_EXEMPTION=("encoder_projector",),
        TRAIN_SEQ_TRAINING_FREEZE_PARAMS=("patch_wise_id_bank",),
        TRAIN_ENCODER_FREEZE_AT=2,
        TRAIN_EMA_RATIO=0.012,
        **SMALL,
    )
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    batch = next(iter(build_train_loader(cfg)))
    first = learner.model.decoder.conv_out.weight.detach().clone()
    for step, rate, bank in ((10, 6e-4, (6e-4, 0.03)), (60, 4e-4, (0.0, 0.0))):
        assert learner.train_step(batch, step).rate == pytest.approx(rate)
        names = {id(weight): name for name, weight in learner.model.named_parameters()}
        found = {
            names[id(weight)]: (group["lr"], group["weight_decay"])
            for group in learner.optimizer.param_groups
            for weight in group["params"]
        }
        assert found["decoder.conv_out.weight"] == pytest.approx((rate, 0.03))
        assert found["encoder_projector.weight"] == pytest.approx((rate, 0.0))
        assert found["encoder.layer2.0.conv1.weight"] == pytest.approx(((rate + 2e-4) / 2, 0.03))
        assert found["patch_wise_id_bank.weight"] == pytest.approx(bank)
        assert not any(name.startswith("encoder.layer1") for name in found)
        if step == 10:  # the decay is 1 - 1 / (0.012 * 100) = 1/6, below the warm-up's 2/11
            expected = first.lerp(learner.model.decoder.conv_out.weight, 5 / 6)
            averaged = learner.average.decoder.conv_out.weight
            torch.testing.assert_close(averaged, expected, rtol=0.0, atol=1e-6)


def test_the_share_of_predictions_follows_its_schedule(dataset: Path) -> None:
    values = {"START_RATIO": 0.1, "END_RATIO": 0.5, "FINAL_SHARE": 0.85}
    cfg = tiny_config(
        dataset,
        TRAIN_TOTAL_STEPS=2000,
        **{f"TRAIN_SEQ_TRAINING_{name}": value for name, value in values.items()},
    )
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    commits = [learner.commits_predictions(step) for step in range(2000)]
    assert sum(commits[:200]) == 0
    assert 0.32 < sum(commits[500:700]) / 200 < 0.53  # 0.425 halfway up the ramp
    assert 0.81 < sum(commits[1000:]) / 1000 < 0.89


def changed_loader(change: Callable[[Iterable[Batch], int], Iterator[Batch]]) -> Any:
    """Returns a ``build_train_loader`` whose batches, from a given step on, pass through ``change``."""

    def build(cfg: Config, start: int, rank: int, count: int) -> Any:
        loader = build_train_loader(cfg, start, rank, count)

        class Changed:
            dataset = loader.dataset

            def __iter__(self) -> Iterator[Batch]:
                return change(loader, start)

        return Changed()

    return build


def spoiled(steps: set[int]) -> Any:
    """Returns a ``build_train_loader`` that makes the images of some steps NaN."""

    def spoil(batches: Iterable[Batch], start: int) -> Iterator[Batch]:
        for step, batch in enumerate(batches, start):
            yield replace(batch, images=batch.images * torch.nan) if step in steps else batch

    return changed_loader(spoil)


def test_a_line_of_the_log_says_how_many_steps_it_averages(dataset: Path, tmp_path: Path) -> None:
    """After a resume, the steps of the killed run are missing from the first one."""
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2, TRAIN_LOG_STEP=3, TRAIN_SAVE_STEP=2, **SMALL)
    Trainer(cfg, tmp_path).run()
    cfg.TRAIN_TOTAL_STEPS = 4
    Trainer(cfg, tmp_path, resume=True).run()
    assert [(line["step"], line["steps"]) for line in log_lines(tmp_path)] == [(2, 2), (3, 1), (4, 1)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_step_that_is_not_finite_is_skipped_and_counted(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    monkeypatch.setattr(trainer_module, "build_train_loader", spoiled({1, 2}))
    cfg = tiny_config(
        dataset,
        TRAIN_MAX_BAD_STEPS=3,
        TRAIN_DTYPE=dtype,
        TRAIN_BATCH_SIZE=1,
        MODEL_FREEZE_BN=False,
        TRAIN_TOTAL_STEPS=4,
        **SMALL,
    )
    Trainer(cfg, tmp_path).run()
    lines = log_lines(tmp_path)
    assert [line["loss"] is None for line in lines] == [False, True, True, False]
    assert lines[-1]["skipped_in_all"] == 2
    saved = content(tmp_path)
    assert saved["counters"] == {"skipped": 2, "bad_in_a_row": 0}
    assert saved["ema"]["updates"] == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in saved["state_dict"].values())


def test_too_many_bad_steps_end_the_run_and_name_the_batch(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer_module, "build_train_loader", spoiled({2, 3, 4}))
    cfg = tiny_config(dataset, TRAIN_MAX_BAD_STEPS=3, TRAIN_TOTAL_STEPS=8)
    with pytest.raises(VOSError, match=r"step 4: 3 steps .*video_\d.*video_\d"):
        Trainer(cfg, tmp_path).run()


def test_a_used_folder_is_not_mixed_with_a_new_run(dataset: Path, tmp_path: Path) -> None:
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2)
    Trainer(cfg, tmp_path).run()
    (tmp_path / "eval").mkdir()
    other = tiny_config(dataset, TRAIN_TOTAL_STEPS=2, TRAIN_LR=1e-3)
    with pytest.raises(ConfigError, match=r"TRAIN_LR .*0\.0006.* 0\.001.*--resume.*--overwrite"):
        Trainer(other, tmp_path).run()
    with pytest.raises(ConfigError, match=f"{tmp_path}: .* 2 steps"):
        Trainer(cfg, tmp_path, resume=False).run()
    with pytest.raises(ConfigError, match=f"{tmp_path}/empty: .*resume"):
        Trainer(cfg, tmp_path / "empty", resume=True).run()
    longer = tiny_config(dataset, TRAIN_TOTAL_STEPS=4, TEST_FLIP=True)
    assert Trainer(longer, tmp_path, resume=True).run() == ema_path(tmp_path, 4)
    Trainer(other, tmp_path, overwrite=True).run()
    assert saved_steps(tmp_path) == [2]
    assert [line["step"] for line in log_lines(tmp_path)] == [1, 2]
    assert (tmp_path / "eval").is_dir()


def test_processes_that_find_different_checkpoints_are_an_error(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would average gradients of different weights, and the last to finish would wait forever."""
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=2), tmp_path).run()
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=4)
    monkeypatch.setattr(train_folder, "gather", lambda place, step: [step, 1, 0])
    with pytest.raises(ConfigError, match=rf"^{tmp_path}: .*\b2 .*\b0, 1 .*\b1, 0 .*\b2\b"):
        Trainer(cfg, tmp_path, resume=True).run()
    assert read_saved_config(tmp_path / "config.yaml")["TRAIN_TOTAL_STEPS"] == 2


@pytest.mark.parametrize("frozen", [True, False])
def test_other_parts_of_a_batch_are_another_training_where_batch_norms_learn(
    dataset: Path, tmp_path: Path, frozen: bool
) -> None:
    cfg, other = (
        tiny_config(dataset, MODEL_FREEZE_BN=frozen, TRAIN_ACCUMULATION_STEPS=parts) for parts in (1, 2)
    )
    save_config(cfg, tmp_path / "config.yaml")
    for name in ("ckpt", "ema_ckpt"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "save_step_2.pth").touch()
    assert decide_resume(cfg, tmp_path, resume=None, overwrite=False)
    if frozen:
        assert decide_resume(other, tmp_path, resume=None, overwrite=False)
    else:
        with pytest.raises(ConfigError, match=r"TRAIN_ACCUMULATION_STEPS .*1.* 2"):
            decide_resume(other, tmp_path, resume=None, overwrite=False)


@pytest.mark.parametrize("kept", ["best.pth", "ema_ckpt/save_step_2.pth", "ckpt/save_step_2.pth"])
def test_weights_without_their_checkpoint_are_not_removed_unasked(
    dataset: Path, tmp_path: Path, kept: str
) -> None:
    """For example, the other files may have been removed for their size."""
    (tmp_path / kept).parent.mkdir(exist_ok=True)
    (tmp_path / kept).touch()
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=1)
    with pytest.raises(ConfigError, match=rf"\({kept}\).*--overwrite"):
        Trainer(cfg, tmp_path).run()
    assert (tmp_path / kept).exists()
    Trainer(cfg, tmp_path, overwrite=True).run()
    assert saved_steps(tmp_path) == [1]
    assert not (tmp_path / kept).exists()


def test_a_training_without_its_config_resumes_only_if_asked(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    (tmp_path / "config.yaml").unlink()
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2)
    with pytest.raises(ConfigError, match=r"config\.yaml is missing.*--resume"):
        Trainer(cfg, tmp_path).run()
    Trainer(cfg, tmp_path, resume=True).run()
    assert "config.yaml is missing" in caplog.text
    assert read_saved_config(tmp_path / "config.yaml") == config_to_dict(cfg)


@pytest.mark.parametrize(("states", "named"), [([{}], "no usable random states"), ([{}, {}], "")])
def test_random_states_that_are_damaged_or_of_other_processes(
    dataset: Path, tmp_path: Path, states: list[Any], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    path = tmp_path / "ckpt" / "save_step_1.pth"
    torch.save({**torch.load(path, weights_only=True), "random_states": states}, path)
    training = Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=2), tmp_path, resume=True)
    if named:
        with pytest.raises(CheckpointError, match=rf"{tmp_path}: .*step 1 .*{named}"):
            training.run()
    else:
        training.run()
        assert "in 2 processes and resumes in 1" in caplog.text


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("video_0 video_1 video_2", ""),
        ("video_0 video_1", r"step 1: 3 .* 2 "),
        ("video_0 video_1 video_3", r"step 1: 3 .* 3 "),
    ],
)
def test_a_training_list_that_changed_is_named(
    dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, names: str, said: str
) -> None:
    videos = tmp_path / "VOST"
    shutil.copytree(dataset, videos)
    for folder in ("JPEGImages_10fps", "Annotations"):
        shutil.copytree(videos / folder / "video_0", videos / folder / "video_3")
    Trainer(tiny_config(videos, TRAIN_TOTAL_STEPS=1), tmp_path / "run").run()
    (videos / "ImageSets" / "train.txt").write_text(names.replace(" ", "\n"))
    Trainer(tiny_config(videos, TRAIN_TOTAL_STEPS=2), tmp_path / "run", resume=True).run()
    warnings = [one.getMessage() for one in caplog.records if "training data" in one.getMessage()]
    assert len(warnings) == bool(said)
    assert all(re.search(said, warning) for warning in warnings)
    assert content(tmp_path / "run")["data"]["items"] == len(names.split())


def test_a_training_resumes_with_changed_code_and_a_warning(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2)
    Trainer(cfg, tmp_path).run()
    saved = read_saved_content(tmp_path / "config.yaml")
    assert (list(saved["origin"]), "resumed" in saved) == (["the project's code"], False)
    Trainer(cfg, tmp_path).run()
    assert "the project's code" not in caplog.text
    monkeypatch.setattr(origin_module, "_digest_code", lambda places: "edited")
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=3), tmp_path, resume=True).run()
    assert "the project's code" in caplog.text
    saved = read_saved_content(tmp_path / "config.yaml")
    assert saved["origin"] == {"the project's code": "edited"}
    (changes,) = (entry["changed"] for entry in saved["resumed"])
    assert ["the project's code" in change for change in changes] == [False, True]


def test_an_encoder_from_another_file_is_part_of_the_origin(dataset: Path, tmp_path: Path) -> None:
    """The initial weights have another encoder than the model."""
    other = tiny_config(dataset, MODEL_ENCODER="resnet50")
    start, encoder, run = (tmp_path / name for name in ("start.pth", "encoder.pth", "run"))
    torch.save(build_model(other).state_dict(), start)
    values = {"PRETRAIN_MODEL": str(start), "PRETRAIN_ENCODER": str(encoder)}
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=1, **values)
    torch.save(build_model(cfg).encoder.state_dict(), encoder)
    digest = digest_file(encoder)

    def origin() -> dict[str, str]:
        return read_saved_content(run / "config.yaml")["origin"]

    Trainer(cfg, run).run()
    names = ["the initial weights' content", "the initial encoder's content", "the project's code"]
    assert sorted(origin()) == sorted(names)
    assert origin()["the initial encoder's content"] == digest
    encoder.unlink()
    cfg.TRAIN_TOTAL_STEPS = 2
    Trainer(cfg, run, resume=True).run()
    assert origin()["the initial encoder's content"] == digest


def test_a_start_that_fails_overwrites_nothing(dataset: Path, tmp_path: Path) -> None:
    """An error in the initial weights shows only when they are loaded into the model."""
    run, initial = tmp_path / "run", tmp_path / "initial.pth"
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=2), run).run()
    before = files(run)
    initial.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=f"^{initial}: "):
        Trainer(tiny_config(dataset, PRETRAIN_MODEL=str(initial)), run, overwrite=True).run()
    assert files(run) == before
    assert read_saved_config(run / "config.yaml")["TRAIN_TOTAL_STEPS"] == 2


@pytest.mark.parametrize("name", ["ckpt", "ema_ckpt", "log"])
def test_a_file_in_the_place_of_a_folder_is_named_first(dataset: Path, tmp_path: Path, name: str) -> None:
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=1)
    Trainer(cfg, tmp_path).run()
    shutil.rmtree(tmp_path / name)
    (tmp_path / name).write_text("redirected output")
    before = files(tmp_path)
    with pytest.raises(DataError, match=rf"/{name}: .*found a file"):
        Trainer(cfg, tmp_path, overwrite=True).run()
    assert files(tmp_path) == before


def test_data_without_a_clip_overwrite_nothing(dataset: Path, tmp_path: Path) -> None:
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    before = files(tmp_path)
    with pytest.raises(DataError, match="DATA_SEQ_LEN"):
        Trainer(tiny_config(dataset, DATA_SEQ_LEN=500), tmp_path, overwrite=True).run()
    assert files(tmp_path) == before


def test_a_training_starts_from_the_one_that_it_overwrites(dataset: Path, tmp_path: Path) -> None:
    first = Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=2), tmp_path).run()
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=1, PRETRAIN_MODEL=str(first))
    assert Trainer(cfg, tmp_path, overwrite=True).run() == ema_path(tmp_path, 1)
    assert saved_steps(tmp_path) == [1]


def test_a_checkpoint_that_cannot_be_removed_is_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it were silently left there, the next run would resume it."""
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=2), tmp_path).run()
    unlink = Path.unlink

    def refuse(path: Path, **values: Any) -> None:
        if path.name == "save_step_2.pth":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, **values)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DataError, match=f"^{tmp_path}/ckpt/save_step_2.pth: "):
        Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path, overwrite=True).run()


def test_a_second_training_in_the_folder_is_refused(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, other = (tiny_config(dataset, TRAIN_TOTAL_STEPS=2, TRAIN_LR=rate) for rate in (6e-4, 1e-3))

    def load(batches: Iterable[Batch], start: int) -> Iterator[Batch]:
        for batch in batches:
            for flags in ({}, {"resume": True}, {"overwrite": True}):
                with pytest.raises(DataError, match=f"process {os.getpid()} "):
                    Trainer(other, tmp_path, **flags).run()
            yield batch

    monkeypatch.setattr(trainer_module, "build_train_loader", changed_loader(load))
    Trainer(cfg, tmp_path).run()
    assert saved_steps(tmp_path) == [2]
    assert read_saved_config(tmp_path / "config.yaml")["TRAIN_LR"] == 6e-4
    assert list(tmp_path.glob(".*")) == []


def test_a_complete_training_is_left_as_it_is(dataset: Path, tmp_path: Path) -> None:
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2)
    path = Trainer(cfg, tmp_path).run()
    before = path.stat().st_mtime_ns
    assert Trainer(cfg, tmp_path).run() == path
    other = tiny_config(dataset, TRAIN_TOTAL_STEPS=1, TRAIN_LR=1e-3)
    assert Trainer(other, tmp_path, resume=True).run() == path
    assert path.stat().st_mtime_ns == before
    assert read_saved_config(tmp_path / "config.yaml") == config_to_dict(cfg)


def test_a_checkpoint_of_another_model_is_named(dataset: Path, tmp_path: Path) -> None:
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=2), tmp_path).run()
    wider = tiny_config(dataset, MODEL_ENCODER_EMBEDDING_DIM=64)
    with pytest.raises(CheckpointError, match=r"step 2 .*\b32\b.*\b64\b.* \d+ more$"):
        Trainer(wider, tmp_path, resume=True).run()
    with pytest.raises(CheckpointError, match=r"step 2 .*LSTT\.layers\.1\.") as caught:
        Trainer(tiny_config(dataset, MODEL_LSTT_NUM=2), tmp_path, resume=True).run()
    assert len(str(caught.value)) < len(str(tmp_path)) + 300  # without the names of all tensors
    saved = read_saved_config(tmp_path / "config.yaml")
    assert saved["MODEL_ENCODER_EMBEDDING_DIM"] == 32  # the value that matches the saved weights


def test_a_resumed_training_takes_the_weight_decay_of_its_config(dataset: Path, tmp_path: Path) -> None:
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2, TRAIN_WEIGHT_DECAY=0.5)
    Trainer(cfg, tmp_path, resume=True).run()
    groups = content(tmp_path)["optimizer"]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.0, 0.5}


def test_weights_in_other_groups_are_not_mixed_up(dataset: Path, tmp_path: Path) -> None:
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2, TRAIN_WEIGHT_DECAY_EXEMPTION=("encoder",))
    with pytest.raises(CheckpointError, match=f"^{tmp_path}: .*step 1 .*TRAIN_WEIGHT_DECAY_EXEMPTION"):
        Trainer(cfg, tmp_path, resume=True).run()


def test_weights_in_another_order_are_not_mixed_up(dataset: Path, tmp_path: Path) -> None:
    """The optimizer's state has indices, not names; resumed like this, it would belong to other weights."""
    cfg = tiny_config(dataset, TRAIN_TOTAL_STEPS=2)
    Trainer(cfg, tmp_path).run()
    path = tmp_path / "ckpt" / "save_step_2.pth"
    saved = torch.load(path, weights_only=True)
    saved["state_dict"] = dict(reversed(saved["state_dict"].items()))
    torch.save(saved, path)
    with pytest.raises(CheckpointError, match=f"{tmp_path}: .*step 2 .*order"):
        Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=4), tmp_path, resume=True).run()


def test_the_log_and_its_pictures(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = tiny_config(dataset, TRAIN_LOG_STEP=2, TRAIN_IMG_LOG=3, TRAIN_TOTAL_STEPS=4, **SMALL)
    Trainer(cfg, tmp_path).run()
    lines = log_lines(tmp_path)
    assert [line["step"] for line in lines] == [2, 4]
    assert len(lines[0]["mean_iou"]) == cfg.DATA_SEQ_LEN
    assert [line["sequential_share"] for line in lines] == [0.0, 1.0]
    with Image.open(tmp_path / "log" / "pictures" / "step_3.png") as picture:
        assert picture.width > 3 * 33
    assert sorted(path.name for path in (tmp_path / "log" / "pictures").iterdir()) == ["step_3.png"]
    bar = capsys.readouterr().err
    assert all(word in bar for word in ("loss=", "mIoU=", "lr=", "4/4"))


def test_tensorboard_gets_the_lines_of_the_log(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scalars: list[tuple[str, float, int]] = []

    class FakeWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert (folder, purge_step) == (str(tmp_path / "log" / "tensorboard"), 1)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars.append((name, value, step))

        def close(self) -> None:
            scalars.append(("closed", 0.0, 0))

    module = ModuleType("torch.utils.tensorboard")
    monkeypatch.setattr(module, "SummaryWriter", FakeWriter, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1, TRAIN_TBLOG=True), tmp_path).run()
    (line,) = log_lines(tmp_path)
    assert ("train/loss", line["loss"], 1) in scalars
    assert any(name == "train/mean_iou" for name, _, _ in scalars)
    assert scalars[-1][0] == "closed"


def test_tensorboard_that_is_not_installed_is_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    Trainer(tiny_config(dataset, TRAIN_TOTAL_STEPS=1), tmp_path).run()
    with pytest.raises(ConfigError, match="TRAIN_TBLOG: "):
        Trainer(tiny_config(dataset, TRAIN_TBLOG=True), tmp_path, overwrite=True).run()
    assert saved_steps(tmp_path) == [1]


def test_an_unreadable_frame_is_named_without_a_traceback(tmp_path: Path) -> None:
    root = tmp_path / "VOST"
    write_dataset(root, sequences=1)
    for image in (root / "JPEGImages_10fps" / "video_0").iterdir():
        image.write_bytes(b"nonsense")
    cfg = tiny_config(root, DATA_WORKERS=1)
    with pytest.raises(DataError, match=r"^\S*video_0/\d{5}\.png: [^\n]*$"):
        Trainer(cfg, tmp_path / "run").run()
    assert multiprocessing.active_children() == []  # the worker ended with the training


class Fails(VOSTDataset):
    """A custom layout with an error."""

    def list_images(self, name: str) -> tuple[Path, ...]:
        raise KeyError(name)


def test_an_error_in_a_custom_layout_is_named_without_a_traceback(dataset: Path, tmp_path: Path) -> None:
    cfg = tiny_config(dataset, DATA_WORKERS=1, DATA_LAYOUT=f"{__name__}:Fails")
    with pytest.raises(ConfigError, match=rf"^the layout '{__name__}:Fails': KeyError [^\n]*$"):
        Trainer(cfg, tmp_path).run()


@pytest.mark.parametrize("exchanging", [False, True])
def test_a_data_worker_that_was_killed_is_named(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanging: bool
) -> None:
    """This happens when memory runs out. PyTorch raises its error wherever the training happens to be."""

    def kill(*_: Any) -> None:
        try:
            for worker in multiprocessing.active_children():
                worker.kill()
            time.sleep(60)
        except RuntimeError as error:
            raise (ProcessError(f"it stopped ({error})") if exchanging else error) from None

    monkeypatch.setattr(Learner, "train_step", kill)
    with pytest.raises(VOSError, match=r"^DATA_WORKERS: .* 2 .*\(pid .*DATA_WORKERS=1$") as raised:
        Trainer(tiny_config(dataset, DATA_WORKERS=2), tmp_path).run()
    assert raised.type is VOSError


def test_a_lack_of_memory_is_an_error_that_says_what_needs_less(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Learner, "train_step", fail)
    with pytest.raises(VOSError, match=r"2\.00 GiB\n.*TRAIN_ACCUMULATION_STEPS"):
        Trainer(tiny_config(dataset), tmp_path).run()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"TRAIN_BATCH_SIZE": 3, "TRAIN_ACCUMULATION_STEPS": 2},
            r"TRAIN_BATCH_SIZE: expected .*\(2\), found 3",
        ),
        ({"TRAIN_ENCODER_FREEZE_AT": 9}, "TRAIN_ENCODER_FREEZE_AT: .* 9"),
        ({"DATASETS": ("vost",), "DIR_DATA": "nowhere"}, r"nowhere/VOST.*vostdataset\.org"),
    ],
)
def test_bad_values_are_named(dataset: Path, tmp_path: Path, values: dict[str, Any], message: str) -> None:
    cfg = tiny_config(dataset)
    for name, value in values.items():
        setattr(cfg, name, value)
    with pytest.raises(VOSError, match=message):
        Trainer(cfg, tmp_path).run()


def test_the_tool_reports_a_missing_pretrained_file(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = tiny_config(dataset, DIR_RESULT=str(tmp_path), PRETRAIN_MODEL="R50_AOTL_PRE_YTB_DAV.pth")
    cfg.DIR_PRETRAIN = str(tmp_path)
    assert train.main(["--no_eval", *as_flags(cfg)]) == 1
    message = capsys.readouterr().err
    assert f"{tmp_path}/R50_AOTL_PRE_YTB_DAV.pth" in message
    assert "aot-benchmark" in message
