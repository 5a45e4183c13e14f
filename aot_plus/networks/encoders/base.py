"""Defines the interface of an encoder, and checks that an encoder follows it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aot_plus.utils.errors import ConfigError
from aot_plus.utils.own_classes import own_errors

STRIDES = (4, 8, 16, 16)  # of the four levels
ODD_SIDES, EVEN_SIDES = (65, 81), (64, 80)  # sides of test images: 16k + 1 and 16k


class Encoder(nn.Module):
    """Computes four levels of image features. Custom classes need this interface, not this base class."""

    channels: tuple[int, ...]  # of the levels at 1/4, 1/8, 1/16 and 1/16
    # Names of the leading modules, the stem's first: TRAIN_ENCODER_FREEZE_AT counts these stages.
    stages: tuple[tuple[str, ...], ...] = ()

    def forward(self, images: Tensor) -> Sequence[Tensor]:
        """Maps normalised images ``B x 3 x H x W`` to levels ``B x c x ceil(H/stride) x ceil(W/stride)``."""
        raise NotImplementedError

    def of_classifier(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns an ImageNet classifier's tensors under this encoder's names."""
        return dict(tensors)


@contextmanager
def temporary_eval(module: nn.Module) -> Iterator[None]:
    """Sets evaluation mode temporarily; restores the modes and the random state afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for part, training in modes:
            part.training = training


def level_problem(encoder: Encoder, sides: tuple[int, int], like: Tensor | None = None) -> str:
    """Describes what is wrong with the levels of an image with these sides; empty if they fit.

    ``like``: a tensor with the image's dtype and device. The levels must then have that dtype and be finite.
    """
    expected = _shapes(encoder, sides)
    image = torch.zeros(1, 3, *sides) if like is None else like.new_zeros(1, 3, *sides)
    try:
        with temporary_eval(encoder), torch.no_grad():
            levels = encoder(image)
            found = [tuple(level.shape[1:]) for level in levels]
            finite = like is None or all(bool(level.isfinite().all()) for level in levels)
    except Exception as error:  # noqa: BLE001 (any kind: the encoder may be the user's)
        return f"an image of {sides[0]} x {sides[1]} pixels raises {type(error).__name__} ({error})"
    if not isinstance(levels, Sequence):
        return f"expected a list of levels, found {type(levels).__name__}"
    types = [level.dtype for level in levels]
    if like is not None and types != [like.dtype] * len(types):
        return f"expected levels of {like.dtype}, found {', '.join(map(str, types))}"
    if not finite:
        return "expected levels of finite numbers, found NaN or infinite ones"
    if found == expected:
        return ""
    return f"for an image of {sides[0]} x {sides[1]} pixels, expected levels {expected}, found {found}"


def levels_of(encoder: Encoder, name: str, images: Tensor) -> Sequence[Tensor]:
    """Computes the four levels of ``B x 3 x H x W`` images with the encoder called ``name``.

    An encoder that is not the project's, whose name has a colon, was tried with small images alone: if it
    fails at this size, or its levels have the wrong sizes, raises ``ConfigError``.
    """
    if ":" not in name:
        return encoder(images)
    height, width = images.shape[2:]
    expected = _shapes(encoder, (height, width))
    task = f"for images of {height} x {width} pixels, expected levels {expected}"
    with own_errors("MODEL_ENCODER", name, torch.OutOfMemoryError, task=task):
        levels: Sequence[Tensor] = encoder(images)
        found = [tuple(level.shape[1:]) for level in levels]
    if found != expected:
        raise ConfigError(f"MODEL_ENCODER {name!r}: {task}, found {found}")
    return levels


def _shapes(encoder: Encoder, sides: tuple[int, int]) -> list[tuple[int, ...]]:
    """Returns the shapes ``c x h x w`` that an image's levels should have."""
    return [
        (channels, *(-(-side // stride) for side in sides))
        for channels, stride in zip(encoder.channels, STRIDES, strict=True)
    ]
