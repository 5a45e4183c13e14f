"""Image encoders: normalised images to four feature levels at 1/4, 1/8, 1/16 and 1/16."""

from collections.abc import Callable

from torch import nn

from aot_plus.networks.encoders.mobilenetv2 import MobileNetV2Encoder
from aot_plus.networks.encoders.norm import FrozenBatchNorm2d, Norm
from aot_plus.networks.encoders.resnet import ResNetEncoder
from aot_plus.utils.errors import ConfigError

__all__ = ["FrozenBatchNorm2d", "build_encoder"]

_BUILDERS: dict[str, Callable[[Norm], nn.Module]] = {
    "mobilenetv2": MobileNetV2Encoder,
    "resnet18": lambda norm: ResNetEncoder(18, norm),
    "resnet50": lambda norm: ResNetEncoder(50, norm),
    "resnet101": lambda norm: ResNetEncoder(101, norm),
}


def build_encoder(name: str, *, freeze_bn: bool) -> nn.Module:
    """The encoder of that name, with random weights. ``freeze_bn``: batch norms with fixed statistics and
    weights.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in _BUILDERS:
        raise ConfigError(f"MODEL_ENCODER: expected one of {', '.join(_BUILDERS)}, found {name!r}")
    encoder = _BUILDERS[name](FrozenBatchNorm2d if freeze_bn else nn.BatchNorm2d)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return encoder
