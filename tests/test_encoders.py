"""The encoders against torchvision's, whose ImageNet weights they take."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

from aot_plus.networks.encoders import FrozenBatchNorm2d, build_encoder
from aot_plus.networks.layers.basic import DropPath
from aot_plus.utils.errors import ConfigError
from tests.weights_by_name import fill_by_name

IMAGES = (2, 3, 65, 97)


def _pair(name: str, *, freeze_bn: bool) -> tuple[nn.Module, nn.Module]:
    """Our encoder and torchvision's whole network, with the same weights."""
    own = build_encoder(name, freeze_bn=freeze_bn).eval()
    norm = torchvision.ops.FrozenBatchNorm2d if freeze_bn else nn.BatchNorm2d
    builder = {"mobilenetv2": "mobilenet_v2"}.get(name, name)
    reference = getattr(torchvision.models, builder)(weights=None, norm_layer=norm).eval()
    fill_by_name(own)
    missing, unexpected = reference.load_state_dict(own.state_dict(), strict=False)
    assert not unexpected
    assert {key.partition(".")[0] for key in missing} <= {"layer4", "fc", "classifier"}
    return own, reference


def _images() -> Tensor:
    return torch.randn(IMAGES, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("freeze_bn", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
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


@pytest.mark.parametrize("freeze_bn", [True, False])
def test_mobilenetv2_is_torchvisions_with_dilation_for_the_last_stride(freeze_bn: bool) -> None:
    own, reference = _pair("mobilenetv2", freeze_bn=freeze_bn)
    for index in range(14, 18):  # the blocks at 1/32
        depthwise = reference.features[index].conv[1][0]
        depthwise.stride = (1, 1)
        if index > 14:
            depthwise.dilation = depthwise.padding = (2, 2)
    with torch.no_grad():
        levels = own(_images())
        expected = _images()
        for level, (start, stop) in zip(levels, ((0, 4), (4, 7), (7, 14), (14, 19)), strict=True):
            expected = reference.features[start:stop](expected)
            torch.testing.assert_close(level, expected)
    assert [level.shape[1] for level in levels] == [24, 32, 96, 1280]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenetv2"])
def test_training_reaches_every_weight(name: str) -> None:
    encoder = build_encoder(name, freeze_bn=False)
    sum(level.square().mean() for level in encoder(_images())).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_frozen_norms_have_nothing_to_learn() -> None:
    names = {name for name, _ in build_encoder("resnet18", freeze_bn=True).named_parameters()}
    assert not any("bn" in name or "downsample.1" in name for name in names)


def test_frozen_norm_is_batch_norm_in_evaluation() -> None:
    frozen, norm = FrozenBatchNorm2d(5), nn.BatchNorm2d(5).eval()
    fill_by_name(frozen)
    norm.load_state_dict(frozen.state_dict(), strict=False)
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(frozen.train()(x), norm(x))


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"MODEL_ENCODER.*resnet18.*'vgg'"):
        build_encoder("vgg", freeze_bn=True)


def test_drop_path_leaves_whole_samples_out_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    samples = DropPath(0.25)(torch.ones(4000, 2, 3))
    assert set(samples.flatten(1).sum(dim=1).tolist()) == {0.0, 8.0}
    assert samples.mean().item() == pytest.approx(1, abs=0.03)


def test_drop_path_does_nothing_in_evaluation() -> None:
    x = torch.ones(2, 3, 4)
    assert DropPath(0.9).eval()(x) is x
