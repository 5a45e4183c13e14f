"""The forward and backward pass of training against the published losses and gradients."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aot_plus.networks.engines.training import Clips, LossSchedule, TrainingEngine
from aot_plus.networks.managers.param_groups import freeze_encoder
from aot_plus.networks.models import AOT
from aot_plus.utils.config import get_config
from aot_plus.utils.images import MEAN, STD
from tests.weights_by_name import build_by_name

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "training_losses.json").read_text(encoding="utf-8"))


@cache
def clips() -> tuple[Tensor, Tensor]:
    """Returns frames ``6 x 2 x 3 x H x W`` and masks ``6 x 2 x H x W``."""
    with np.load(GOLDEN / "training_clips.npz") as arrays:
        pixels = np.stack([arrays[f"clip_{seed}_frames"] for seed in (30, 31)], axis=1)
        masks = np.stack([arrays[f"clip_{seed}_masks"] for seed in (30, 31)], axis=1)
    frames = ((pixels / 255 - MEAN) / STD).astype(np.float32).transpose(0, 1, 4, 2, 3)
    return torch.from_numpy(np.ascontiguousarray(frames)), torch.from_numpy(masks)


@cache
def network(name: str) -> AOT:
    """Returns the network in evaluation mode, without dropout."""
    return build_by_name(get_config("pre_vost_2", name)).eval()


def name_of(case: dict[str, Any]) -> str:
    """Returns a test's name."""
    committed = "predictions" if case["predictions_fed_back"] else "truth"
    return f"{case['model']}-{case['step']}-{committed}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_losses_and_gradients_are_the_published_ones(case: dict[str, Any]) -> None:
    overrides = {"TRAIN_LONG_TERM_MEM_GAP": case["memory_gap"]}
    cfg = get_config("pre_vost_2", case["model"], overrides=overrides)
    model = network(case["model"])
    model.requires_grad_(True).zero_grad()
    frozen = freeze_encoder(model.encoder, cfg.TRAIN_ENCODER_FREEZE_AT)
    assert len(frozen) == case["num_frozen"]
    frames, masks = clips()

    num_objects, schedule = torch.full((2,), case["num_objects"]), LossSchedule.at(case["step"], cfg, masks)
    output = TrainingEngine(model, cfg)(
        Clips(frames, masks, num_objects, None, schedule), commit_predictions=case["predictions_fed_back"]
    )
    output.loss.backward()

    torch.testing.assert_close(output.frame_losses, torch.tensor(case["frame_losses"]), rtol=1e-5, atol=0.0)
    assert output.loss.item() == pytest.approx(case["total"], rel=1e-5)
    parameters = dict(model.named_parameters())
    for name, norm in case["gradient_norms"].items():
        gradient = parameters[name].grad
        if norm is None:
            assert gradient is None, name
        else:
            assert gradient is not None, name
            assert gradient.norm().item() == pytest.approx(norm, rel=1e-3), name
