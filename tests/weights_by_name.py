"""Weights that anyone can rebuild: every tensor of a state dict is drawn from its own name."""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from aot_plus.configs import Config
from aot_plus.networks.models import AOT, build_model


class Undrawn(TorchFunctionMode):
    """Skips the slowest part of building a network, drawing its random weights, and makes them 0."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in (Tensor.uniform_, Tensor.normal_):
            return args[0].zero_()
        return func(*args, **(kwargs or {}))


def build_by_name(cfg: Config) -> AOT:
    """Builds a config's network with weights by name."""
    with Undrawn():
        model = build_model(cfg)
    fill_by_name(model)
    return model


@lru_cache(maxsize=1000)  # the tensors of the last few networks, which many tests share
def tensor_by_name(name: str, shape: tuple[int, ...]) -> Tensor:
    """Returns the tensor of this name and shape, which must not be changed.

    It is float32, except for ``num_batches_tracked``, which is an int64 0.
    """
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    return torch.from_numpy(_scaled(kind, noise).astype(np.float32))


def fill_by_name(module: nn.Module) -> None:
    """Fills all parameters and buffers in the module's state dict, in place, with their tensors by name.

    Integers other than counters (Swin's ``relative_position_index``) keep what the module computed.
    """
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() or name.endswith("num_batches_tracked"):
                tensor.copy_(tensor_by_name(name, tuple(tensor.shape)))


def _scaled(kind: str, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales standard normal ``noise`` to suit a tensor whose name ends in ``kind``."""
    if kind == "running_var":
        return 1 + 0.1 * np.abs(noise)
    if kind == "running_mean":
        return 0.1 * noise
    if noise.ndim == 1:
        return 1 + 0.1 * noise if kind == "weight" else 0.1 * noise
    return noise * np.sqrt(1.6 / np.prod(noise.shape[1:]))
