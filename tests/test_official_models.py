"""Using the AOT benchmark's networks: the file decides; memory policies and training work with them."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from aot_plus import VideoSegmenter, get_config, load_model
from aot_plus.networks.engines.training import Clips, LossSchedule, TrainingEngine
from aot_plus.networks.memory.policies import Append, MemoryPolicy
from aot_plus.networks.models import OfficialAOT, build_model
from aot_plus.networks.models.checkpoint import load_into
from aot_plus.utils.errors import CheckpointError
from tests.weights_by_name import fill_by_name

TINY: dict[str, object] = {"MODEL_ENCODER": "resnet18", "MODEL_ENCODER_EMBEDDING_DIM": 32}
OFFICIAL = TINY | {"MODEL_VOS": "official_aot", "MODEL_IGNORE_TOKEN": False}
FRAMES = 12


class DropsTheSecond(MemoryPolicy):
    """A custom policy."""

    def drop(self, append: Append) -> int:
        return append.droppable[0]


def saved(path: Path, stage: str, overrides: dict[str, object]) -> Path:
    """Writes a file with a tiny AOT, as the AOT benchmark or this project saves it."""
    model = build_model(get_config(stage, "aott", overrides=overrides))
    fill_by_name(model)
    torch.save({"state_dict": model.state_dict()}, path)
    return path


@pytest.fixture
def official(tmp_path: Path) -> Path:
    return saved(tmp_path / "AOTT_PRE_YTB_DAV.pth", "default", OFFICIAL)


def video() -> tuple[Sequence[NDArray[np.uint8]], NDArray[np.uint8]]:
    images = np.random.default_rng(0).integers(0, 255, (FRAMES, 48, 64, 3), dtype=np.uint8)
    mask = np.zeros((48, 64), np.uint8)
    mask[8:24, 8:24], mask[24:40, 32:56] = 1, 2
    return list(images), mask


@pytest.mark.parametrize("policy", ["emfs", "rmem", "fifo", "tests.test_official_models:DropsTheSecond"])
def test_an_official_file_runs_with_a_bounded_bank(official: Path, policy: str) -> None:
    """Naming a policy is enough: the bank of 1 + 8 frames is the default."""
    overrides = TINY | {"MEM_POLICY": policy}
    model = load_model("aott", official, stage="default", device="cpu", overrides=overrides)
    assert isinstance(model, OfficialAOT)
    segmenter = VideoSegmenter(model)
    images, mask = video()
    segmenter.start(images[0], mask, memory_gap=1)
    for image in images[1:]:
        labels = segmenter.step(image)
    assert set(np.unique(labels)) <= {0, 1, 2}
    ((first, *others),) = segmenter.banks
    assert (first, len(others), others[-1]) == (0, 8, FRAMES - 1)


def test_the_file_decides_between_the_two_aots(
    official: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        model = load_model("aott", official, stage="pre_vost_2", device="cpu", overrides=TINY)
    assert isinstance(model, OfficialAOT)
    assert re.search(f"{official} .*MODEL_VOS = official_aot", caplog.text)
    plus = saved(tmp_path / "AOT_plus.pth", "pre_vost_2", TINY)
    model = load_model("aott", plus, device="cpu", overrides=TINY | {"MODEL_VOS": "official_aot"})
    assert not isinstance(model, OfficialAOT)
    assert re.search(rf"{plus} .*MODEL_VOS = aot\b", caplog.text)
    with pytest.raises(CheckpointError, match=str(official)):
        load_model("deaott", official, device="cpu", overrides=TINY)


def test_a_file_with_another_encoder_names_both(official: Path) -> None:
    with pytest.raises(CheckpointError, match=r"mobilenetv2.*resnet18"):
        load_model("aott", official, device="cpu", overrides=TINY | {"MODEL_ENCODER": "mobilenetv2"})


def test_a_file_without_the_unused_token_is_complete(official: Path, tmp_path: Path) -> None:
    tensors = torch.load(official, weights_only=True)["state_dict"]
    del tensors["LSTT.mask_token"]
    torch.save(tensors, tmp_path / "short.pth")
    model = build_model(get_config("default", "aott", overrides=OFFICIAL))
    assert list(load_into(model, tmp_path / "short.pth", strict=True).missing) == ["LSTT.mask_token"]


def test_values_of_offsets_start_at_zero_and_learn() -> None:
    cfg = get_config("default", "aott", overrides=OFFICIAL)
    torch.manual_seed(0)
    model = build_model(cfg)
    attention: Any = model.LSTT.layers[0].get_submodule("short_term_attn")
    assert not attention.relative_emb_v.any()
    labels = torch.arange(3).repeat_interleave(16).repeat(49, 2)[:, :49].expand(3, 1, 49, 49)
    frames = torch.randn(3, 1, 3, 49, 49)
    batch = Clips(frames, labels.to(torch.uint8), torch.tensor([2]), None, LossSchedule.at(0, cfg, labels))
    TrainingEngine(model, cfg)(batch, commit_predictions=False).loss.backward()
    learning = {name for name, value in model.named_parameters() if value.grad is not None}
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    assert wanted == learning
    assert attention.relative_emb_v.grad.any()
