"""A model prepared for inference computes the same as before."""

import io
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn

from aot_plus.networks.encoders import FrozenBatchNorm2d, ResNetEncoder, build_encoder
from aot_plus.networks.models import AOT, build_model, prepare
from aot_plus.networks.models.loading import load_model
from aot_plus.networks.models.prepare import prepare_for_inference
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
NAMES = ["aott", "aot_mini", "r50_deaotl"]  # MobileNetV2, ResNet-18 with trained batch norms, ResNet-50

BACKBONES = [
    "convnext_atto",
    "efficientnet_lite0",
    "ghostnet_050",
    "hrnet_w18_small",
    "mambaout_femto",  # channels last
    "mobilenetv3_small_100",
    "regnetx_002",
    "repvgg_a0",
    "resnet10t",
    "tf_efficientnetv2_b0",
]


def _with_statistics(name: str) -> AOT:
    """Returns a model whose batch norms have random statistics and weights."""
    torch.manual_seed(0)
    model = build_model(get_config("pre_vost_2", name))
    _draw_statistics(model)
    return model.eval()


def _draw_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if hasattr(module, "running_mean"):
            for key, tensor in module.state_dict().items():
                if key in ("running_mean", "bias"):
                    nn.init.normal_(tensor, std=0.1)
                elif key in ("running_var", "weight"):
                    nn.init.uniform_(tensor, 0.5, 1.5)


@cache
def _plain_and_prepared(name: str) -> tuple[AOT, AOT]:
    prepared = _with_statistics(name)
    assert prepare_for_inference(prepared) is prepared
    return _with_statistics(name), prepared


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_prepared_model_computes_the_same(name: str) -> None:
    plain, prepared = _plain_and_prepared(name)
    images = torch.randn(1, 3, 65, 97)
    labels = torch.zeros(1, 65, 97, dtype=torch.int)
    labels[:, 10:40, 20:60] = 1
    for expected, level in zip(plain.encoder(images), prepared.encoder(images), strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    logits = []
    for model in (plain, prepared):
        features = model.encode(images)
        identity = model.embed_identity(labels, reference=True)
        logits.append(model.decode(features, model.propagate_reference(features, identity)))
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("freeze_bn", [True, False])
@pytest.mark.parametrize("name", BACKBONES)
@torch.inference_mode()
def test_a_prepared_timm_backbone_computes_the_same(name: str, freeze_bn: bool) -> None:
    """Their norms may include activations, and modules need not run in the order of their registration."""
    encoder = build_encoder(f"timm:{name}", freeze_bn=freeze_bn).eval()
    _draw_statistics(encoder)
    images = torch.randn(1, 3, 64, 64)
    before = encoder(images)
    for expected, level in zip(before, prepare_for_inference(encoder)(images), strict=True):
        torch.testing.assert_close(level, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_a_norm_that_does_more_is_not_folded() -> None:
    class NormAct(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).relu()

    encoder = ResNetEncoder("resnet18", NormAct).eval()
    images = torch.randn(1, 3, 65, 65)
    with torch.inference_mode():
        expected = encoder(images)[2]
        found = prepare_for_inference(encoder)(images)[2]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_a_prepared_model_has_no_batch_norm_and_no_gradients(name: str) -> None:
    plain, prepared = _plain_and_prepared(name)
    assert any(isinstance(module, NORMS) for module in plain.modules())
    assert not any(isinstance(module, NORMS) for module in prepared.modules())
    assert not prepared.training
    assert not any(parameter.requires_grad for parameter in prepared.parameters())


def test_preparing_twice_changes_nothing_more() -> None:
    _, prepared = _plain_and_prepared("aott")
    before = {name: tensor.clone() for name, tensor in prepared.state_dict().items()}
    after = prepare_for_inference(prepared).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("name", ["aott", "r50_deaotl"])
@torch.inference_mode()
def test_a_prepared_model_can_be_saved_whole(name: str) -> None:
    _, prepared = _plain_and_prepared(name)
    file = io.BytesIO()
    torch.save(prepared, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    images = torch.randn(1, 3, 33, 49)
    assert torch.equal(loaded.encode(images).projected, prepared.encode(images).projected)
    assert loaded.decoder.channels_last


def test_loading_prepares_and_building_does_not() -> None:
    loaded = load_model("aott", None, device="cpu")
    assert not any(isinstance(module, NORMS) for module in loaded.modules())
    built = build_model(get_config("pre_vost_2", "aott"))
    assert set(loaded.state_dict()) != set(built.state_dict())


def test_a_compiled_model_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(prepare, "COMPILE_BACKEND", backend)
    images, labels = torch.randn(1, 3, 65, 97), torch.ones(1, 65, 97, dtype=torch.int)
    logits = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model = load_model("aott", None, device="cpu", overrides={"TEST_COMPILE": compiled})
        counts = [len(graphs)]
        with torch.inference_mode():
            features = model.encode(images)
            counts.append(len(graphs))
            identity = model.embed_identity(labels, reference=True)
            propagation = model.propagate_reference(features, identity)
            counts.append(len(graphs))
            logits.append(model.decode(features, propagation))
            counts.append(len(graphs))
        loaded, encoded, propagated, decoded = counts
        assert (encoded > loaded) == (propagated > encoded) == (decoded > propagated) == compiled
    torch.testing.assert_close(logits[1], logits[0])


def test_where_nothing_compiles_the_config_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def backend(*_: object) -> Callable[..., object]:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(prepare, "COMPILE_BACKEND", backend)
    with pytest.raises(ConfigError, match=r"TEST_COMPILE: .*no compiler"):
        load_model("aott", None, device="cpu", overrides={"TEST_COMPILE": True})
