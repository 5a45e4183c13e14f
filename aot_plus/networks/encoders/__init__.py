"""Image encoders: normalised images to four feature levels at 1/4, 1/8, 1/16 and 1/16."""

from collections.abc import Callable

from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from aot_plus.networks.encoders.mobilenetv2 import MobileNetV2Encoder
from aot_plus.networks.encoders.resnet import ResNetEncoder
from aot_plus.utils.errors import ConfigError

__all__ = ["build_encoder"]

_BUILDERS: dict[str, Callable[[Callable[..., nn.Module]], nn.Module]] = {
    "mobilenetv2": MobileNetV2Encoder,
    "resnet18": lambda norm_layer: ResNetEncoder(18, norm_layer),
    "resnet50": lambda norm_layer: ResNetEncoder(50, norm_layer),
    "resnet101": lambda norm_layer: ResNetEncoder(101, norm_layer),
}


def build_encoder(name: str, *, freeze_bn: bool) -> nn.Module:
    """The encoder of that name, with random weights. ``freeze_bn``: batch norms with fixed statistics and
    weights.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in _BUILDERS:
        raise ConfigError(f"MODEL_ENCODER: expected one of {', '.join(_BUILDERS)}, found {name!r}")
    return _BUILDERS[name](FrozenBatchNorm2d if freeze_bn else nn.BatchNorm2d)
