"""The cost of a training step: every frame is encoded once; recomputed activations are not kept."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aot_plus.configs import Config
from aot_plus.networks.engines.training import Clips, LossSchedule, TrainingEngine, TrainOutput
from aot_plus.networks.models import AOT, build_model
from aot_plus.utils.config import get_config
from tests.tiny_training import TINY

FRAMES, BATCH, SIDE = 15, 2, 49


def config(model: str = "aot_mini", **values: Any) -> Config:
    return get_config("mini_vost", model, overrides=TINY | {"TRAIN_LSTT_DROPPATH": 0.0} | values)


def model_of(cfg: Config) -> AOT:
    torch.manual_seed(0)
    return build_model(cfg).train()


def forward(model: AOT, cfg: Config, frames: int) -> TrainOutput:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(frames, BATCH, 3, SIDE, SIDE, generator=generator)
    labels = torch.randint(0, 3, (frames, BATCH, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    batch = Clips(images, labels, torch.tensor([2, 2]), None, LossSchedule.at(0, cfg, labels))
    output: TrainOutput = TrainingEngine(model, cfg)(batch, commit_predictions=False)
    return output


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the live tensors that operations have created."""

    def __init__(self) -> None:
        super().__init__()
        self._live: dict[int, int] = {}  # by address

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        address = storage.data_ptr()
        if address in self._live or storage.nbytes() == 0:
            return
        self._live[address] = storage.nbytes()
        weakref.finalize(storage, self._live.pop, address)

    def total(self) -> int:
        return sum(self._live.values())


def kept_bytes(cfg: Config) -> int:
    """Measures the bytes that a forward pass keeps for the backward pass, without the weights."""
    model = model_of(cfg)
    with LiveBytes() as live:
        loss = forward(model, cfg, FRAMES).loss
    assert loss.requires_grad
    return live.total()


@pytest.mark.parametrize("model_name", ["aot_mini", "deaot_mini"])
def test_every_frame_is_encoded_once(model_name: str) -> None:
    cfg = config(model_name, MODEL_FREEZE_BN=True)
    model = model_of(cfg)
    images: list[int] = []
    model.encoder.register_forward_hook(lambda module, inputs, outputs: images.append(len(inputs[0])))
    forward(model, cfg, FRAMES).loss.backward()
    assert sum(images) == FRAMES * BATCH


def test_recomputing_encodes_again_in_the_backward_pass_alone() -> None:
    cfg = config(MODEL_FREEZE_BN=True, TRAIN_CHECKPOINT_ACTIVATIONS=True)
    model = model_of(cfg)
    images: list[int] = []
    model.encoder.register_forward_hook(lambda module, inputs, outputs: images.append(len(inputs[0])))
    loss = forward(model, cfg, 4).loss
    assert sum(images) == 4 * BATCH
    loss.backward()
    assert sum(images) == 2 * 4 * BATCH


@pytest.mark.parametrize("model_name", ["aot_mini", "deaot_mini"])
def test_recomputed_activations_are_not_kept(model_name: str) -> None:
    kept, recomputed = (
        kept_bytes(config(model_name, MODEL_FREEZE_BN=True, TRAIN_CHECKPOINT_ACTIVATIONS=recompute))
        for recompute in (False, True)
    )
    assert recomputed < kept / 5
