"""A timm backbone from training to inference: trained, exported and prepared, it gives the same numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aot_plus.configs import Config
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.models import AOT, build_model
from aot_plus.networks.models.checkpoint import load_into
from aot_plus.networks.models.loading import load_from_config
from aot_plus.tools import export as export_tool
from tests.tiny_training import tiny_config
from tests.train_videos import picture, rectangles, write_dataset


@pytest.fixture(scope="module", params=["timm:test_resnet", "timm:test_convnext"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A config and the averaged weights after two steps, in which batch norms and all stages learn."""
    folder = tmp_path_factory.mktemp("timm")
    write_dataset(folder / "videos", sequences=2, length=8)
    cfg = tiny_config(
        folder / "videos",
        MODEL_ENCODER=request.param,
        MODEL_FREEZE_BN=False,
        TRAIN_TOTAL_STEPS=2,
        TRAIN_EMA_RATIO=1.0,
    )
    return cfg, Trainer(cfg, folder / "run").run()


def probabilities(model: AOT) -> np.ndarray:
    """Returns the probabilities of three frames that follow a first frame with two objects."""
    masks = [rectangles((1, 10, 10 + k, 50, 60 + k), (2, 40, 70 - k, 90, 120 - k)) for k in range(4)]
    segmenter = VideoSegmenter(model)
    segmenter.start(picture(masks[0], 0), masks[0], memory_gap=1)
    found = []
    for number, mask in enumerate(masks[1:], start=1):
        segmenter.step(picture(mask, number))
        found.append(segmenter.probabilities().values)
    return np.stack(found)


def test_it_learns_and_infers_the_same_before_and_after_preparation(
    trained: tuple[Config, Path], tmp_path: Path
) -> None:
    cfg, weights = trained
    plain = build_model(cfg).eval().requires_grad_(False)
    torch.manual_seed(cfg.TRAIN_SEED)
    untrained = build_model(cfg).state_dict()
    load_into(plain, weights, strict=True)
    learned = [name for name, tensor in plain.state_dict().items() if not tensor.equal(untrained[name])]
    assert any(name.startswith("encoder.") for name in learned)
    expected = probabilities(plain)
    np.testing.assert_allclose(
        probabilities(load_from_config(cfg, weights, device="cpu")), expected, atol=1e-5
    )
    exported = tmp_path / "small.safetensors"
    flags = ["--input", str(weights), "--output", str(exported), "--dtype", "float32"]
    assert export_tool.main(flags) == 0
    np.testing.assert_allclose(
        probabilities(load_from_config(cfg, exported, device="cpu")), expected, atol=1e-5
    )
    assert expected.std() > 0.01  # neither all object nor all background
