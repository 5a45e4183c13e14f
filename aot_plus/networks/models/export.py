"""A checkpoint's weights as a small file."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.utils.errors import CheckpointError
from evaluation.files import replacing, require_writable

SUFFIX = ".safetensors"


def cast_weights(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Gives contiguous copies of the tensors, those of floating point as ``dtype``.

    ``num_batches_tracked`` is left out: loading ignores it. Raises ``CheckpointError`` that names a tensor
    with a value beyond the range of ``dtype``.
    """
    weights = {}
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == "num_batches_tracked":
            continue
        target = dtype if tensor.is_floating_point() else tensor.dtype
        weights[name] = tensor.to(target, copy=True, memory_format=torch.contiguous_format)
        if tensor.is_floating_point() and not bool(torch.isfinite(weights[name]).all()):
            raise CheckpointError(
                f"{name}: expected values that fit {dtype} (up to {torch.finfo(dtype).max:g}), "
                f"found {tensor.abs().max():g}"
            )
    return weights


def export(source: Path, target: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Writes the weights of ``source`` to ``target`` (.safetensors), whole or not at all; gives them.

    Raises ``CheckpointError``: ``source`` cannot be read or does not fit ``dtype``, ``target`` has another
    suffix; ``DataError``: ``target`` cannot be written, which is found before ``source`` is read.
    """
    if target.suffix != SUFFIX:
        raise CheckpointError(f"{target}: expected a name that ends in {SUFFIX}")
    require_writable(target)
    tensors = read_state_dict(source)
    try:
        weights = cast_weights(tensors, dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    with replacing(target) as temporary:
        temporary.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    return weights
