"""Builds image encoders, which map normalised images to four feature levels at 1/4, 1/8, 1/16 and 1/16."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from aot_plus.networks.encoders.base import EVEN_SIDES, ODD_SIDES, Encoder, level_problem
from aot_plus.networks.encoders.from_torchvision import (
    FrozenBatchNorm2d,
    MobileNetV2Encoder,
    Norm,
    ResNetEncoder,
)
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.own_classes import import_class, own_errors

if TYPE_CHECKING:
    from aot_plus.networks.encoders.from_timm import ResNeStEncoder, TimmEncoder
    from aot_plus.networks.encoders.swin import SwinEncoder

__all__ = [
    "Encoder",
    "FrozenBatchNorm2d",
    "MobileNetV2Encoder",
    "ResNeStEncoder",
    "ResNetEncoder",
    "SwinEncoder",
    "TimmEncoder",
    "build_encoder",
    "encoder_of",
]

_BUILDERS: dict[str, Callable[[Norm], Encoder]] = {
    "mobilenetv2": MobileNetV2Encoder,
    "resnet18": lambda norm: ResNetEncoder("resnet18", norm),
    "resnet50": lambda norm: ResNetEncoder("resnet50", norm),
    "resnet101": lambda norm: ResNetEncoder("resnet101", norm),
}
_OTHERS = ("resnest101", "swin_base")  # these choose their norms themselves
_OF_TIMM = {"ResNeStEncoder": "from_timm", "SwinEncoder": "swin", "TimmEncoder": "from_timm"}


def __getattr__(name: str) -> Any:
    """Imports the classes that use timm on first use: timm takes a second to import."""
    if name not in _OF_TIMM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_OF_TIMM[name]}"), name)


def build_encoder(name: str, *, freeze_bn: bool, align_corners: bool = True) -> Encoder:
    """Builds the encoder that ``MODEL_ENCODER`` names, with its initial weights.

    Args:
        name: an encoder of the project (``resnet50``, ``swin_base``), ``timm:NAME``, or
            ``package.module:ClassName`` for one of your own.
        freeze_bn: whether batch norms have fixed statistics and weights.
        align_corners: whether the sides of images are 16k + 1; otherwise 16k.

    Raises:
        ConfigError: for an unknown name, or an encoder that does not follow ``docs/encoders.md``.
    """
    if name in _BUILDERS:
        return _BUILDERS[name](FrozenBatchNorm2d if freeze_bn else nn.BatchNorm2d)
    encoder = _build_other(name, align_corners=align_corners)
    return _frozen(encoder, name) if freeze_bn else encoder


def _frozen(encoder: Encoder, name: str) -> Encoder:
    """Replaces an encoder's batch norms by frozen ones.

    Raises ``ConfigError`` for a batch norm of another class, because anything more it does would be lost.
    """
    from timm.layers import BatchNormAct2d, freeze_batch_norm_2d

    known = (nn.BatchNorm2d, BatchNormAct2d)
    for path, module in encoder.named_modules():
        if isinstance(module, nn.BatchNorm2d) and type(module) not in known:
            raise ConfigError(
                f"MODEL_FREEZE_BN: {name!r}: expected batch norms of PyTorch's or timm's, found {path}, a "
                f"{type(module).__name__}, which may do more: set MODEL_FREEZE_BN = False"
            )
    return freeze_batch_norm_2d(encoder)


def encoder_of(tensors: Mapping[str, Tensor], *, align_corners: bool = True) -> str | None:
    """Returns the project's encoder that has tensors of these names and shapes; None if none has."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    fitting: dict[str, int] = {}  # number of tensors: a deeper network includes a shallower one's
    for name in (*_BUILDERS, *_OTHERS):
        own = _shapes_of(name, align_corners)
        if own and all(shapes.get(key) == shape for key, shape in own.items()):
            fitting[name] = len(own)
    return max(fitting, key=fitting.__getitem__, default=None)


@cache
def _shapes_of(name: str, align_corners: bool) -> Mapping[str, torch.Size]:
    """Returns the names and shapes of an encoder's tensors."""
    with torch.device("meta"):
        encoder = build_encoder(name, freeze_bn=True, align_corners=align_corners)
    return {key: tensor.shape for key, tensor in encoder.state_dict().items()}


def _build_other(name: str, *, align_corners: bool) -> Encoder:
    """Builds an encoder that is not in ``_BUILDERS``, and chooses its norms itself."""
    kind, colon, backbone = name.partition(":")
    if not colon and name not in _OTHERS:
        raise ConfigError(
            f'MODEL_ENCODER: expected one of {", ".join([*_BUILDERS, *_OTHERS])}, "timm:NAME" or '
            f'"package.module:ClassName", found {name!r}'
        )
    if colon and kind != "timm":
        return _build_own(name, align_corners=align_corners)
    from aot_plus.networks.encoders.from_timm import ResNeStEncoder, TimmEncoder
    from aot_plus.networks.encoders.swin import SwinEncoder

    if colon:
        return TimmEncoder(backbone)
    return ResNeStEncoder() if name == "resnest101" else SwinEncoder()


def _build_own(path: str, *, align_corners: bool) -> Encoder:
    """Builds an instance of the class at ``package.module:ClassName`` and tests it with a small image."""
    encoder_class = import_class(path, "MODEL_ENCODER")
    with own_errors("MODEL_ENCODER", path):
        encoder = encoder_class()
    _check_interface(encoder, path)
    encoder = cast(Encoder, encoder)
    sides, others = (ODD_SIDES, EVEN_SIDES) if align_corners else (EVEN_SIDES, ODD_SIDES)
    if problem := level_problem(encoder, sides):
        fits_others = f"it fits with MODEL_ALIGN_CORNERS = {not align_corners}"
        cure = "see docs/encoders.md" if level_problem(encoder, others) else fits_others
        raise ConfigError(f"MODEL_ENCODER: {path!r}: {problem}; {cure}")
    return encoder


def _check_interface(encoder: object, path: str) -> None:
    """Raises ``ConfigError`` if the object at ``path`` lacks an encoder's attributes."""
    channels = getattr(encoder, "channels", None)
    four = isinstance(channels, tuple) and [type(number) for number in channels] == [int] * 4
    if not isinstance(encoder, nn.Module) or not four:
        raise ConfigError(
            f"MODEL_ENCODER: {path!r}: expected a torch.nn.Module whose `channels` are a tuple of four whole "
            f"numbers (levels at 1/4, 1/8, 1/16, 1/16), found {type(encoder).__name__} with {channels!r}"
        )
    stages = getattr(encoder, "stages", ())
    names = [name for name, _ in encoder.named_modules() if name]
    lists = isinstance(stages, tuple | list) and all(isinstance(stage, tuple | list) for stage in stages)
    if not lists or not all(name in names for stage in stages for name in stage):
        raise ConfigError(
            f"MODEL_ENCODER: {path!r}: expected `stages` to be a tuple of tuples of names of its modules, "
            f"such as {(tuple(names[:1]),)}, found {stages!r}"
        )
