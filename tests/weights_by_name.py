"""Weights that anyone can rebuild: every tensor of a state dict is drawn from its own name."""

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def tensor_by_name(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The tensor of this name and shape: float32, or int64 0 for ``num_batches_tracked``."""
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(_scaled(kind, noise).astype(np.float32))


def fill_by_name(module: nn.Module) -> None:
    """Fills all parameters and buffers of the module's state dict, in place, with their tensors by name.

    Other integers than counters (Swin's ``relative_position_index``) keep what the module computed.
    """
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() or name.endswith("num_batches_tracked"):
                tensor.copy_(tensor_by_name(name, tuple(tensor.shape)))


def _scaled(kind: str, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard normal ``noise`` brought to the scale that suits a tensor whose name ends in ``kind``."""
    if kind == "running_var":
        return 1 + 0.1 * np.abs(noise)
    if kind == "running_mean":
        return 0.1 * noise
    if noise.ndim == 1:
        return 1 + 0.1 * noise if kind == "weight" else 0.1 * noise
    return noise * np.sqrt(1.6 / np.prod(noise.shape[1:]))
