"""Encoders: torchvision's levels, timm's backbones, custom encoders, and the errors for unsuitable ones."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from aot_plus.networks import encoders
from aot_plus.networks.encoders import Encoder, TimmEncoder, build_encoder, encoder_of
from aot_plus.networks.managers.param_groups import freeze_encoder
from aot_plus.networks.models import build_model
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.images import normalise
from tests.own_encoders import NormAct, Pooled
from tests.weights_by_name import Undrawn, fill_by_name

IMAGES = (2, 3, 65, 97)
FOREIGN = ["timm:convnext_atto", "timm:regnetx_002", "timm:hrnet_w18_small", "tests.own_encoders:Pooled"]


def _images(*shape: int) -> Tensor:
    return torch.randn(shape or IMAGES, generator=torch.Generator().manual_seed(0))


def _shapes(levels: Sequence[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(level.shape[1:]) for level in levels]


def _expected(encoder: Encoder, height: int, width: int) -> list[tuple[int, ...]]:
    strides = zip(encoder.channels, (4, 8, 16, 16), strict=True)
    return [(channels, -(-height // stride), -(-width // stride)) for channels, stride in strides]


def _pair(name: str, *, freeze_bn: bool) -> tuple[nn.Module, nn.Module]:
    """Returns the project's encoder and torchvision's whole network, with the same weights."""
    with Undrawn():
        own = build_encoder(name, freeze_bn=freeze_bn).eval()
    norm = torchvision.ops.FrozenBatchNorm2d if freeze_bn else nn.BatchNorm2d
    builder = {"mobilenetv2": "mobilenet_v2"}.get(name, name)
    with Undrawn():
        reference = getattr(torchvision.models, builder)(weights=None, norm_layer=norm).eval()
    fill_by_name(own)
    missing, unexpected = reference.load_state_dict(own.state_dict(), strict=False)
    assert not unexpected
    assert {key.partition(".")[0] for key in missing} <= {"layer4", "fc", "classifier"}
    return own, reference


@pytest.mark.parametrize(
    ("name", "freeze_bn"), [("resnet18", False), ("resnet50", True), ("resnet101", True)]
)
def test_resnets_are_torchvisions(name: str, freeze_bn: bool) -> None:
    own, reference = _pair(name, freeze_bn=freeze_bn)
    stem = nn.Sequential(reference.conv1, reference.bn1, reference.relu, reference.maxpool)
    with torch.no_grad():
        levels = own(_images())
        expected = stem(_images())
        for level, stage in zip(levels, (reference.layer1, reference.layer2, reference.layer3), strict=False):
            expected = stage(expected)
            torch.testing.assert_close(level, expected)
    assert levels[3] is levels[2]
    assert _shapes(levels) == _expected(own, 65, 97)


@pytest.mark.parametrize("freeze_bn", [True, False])
def test_mobilenetv2_is_torchvisions_with_dilation_for_the_last_stride(freeze_bn: bool) -> None:
    own, reference = _pair("mobilenetv2", freeze_bn=freeze_bn)
    with torch.no_grad():
        levels = own(_images())
        expected = reference.features[:14](_images())
        torch.testing.assert_close(levels[2], expected)
        reference.features[14].conv[1][0].stride = (1, 1)
        for block in reference.features[15:18]:
            block.conv[1][0].dilation = block.conv[1][0].padding = (2, 2)
        torch.testing.assert_close(levels[3], reference.features[14:](expected))
    assert _shapes(levels) == _expected(own, 65, 97)
    assert own.channels == (24, 32, 96, 1280)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2", *FOREIGN])
def test_training_reaches_every_weight_that_can_learn(name: str) -> None:
    encoder = build_encoder(name, freeze_bn=False, align_corners=False)
    images = _images(2, 3, 64, 96)
    torch.stack([level.square().mean() for level in encoder(images)]).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("name", ["resnet18", "timm:regnetx_002", "tests.own_encoders:Pooled"])
def test_frozen_norms_have_nothing_to_learn_and_keep_their_statistics(name: str) -> None:
    learning = build_encoder(name, freeze_bn=False, align_corners=False)
    encoder = build_encoder(name, freeze_bn=True, align_corners=False).train()
    assert encoder.channels == learning.channels
    before = {key: tensor.clone() for key, tensor in encoder.named_buffers()}
    encoder(_images(2, 3, 64, 96))
    assert all(torch.equal(tensor, before[key]) for key, tensor in encoder.named_buffers())
    frozen = {key for key, _ in learning.named_parameters()} - {key for key, _ in encoder.named_parameters()}
    norms = [module for module in learning.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(frozen) == 2 * len(norms) > 0


@pytest.mark.parametrize("size", [(64, 96), (80, 112), (65, 97), (81, 113)])
@pytest.mark.parametrize(
    "name",
    ["convnext_atto", "dla34", "hrnet_w18_small", "mambaout_femto", "regnetx_002", "swin_s3_tiny_224"],
)
def test_timm_backbones_take_both_kinds_of_sides(name: str, size: tuple[int, int]) -> None:
    encoder = _backbone(name)
    with torch.no_grad():
        assert _shapes(encoder(_images(1, 3, *size))) == _expected(encoder, *size)


def test_a_timm_backbone_gets_images_as_its_weights_expect_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _backbone("convnext_atto").input_scale is None  # ImageNet's normalisation
    own = replace(timm.get_pretrained_cfg("regnetx_002"), mean=(0.5,) * 3, std=(0.2,) * 3)
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: own)
    encoder, seen = TimmEncoder("regnetx_002").eval(), list[torch.Tensor]()
    encoder.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    values = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        encoder(torch.from_numpy(normalise(values))[None])
    expected = (torch.from_numpy(values).permute(2, 0, 1) / 255 - 0.5) / 0.2
    torch.testing.assert_close(seen[0][0], expected, atol=1e-5, rtol=0)
    assert not any(key.startswith("input_") for key in encoder.state_dict())


_BACKBONES: dict[str, Encoder] = {}


def _backbone(name: str) -> Encoder:
    if name not in _BACKBONES:
        _BACKBONES[name] = build_encoder(f"timm:{name}", freeze_bn=True).eval()
    return _BACKBONES[name]


def test_all_that_is_exported_can_be_imported() -> None:
    """This includes the timm classes, which are imported on first access."""
    assert {"TimmEncoder", "SwinEncoder", "ResNeStEncoder"} <= set(encoders.__all__)
    for name in encoders.__all__:
        assert getattr(encoders, name).__name__ == name


def test_a_timm_backbone_is_built_to_its_third_level_only() -> None:
    """Blocks after it would cost time and never learn."""
    names = {name.split(".")[2] for name, _ in _backbone_blocks("mobilenetv3_small_100")}
    assert names == {"0", "1", "2", "3"}
    assert not any("stages_3" in name for name, _ in _backbone("convnext_atto").named_parameters())


def _backbone_blocks(name: str) -> list[tuple[str, nn.Parameter]]:
    parameters = _backbone(name).named_parameters()
    return [(key, value) for key, value in parameters if key.startswith("backbone.blocks")]


@pytest.mark.parametrize("name", ["resnet18", "timm:regnetx_002", "tests.own_encoders:Pooled"])
def test_an_encoder_keeps_the_weights_it_gives_itself(name: str) -> None:
    encoder = build_encoder(name, freeze_bn=False, align_corners=False)
    if isinstance(encoder, Pooled):
        assert (encoder.body.bias == 7).all()
    torch.manual_seed(0)
    first = build_encoder(name, freeze_bn=False, align_corners=False).state_dict()
    torch.manual_seed(0)
    again = build_encoder(name, freeze_bn=True, align_corners=False).state_dict()
    assert all(torch.equal(first[key], tensor) for key, tensor in again.items())


def test_trying_an_encoder_leaves_no_trace() -> None:
    torch.manual_seed(0)
    encoder = Pooled()
    after = torch.rand(3)
    torch.manual_seed(0)
    tried = build_encoder("tests.own_encoders:Pooled", freeze_bn=False, align_corners=False)
    assert torch.equal(torch.rand(3), after)
    assert tried.training
    for key, tensor in encoder.state_dict().items():
        assert torch.equal(tried.state_dict()[key], tensor), key


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vgg", r"MODEL_ENCODER.*resnet18.*'vgg'"),
        ("timm:convnext_tinny", r"'convnext_tinny'.* convnext_tiny\b"),
        ("timm:vit_tiny_patch16_224", r"4, 8 and 16, found .*16, 16, 16"),
        ("timm:levit_128s", r"4, 8 and 16, found .*16, 32, 64"),
        ("timm:maxvit_rmlp_pico_rw_256", r"MODEL_ENCODER: .*'maxvit_rmlp_pico_rw_256'.*64 x 80"),
        ("no_such_module:Encoder", r"'no_such_module:Encoder'"),
        ("tests.own_encoders:Missing", r"tests\.own_encoders:Missing"),
        ("tests.own_encoders:NoChannels", r"NoChannels .*None"),
        (
            "tests.own_encoders:WrongChannels",
            r"64 x 80.*\(16, 16, 20\).*found \[\(8, 16, 20\).*docs/encoders",
        ),
        ("tests.own_encoders:ThreeLevels", r"ThreeLevels.*docs/encoders\.md"),
        ("tests.own_encoders:Failing", r"Failing.* RuntimeError .*docs/encoders\.md"),
        ("tests.own_encoders:Unfinished", r"Unfinished.* StopIteration .*docs/encoders\.md"),
        ("tests.own_encoders:OneByOne", r"OneByOne.*list_iterator"),
        ("tests.own_encoders:FractionalChannels", r"FractionalChannels.*8\.0"),
        ("tests.own_encoders:CannotBeBuilt", r"CannotBeBuilt.*KeyError.*own_encoders\.py, line \d+: 'boddy'"),
        ("tests.own_encoders:MisspeltStages", r"MisspeltStages.*'stem'.*'stemm'"),
        ("tests.own_encoders:OwnNorm", r"MODEL_FREEZE_BN.*stem\.1, a NormAct"),
        ("tests.own_encoders:FlatStages", r"FlatStages.*\('stem', 'body'\)"),
    ],
)
def test_an_unsuitable_encoder_is_an_error_with_the_remedy(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_encoder(name, freeze_bn=True, align_corners=False)


@pytest.mark.parametrize(
    ("name", "sides", "message"),
    [
        ("timm:pvt_v2_b0", (16, 32), r"'timm:pvt_v2_b0'.*16 x 32 .*\(32, 4, 8\).*RuntimeError"),
        ("tests.own_encoders:NeedsRoom", (32, 64), r"NeedsRoom'.*32 x 64 .*RuntimeError in forward\(\)"),
        ("tests.own_encoders:Pooled", (65, 65), r"Pooled'.*65 x 65 .*\(8, 17, 17\).*found .*\(8, 16, 16\)"),
    ],
)
def test_an_encoder_that_does_not_take_a_videos_size_is_named(
    name: str, sides: tuple[int, int], message: str
) -> None:
    overrides = {"MODEL_ENCODER": name, "MODEL_ALIGN_CORNERS": False}
    network = build_model(get_config("mini_vost", "aott", overrides=overrides)).eval()
    with pytest.raises(ConfigError, match=message):
        network.encode(torch.zeros(1, 3, *sides))


def test_a_norm_of_a_custom_class_learns() -> None:
    name = "tests.own_encoders:OwnNorm"
    assert type(build_encoder(name, freeze_bn=False, align_corners=False).stem[1]) is NormAct


def test_a_module_that_fails_while_it_is_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with_a_slip.py").write_text("{}['weights']\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"MODEL_ENCODER.*'with_a_slip:Encoder'.*KeyError.*'weights'"):
        build_encoder("with_a_slip:Encoder", freeze_bn=True)


def test_an_encoder_for_other_sides_names_the_flag() -> None:
    with pytest.raises(ConfigError, match=r"Pooled.*MODEL_ALIGN_CORNERS = False"):
        build_model(get_config("mini_vost", "aott", overrides={"MODEL_ENCODER": "tests.own_encoders:Pooled"}))


def test_the_encoder_of_the_documentation_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text(encoding="utf-8")
    (code,) = (
        block for block in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if "forward" in block
    )
    (tmp_path / "my_encoders.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for align_corners in (True, False):
        encoder = build_encoder("my_encoders:Small", freeze_bn=True, align_corners=align_corners)
    assert len(freeze_encoder(encoder, 3)) == len(list(encoder.parameters()))


@pytest.mark.parametrize("model", ["aott", "deaott"])
@pytest.mark.parametrize("name", ["timm:regnetx_002", "tests.own_encoders:Pooled"])
def test_networks_take_a_foreign_encoder(model: str, name: str) -> None:
    overrides = {"MODEL_ENCODER": name, "MODEL_ALIGN_CORNERS": False, "MODEL_ENCODER_EMBEDDING_DIM": 64}
    network = build_model(get_config("mini_vost", model, overrides=overrides)).eval()
    with torch.inference_mode():
        features = network.encode(_images(1, 3, 64, 96))
        identity = network.embed_identity(torch.ones(1, 64, 96, dtype=torch.int), reference=True)
        logits = network.decode(features, network.propagate_reference(features, identity))
    assert logits.shape == (1, 11, 16, 24)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101", "mobilenetv2"])
def test_an_encoder_is_recognised_by_its_tensors(name: str) -> None:
    with torch.device("meta"):
        tensors = build_encoder(name, freeze_bn=True).state_dict()
    assert encoder_of(tensors) == name
    assert encoder_of({}) is None
