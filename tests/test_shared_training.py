"""Training in several processes learns the same as one process that accumulates over the same batch."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import distributed

from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.managers import learner as learner_module
from aot_plus.networks.managers.learner import Learner
from aot_plus.networks.managers.processes import ProcessPlace, gather, process_group
from aot_plus.networks.models import build_model
from aot_plus.pipeline.launch import launch
from tests.tape import TapeRecorder
from tests.tiny_training import tiny_config
from tests.train_videos import write_dataset

VALUES: dict[str, Any] = {
    "TRAIN_BATCH_SIZE": 4,
    "TRAIN_LSTT_DROPPATH": 0.0,
    "MODEL_FREEZE_BN": True,
    "TRAIN_SEQ_TRAINING_FREEZE_PARAMS": ("patch_wise_id_bank",),
    "TRAIN_CLIP_GRAD_NORM": 1.0,
}


class Learned(NamedTuple):
    """The result of six training steps in one process."""

    losses: list[float]
    norms: list[float]
    weights: dict[str, torch.Tensor]
    reached: list[bool]  # per step: whether the identity bank's weights had gradients


def learn(dataset: Path, device: str = "cpu", **values: Any) -> tuple[Learner, Learned]:
    """Trains on this process's share of the batches. Each process starts with different weights."""
    place = ProcessPlace.from_environment()
    cfg = tiny_config(dataset, **(VALUES | values))
    torch.manual_seed(place.rank)
    learner = Learner(build_model(cfg), cfg, device=torch.device(device), place=place)
    results, reached = [], []
    for step, batch in enumerate(build_train_loader(cfg, 0, place.rank, place.world_size)):
        results.append(learner.train_step(batch, step))
        reached.append(learner.model.patch_wise_id_bank.weight.grad is not None)
    weights = {name: weight.cpu() for name, weight in learner.model.state_dict().items()}
    learned = Learned(
        [result.loss for result in results], [result.gradient_norm for result in results], weights, reached
    )
    return learner, learned


def learn_on_tape(dataset: Path) -> tuple[list[Learned], int]:
    """Trains in several processes; returns all their results and the number of replays in the first."""
    tape, place = TapeRecorder(), ProcessPlace.from_environment()
    vars(learner_module)["step_recorder"] = lambda device, wanted: (lambda: tape) if wanted else None
    with process_group(place, torch.device("cpu")):
        return gather(place, learn(dataset)[1]), tape.replays


def learn_on_gpus(dataset: Path, values: dict[str, Any]) -> tuple[list[Learned], list[int]]:
    """Trains in several processes on CUDA; returns all their results and their numbers of recordings.

    Uses gloo where processes share a GPU, which NCCL does not support.
    """
    place, count = ProcessPlace.from_environment(), torch.cuda.device_count()
    device = torch.device("cuda", place.rank % count)
    torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if count >= place.world_size else "gloo")
    learner, learned = learn(dataset, str(device), TRAIN_DEVICE="cuda", **values)
    recordings = 0 if learner._fixed is None else len(learner._fixed._graphs._recordings)
    found = gather(place, learned), gather(place, recordings)
    distributed.destroy_process_group()
    return found


def assert_learned_as_one(found: list[Learned], dataset: Path, rel: float) -> None:
    """Compares with one process that learns from both parts of a batch; all processes must be equal."""
    _, alone = learn(dataset, TRAIN_ACCUMULATION_STEPS=2)
    for one in found:
        assert one.losses == pytest.approx(alone.losses, rel=rel)
        assert one.norms == pytest.approx(alone.norms, rel=100 * rel)
        assert one.reached == alone.reached == [True] * 3 + [False] * 3
        assert all(torch.equal(weight, found[0].weights[name]) for name, weight in one.weights.items())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "VOST"
    write_dataset(root, sequences=2)
    return root


def test_recorded_steps_of_two_processes(dataset: Path, forked_processes: None) -> None:
    found, replays = launch(learn_on_tape, dataset, processes=2)
    assert len(found) == 2
    assert replays == 6 - 1
    assert_learned_as_one(found, dataset, rel=1e-4)
