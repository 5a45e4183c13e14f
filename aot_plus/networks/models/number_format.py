"""Converts a model's weights and activations to the format ``TEST_DTYPE``.

In float16 and bfloat16 these stay float32, because small differences in them are seen in the labels:

- a frame's normalisation, which is rounded when the encoder gets the frame;
- batch norms, with their statistics; other norms take the statistics of a frame in float32 by themselves, as
  matrix products and softmax take their sums;
- the temporal embedding; a key with its embedding is rounded once;
- the decoder's last convolution: the logits, and all that is made of them;
- a memory policy's foreground, relevance, redundancy and scores, and its running averages.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from aot_plus.networks.encoders.base import EVEN_SIDES, ODD_SIDES, misfit
from aot_plus.networks.models.aot import AOT
from aot_plus.utils.errors import ConfigError

__all__ = ["as_number_format", "check_encoder", "use_number_format"]

_KEPT = {"cur_pos_emb", "mem_pos_emb", "input_scale", "input_shift"}  # of a model and its encoder


def use_number_format(model: AOT, dtype: str) -> None:
    """Converts a prepared model in place to ``TEST_DTYPE``, as this module's text says."""
    target = getattr(torch, dtype)
    if target == model.number_format:
        return
    for module in model.modules():
        if _is_batch_norm(module):
            module.register_forward_hook(_as_given)
        elif module is not model.decoder.conv_out:
            _cast_own(module, target)


def as_number_format(model: AOT, dtype: str) -> AOT:
    """Returns a model in ``TEST_DTYPE``: itself if it is in that format, else a converted copy.

    Raises ``ConfigError`` for a model that was converted to another, since what it lost does not come back,
    and as ``check_encoder``.
    """
    held = _name_of_format(model)
    if held == dtype:
        return model
    if held != "float32":
        raise ConfigError(f"TEST_DTYPE: the model was loaded as {held}, this segmenter has {dtype!r}")
    converted = copy.deepcopy(model)
    use_number_format(converted, dtype)
    check_encoder(converted)
    return converted


def check_encoder(model: AOT) -> None:
    """Raises ``ConfigError`` for an encoder that does not work in the model's format, tried with an image.

    Where it gives NaN, all that is predicted would be background.
    """
    sides = ODD_SIDES if model.cfg.MODEL_ALIGN_CORNERS else EVEN_SIDES
    if problem := misfit(model.encoder, sides, model.encoder_projector.weight):
        raise ConfigError(
            f"TEST_DTYPE: the encoder {model.cfg.MODEL_ENCODER} does not work in {_name_of_format(model)}: "
            f"{problem}; choose another format"
        )


def _name_of_format(model: AOT) -> str:
    return str(model.number_format).removeprefix("torch.")


def _is_batch_norm(module: nn.Module) -> bool:
    """Tells whether a module is a batch norm: frozen ones of torchvision and timm are of other classes."""
    return isinstance(getattr(module, "running_var", None), Tensor)


def _cast_own(module: nn.Module, dtype: torch.dtype) -> None:
    """Converts a module's own tensors of floating point, without those of its parts."""
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.is_floating_point() and name not in _KEPT:
            parameter.data = parameter.data.to(dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point() and name not in _KEPT:
            setattr(module, name, buffer.to(dtype))


def _as_given(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
    """Rounds what a norm in float32 made to the format that it got."""
    return output.to(arguments[0].dtype)
