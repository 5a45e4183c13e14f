"""A timm backbone from training to masks: the exported file computes the same as the trained model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.models import AOT, build_model
from aot_plus.networks.models.checkpoint import load_into
from aot_plus.networks.models.loading import load_from_config
from aot_plus.tools import export
from aot_plus.utils.errors import CheckpointError
from tests.tiny_training import tiny_config
from tests.train_videos import write_dataset


def _logits(network: AOT) -> Tensor:
    """Returns the first prediction for one image."""
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 64, 96, dtype=torch.int)
    mask[:, 10:40, 20:60] = 1
    with torch.inference_mode():
        features = network.encode(image)
        identity = network.embed_identity(mask, reference=True)
        return network.decode(features, network.propagate_reference(features, identity))


def test_it_trains_is_exported_and_infers(tmp_path: Path) -> None:
    write_dataset(tmp_path / "VOST")
    cfg = tiny_config(
        tmp_path / "VOST",
        MODEL_ENCODER="timm:regnetx_002",
        MODEL_ALIGN_CORNERS=False,
        DATA_RANDOMCROP=(48, 48),
        TRAIN_TOTAL_STEPS=2,
    )
    averaged, exported = Trainer(cfg, tmp_path / "trained").run(), tmp_path / "regnet.safetensors"
    flags = ["--input", str(averaged), "--output", str(exported), "--dtype", "float32"]
    assert export.main(flags) == 0
    trained = build_model(cfg).eval()
    load_into(trained, averaged, strict=True)
    expected = _logits(trained)
    prepared = load_from_config(cfg, exported, device="cpu")
    np.testing.assert_allclose(_logits(prepared), expected, atol=1e-4 * expected.abs().max())
    assert expected.std() > 0.01
    cfg.MODEL_ENCODER = "mobilenetv2"  # as if the user had forgotten to set it
    with pytest.raises(CheckpointError, match=r"mobilenetv2 .*found another one, with encoder\.backbone"):
        load_from_config(cfg, exported, device="cpu")
