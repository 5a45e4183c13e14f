"""What makes a training step faster on a GPU does not change what is learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aot_plus.dataloaders.clips import Batch
from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.managers.learner import Learner
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.models import build_model, prepare
from tests.tiny_training import tiny_config
from tests.train_videos import write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "VOST"
    write_dataset(root, sequences=2)
    return root


def _learner(dataset: Path, **values: Any) -> tuple[Learner, Batch]:
    cfg = tiny_config(dataset, TRAIN_LSTT_DROPPATH=0.0, DATA_SEQ_LEN=2, TRAIN_BATCH_SIZE=1, **values)
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    return learner, next(iter(build_train_loader(cfg)))


def test_losses_stay_the_same(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(prepare, "COMPILE_BACKEND", backend)
    losses = []
    for values in ({}, {"TRAIN_CHANNELS_LAST": True}, {"TRAIN_COMPILE": True}):
        learner, batch = _learner(dataset, **values)
        losses.append(learner.train_step(batch, 0).loss)
        assert bool(graphs) == ("TRAIN_COMPILE" in values)
        convolution = learner.model.decoder.conv_16x.conv.weight
        layout = torch.channels_last if "TRAIN_CHANNELS_LAST" in values else torch.contiguous_format
        assert convolution.is_contiguous(memory_format=layout)
        assert not any(name.startswith("_orig_mod") for name in learner.state()["state_dict"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[2] == pytest.approx(losses[0], rel=1e-3)


def test_tf32_is_set_for_a_step_and_no_longer(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch = _learner(dataset, TRAIN_TF32=True)
    before, seen = torch.backends.cuda.matmul.allow_tf32, []

    def stop(*_: object, **__: object) -> None:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        raise InterruptedError

    monkeypatch.setattr(learner.model.encoder, "forward", stop)
    with pytest.raises(InterruptedError):
        learner.train_step(batch, 0)
    assert seen == [True]
    assert torch.backends.cuda.matmul.allow_tf32 == before
