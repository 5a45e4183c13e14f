"""Converts a model's weights and activations to the number format ``TEST_DTYPE``.

In float16 and bfloat16 the following stay float32, because small differences in them show in the labels:

- the normalisation of a frame, which is rounded when it enters the encoder;
- batch norms and their statistics; other norms compute a frame's statistics in float32 anyway, as do the sums
  of matrix products and softmax;
- the temporal embedding; the sum of a key and its embedding is rounded once;
- the decoder's last convolution, so the logits and everything computed from them;
- a memory policy's foreground, relevance, redundancy and scores, and its running averages.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from aot_plus.networks.encoders.base import EVEN_SIDES, ODD_SIDES, level_problem
from aot_plus.networks.models.aot import AOT
from aot_plus.utils.errors import ConfigError

__all__ = ["as_number_format", "check_encoder", "use_number_format"]

_KEPT = {"cur_pos_emb", "mem_pos_emb", "input_scale", "input_shift"}  # float32 tensors of model and encoder


def use_number_format(model: AOT, dtype: str) -> None:
    """Converts a prepared model in place to ``TEST_DTYPE``, as described in the module's docstring."""
    target = getattr(torch, dtype)
    if target == model.number_format:
        return
    for module in model.modules():
        if _is_batch_norm(module):
            module.register_forward_hook(_as_given)
        elif module is not model.decoder.conv_out:
            _cast_own(module, target)


def as_number_format(model: AOT, dtype: str) -> AOT:
    """Returns a model in ``TEST_DTYPE``: the model itself if it has that format, else a converted copy.

    Raises ``ConfigError`` like ``check_encoder``, and for a model already converted to another format, since
    the lost precision cannot be restored.
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
    """Raises ``ConfigError`` if the encoder fails in the model's format on a test image.

    With an encoder that returns NaN, every prediction would be background.
    """
    sides = ODD_SIDES if model.cfg.MODEL_ALIGN_CORNERS else EVEN_SIDES
    if problem := level_problem(model.encoder, sides, model.encoder_projector.weight):
        raise ConfigError(
            f"TEST_DTYPE: the encoder {model.cfg.MODEL_ENCODER} does not work in {_name_of_format(model)}: "
            f"{problem}; choose another format"
        )


def _name_of_format(model: AOT) -> str:
    return str(model.number_format).removeprefix("torch.")


def _is_batch_norm(module: nn.Module) -> bool:
    """Returns whether a module is a batch norm; torchvision's and timm's frozen ones have other classes."""
    return isinstance(getattr(module, "running_var", None), Tensor)


def _cast_own(module: nn.Module, dtype: torch.dtype) -> None:
    """Converts a module's own floating-point tensors, not those of its submodules."""
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.is_floating_point() and name not in _KEPT:
            parameter.data = parameter.data.to(dtype)
    for name, buffer in module.named_buffers(recurse=False):
        if buffer.is_floating_point() and name not in _KEPT:
            setattr(module, name, buffer.to(dtype))


def _as_given(module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
    """Rounds the output of a float32 norm to the format of its input."""
    return output.to(arguments[0].dtype)
