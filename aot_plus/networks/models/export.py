"""Exports the weights of a checkpoint, or the mean of several, to a small file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from aot_plus.networks.models.checkpoint import is_used
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.utils.errors import CheckpointError
from evaluation.files import replacing, require_writable

SUFFIX = ".safetensors"


def cast_weights(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns contiguous copies of the tensors, with floating-point tensors converted to ``dtype``.

    Raises ``CheckpointError`` if a value is beyond the range of ``dtype``; the message names the tensor.
    """
    weights = {}
    for name, tensor in tensors.items():
        target = dtype if tensor.is_floating_point() else tensor.dtype
        weights[name] = tensor.to(target, copy=True, memory_format=torch.contiguous_format)
        if tensor.is_floating_point() and not bool(torch.isfinite(weights[name]).all()):
            raise CheckpointError(
                f"{name}: expected values that fit {dtype} (up to {torch.finfo(dtype).max:g}), "
                f"found {tensor.abs().max():g}"
            )
    return weights


def mean_weights(sources: Sequence[Path]) -> dict[str, Tensor]:
    """Averages the weights of checkpoints of one model, tensor by tensor; a single file stays as it is.

    ``num_batches_tracked`` is left out. If one training continued from another, the mean of their weights can
    be better than either (Wortsman et al., "Model soups", ICML 2022). Raises ``CheckpointError`` for a file
    that cannot be read, or whose tensors differ in name or shape from those of the first file.
    """
    first, *others = map(_read_weights, sources)
    shapes = {name: tensor.shape for name, tensor in first.items()}
    for source, tensors in zip(sources[1:], others, strict=True):
        found = {name: tensor.shape for name, tensor in tensors.items()}
        differing = sorted(name for name in shapes | found if shapes.get(name) != found.get(name))
        if differing:
            raise CheckpointError(
                f"{source}: expected the tensors of {sources[0]}; they differ in {', '.join(differing[:5])}"
            )
    return {name: _mean([tensor, *(other[name] for other in others)]) for name, tensor in first.items()}


def _read_weights(source: Path) -> dict[str, Tensor]:
    """Reads a checkpoint without ``num_batches_tracked``: loading ignores it, and exported files lack it."""
    return {name: tensor for name, tensor in read_state_dict(source).items() if is_used(name)}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Averages tensors of one shape; for integers, or a single tensor, returns the first."""
    if len(tensors) == 1 or not tensors[0].is_floating_point():
        return tensors[0]
    return torch.stack([tensor.double() for tensor in tensors]).mean(dim=0).to(tensors[0].dtype)


def export(sources: Sequence[Path], target: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Writes the weights, or the mean weights, of ``sources`` to ``target`` (.safetensors); returns them.

    The file is written completely or not at all. Raises ``CheckpointError`` like ``mean_weights``, for
    weights that do not fit ``dtype``, and for a ``target`` with another suffix. Raises ``DataError``, before
    any source is read, if ``target`` cannot be written.
    """
    if target.suffix != SUFFIX:
        raise CheckpointError(f"{target}: expected a name that ends in {SUFFIX}")
    require_writable(target)
    tensors = mean_weights(sources)
    try:
        weights = cast_weights(tensors, dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{', '.join(map(str, sources))}: {error}") from error
    with replacing(target) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    return weights
