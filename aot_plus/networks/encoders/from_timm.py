"""Wraps timm's backbones as encoders; ResNeSt-101 has the tensor names of the AOT benchmark's files."""

from itertools import pairwise
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aot_plus.networks.encoders.base import (
    EVEN_SIDES,
    ODD_SIDES,
    STRIDES,
    Encoder,
    level_problem,
    temporary_eval,
)
from aot_plus.utils.errors import ConfigError, nearest
from aot_plus.utils.images import MEAN, STD

# Sides are padded to a multiple of one of these: some backbones drop pixels that do not fill a patch or pair.
MULTIPLES = (1, 16, 32)


class TimmEncoder(Encoder):
    """Returns a backbone's levels at 1/4, 1/8 and 1/16, the last one twice. Later layers are removed."""

    input_scale: Tensor | None  # 3 x 1 x 1; None if the normalisation is ImageNet's
    input_shift: Tensor | None

    def __init__(self, name: str, *, pretrained: bool = False) -> None:
        """Builds the backbone with timm's initialisation, or (``pretrained``) with weights timm downloads.

        Raises ``ConfigError`` for a name that timm lacks, or a backbone that cannot serve as an encoder.
        """
        super().__init__()
        if not timm.is_model(name):
            raise ConfigError(f"MODEL_ENCODER: timm has no {name!r}{nearest(name, timm.list_models())}")
        indices = _indices_of_levels(name)
        self.backbone = _create(name, out_indices=indices, pretrained=pretrained)
        info: Any = self.backbone.feature_info
        channels = info.channels()
        self.channels = (*channels, channels[-1])
        ends = [entry["module"] for entry in info.get_dicts(keys=["module"])]
        _remove_blocks_after(self.backbone, ends[-1])
        self.stages = _stages(self.backbone, ends)
        self._set_normalisation(name)
        self.multiple = self._fitting_multiple(name)
        self._freeze_unused()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the four levels of ``B x 3 x H x W`` normalised images."""
        height, width = images.shape[2:]
        if self.input_scale is not None and self.input_shift is not None:
            images = (images.float() * self.input_scale + self.input_shift).to(images.dtype)
        levels = self.backbone(F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple)))
        if getattr(self.backbone, "output_fmt", "NCHW") == "NHWC":
            levels = [level.permute(0, 3, 1, 2) for level in levels]
        levels = [
            level[:, :, : -(-height // stride), : -(-width // stride)]
            for level, stride in zip(levels, STRIDES, strict=False)
        ]
        return [*levels, levels[-1]]

    def _set_normalisation(self, name: str) -> None:
        """Sets the conversion of images from ImageNet's normalisation to the one that the weights expect."""
        own: Any = timm.get_pretrained_cfg(name)  # None for some backbones that are not timm's
        mean, std = (MEAN, STD) if own is None else (np.array(own.mean), np.array(own.std))
        same = np.allclose(mean, MEAN) and np.allclose(std, STD)
        for key, values in (("input_scale", STD / std), ("input_shift", (MEAN - mean) / std)):
            of_colours = None if same else torch.tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(key, of_colours, persistent=False)

    def _fitting_multiple(self, name: str) -> int:
        """Returns the smallest multiple with which the levels have the right sizes."""
        problem = ""
        for multiple in MULTIPLES:
            self.multiple = multiple
            problem = level_problem(self, EVEN_SIDES) or level_problem(self, ODD_SIDES)
            if not problem:
                return multiple
        raise ConfigError(
            f"MODEL_ENCODER: timm's {name!r} does not take images of any size: {problem}. "
            f"Choose a backbone without fixed image or window sizes"
        )

    def _freeze_unused(self) -> None:
        """Freezes parameters that no level depends on: they would never learn."""
        if torch.is_inference_mode_enabled():  # nothing can be trained here either
            return
        parameters = list(self.parameters())
        with temporary_eval(self), torch.enable_grad():
            total = torch.stack([level.sum() for level in self(torch.zeros(1, 3, *EVEN_SIDES))]).sum()
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(gradient is not None)


class ResNeStEncoder(Encoder):
    """Runs ResNeSt-101 up to its third stage, whose map also serves as the fourth level."""

    stages = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",))
    channels = (256, 512, 1024, 1024)

    def __init__(self) -> None:
        super().__init__()
        network = _create("resnest101e", out_indices=(1, 2, 3))
        for name, part in network.named_children():
            self.add_module(name, part)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Computes the four levels of ``B x 3 x H x W`` normalised images."""
        levels = []
        for name, part in self.named_children():
            images = part(images)
            if name.startswith("layer"):
                levels.append(images)
        return [*levels, levels[-1]]


def _create(name: str, **options: Any) -> nn.Module:
    """Builds timm's feature extractor for a backbone."""
    try:
        try:
            return timm.create_model(name, features_only=True, strict_img_size=False, **options)
        except TypeError as error:  # only backbones with a fixed image size have the option
            if "strict_img_size" not in str(error):
                raise
            return timm.create_model(name, features_only=True, **options)
    except Exception as error:  # any kind: each backbone has its own
        raise ConfigError(f"MODEL_ENCODER: timm cannot extract features with {name!r} ({error})") from error


def _indices_of_levels(name: str) -> list[int]:
    """Returns the indices of timm's levels with strides 4, 8 and 16, the last one for each stride."""
    info: Any = _create(name).feature_info
    number_of = dict(zip(info.reduction(), info.out_indices, strict=True))
    missing = [stride for stride in STRIDES[:3] if stride not in number_of]
    if missing:
        raise ConfigError(
            f"MODEL_ENCODER: timm's {name!r}: expected levels of strides 4, 8 and 16, found strides "
            f"{', '.join(map(str, info.reduction()))}"
        )
    return [number_of[stride] for stride in STRIDES[:3]]


def _remove_blocks_after(backbone: nn.Module, last: str) -> None:
    """Removes the blocks after a module such as ``blocks.4``: timm's EfficientNets would compute them."""
    parent, _, index = last.rpartition(".")
    blocks = dict(backbone.named_modules()).get(parent) if parent else None
    if isinstance(blocks, nn.Sequential) and index.isdigit():
        del blocks[int(index) + 1 :]


def _stages(backbone: nn.Module, ends: list[str]) -> tuple[tuple[str, ...], ...]:
    """Lists the stages of a backbone whose levels come from the modules ``ends``; empty if they are unclear.

    The first stage is everything before the module that gives the first level.
    """
    names = []
    for name, child in backbone.named_children():
        holds_levels = any(end.startswith(f"{name}.") for end in ends)
        names += [f"{name}.{inner}" for inner, _ in child.named_children()] if holds_levels else [name]
    found = [end if end in names else end.replace(".", "_") for end in ends]  # timm flattens sequences
    if not all(end in names for end in found):
        return ()
    first, *others = [names.index(end) for end in found]
    bounds = [0, first, first + 1, *(index + 1 for index in others)]
    return tuple(tuple(f"backbone.{name}" for name in names[start:end]) for start, end in pairwise(bounds))
