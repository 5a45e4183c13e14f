"""Weights and activations in bfloat16 and float16; listed parts stay float32, and labels hardly change."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import aot_plus
from aot_plus.dataloaders.mini_vost import plan_scene, render_frame
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.models import build_model
from aot_plus.networks.models.number_format import use_number_format
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError
from tests.test_segmenter import _model, _squares, _video

SHIPPED = Path(aot_plus.__file__).parent / "pretrain_models"


@pytest.mark.parametrize("name", ["aot_mini", "deaot_mini"])
def test_labels_are_those_of_float32(name: str) -> None:
    scene = plan_scene(0, "val", 0)
    frames = [render_frame(scene, 3 * index) for index in range(4)]
    images, mask = [image[::2, ::2] for image, _ in frames], frames[0][1][::2, ::2]
    labels = []
    for dtype in ("float32", "bfloat16"):
        overrides = {"TEST_DTYPE": dtype, "LATTER_MEM_LEN": 1}
        model = aot_plus.load_model(
            name, SHIPPED / f"{name}.safetensors", stage="mini_vost", device="cpu", overrides=overrides
        )
        segmenter = VideoSegmenter(model)
        segmenter.start(images[0], mask, memory_gap=1)
        labels.append(np.stack([segmenter.step(image) for image in images[1:]]))
        assert segmenter._video is not None
        batch = segmenter._video.batches[0]
        assert {tensor.dtype for tensor in batch.memory.bank.storage} == {getattr(torch, dtype)}
        assert segmenter.probabilities().values.dtype == np.float32
        assert batch.policies[0].explain()["score"]
    assert (labels[0] == labels[1]).mean() > 0.995
    assert len(np.unique(labels[0])) > 1


def test_what_is_listed_stays_float32() -> None:
    model = build_model(
        get_config("pre_vost_2", "aott", overrides={"USE_TEMPORAL_POSITIONAL_EMBEDDING": True})
    )
    norms = {name for name, part in model.eval().named_modules() if isinstance(part, nn.BatchNorm2d)}
    use_number_format(model, "bfloat16")
    full = {name for name, value in model.named_parameters() if value.dtype == torch.float32}
    others = {name for name in full if name.rpartition(".")[0] not in norms}
    assert others == {"cur_pos_emb", "mem_pos_emb", "decoder.conv_out.weight", "decoder.conv_out.bias"}
    with torch.inference_mode():
        features = model.encode(torch.randn(1, 3, 33, 49))
        assert {level.dtype for level in (*features.adapted, features.projected)} == {torch.bfloat16}
        identity = model.embed_identity(torch.ones(1, 33, 49), reference=True)
        logits = model.decode(features, model.propagate_reference(features, identity))
    assert logits.dtype == torch.float32


def test_a_frozen_norm_of_timm_stays_float32() -> None:
    overrides = {"MODEL_ENCODER": "timm:mobilenetv3_small_050", "MODEL_ENCODER_EMBEDDING_DIM": 64}
    encoder = aot_plus.load_model("aott", None, overrides={**overrides, "TEST_DTYPE": "bfloat16"}).encoder
    types = {value.dtype for name, value in encoder.named_buffers() if name.endswith("running_var")}
    assert types == {torch.float32}
    with torch.inference_mode():
        levels = encoder(torch.zeros(1, 3, 33, 49, dtype=torch.bfloat16))
    assert {level.dtype for level in levels} == {torch.bfloat16}


def test_a_segmenter_converts_a_copy_of_a_float32_model_and_no_other() -> None:
    model = _model("aott")
    cfg = copy.copy(model.cfg)
    cfg.TEST_DTYPE = "bfloat16"
    segmenter = VideoSegmenter(model, cfg)
    assert (model.number_format, segmenter.model.number_format) == (torch.float32, torch.bfloat16)
    segmenter.start(_video(1)[0], _squares([1]))
    with pytest.raises(ConfigError, match=r"TEST_DTYPE: .*bfloat16"):
        VideoSegmenter(segmenter.model, model.cfg)


@pytest.mark.parametrize(
    ("encoder", "dtype", "found"),
    [("Overflows", "float16", "infinite"), ("InFull", "bfloat16", "found torch.float32")],
)
def test_an_encoder_that_does_not_work_in_the_format_is_refused(encoder: str, dtype: str, found: str) -> None:
    """Its NaN values would make all frames background."""
    overrides = {
        "MODEL_ENCODER": f"tests.own_encoders:{encoder}",
        "MODEL_ALIGN_CORNERS": False,
        "MODEL_ENCODER_EMBEDDING_DIM": 64,
    }
    model = aot_plus.load_model("aott", None, device="cpu", overrides=overrides)
    cfg = copy.copy(model.cfg)
    cfg.TEST_DTYPE = dtype  # type: ignore[assignment]
    message = rf"TEST_DTYPE.*{encoder}.*{dtype}.*{found}"
    with pytest.raises(ConfigError, match=message):
        VideoSegmenter(model, cfg)
    with pytest.raises(ConfigError, match=message):
        aot_plus.load_model("aott", None, device="cpu", overrides={**overrides, "TEST_DTYPE": dtype})
