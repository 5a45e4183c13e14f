"""Chooses the device to compute on, and moves small lists to it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aot_plus.utils.errors import ConfigError


def resolve_device(name: str, key: str = "TEST_DEVICE") -> torch.device:
    """``auto`` (CUDA when there is one) or any name PyTorch knows, the value of the config's ``key``.

    Raises ``ConfigError`` for one that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{key}: {name!r} cannot be used here ({reason})") from error
    return device


def on_device(values: Sequence[int] | Sequence[float], device: torch.device) -> Tensor:
    """Copies a short list to a tensor on ``device``, without the wait for a GPU of ``torch.tensor``."""
    return torch.tensor(values).to(device, non_blocking=True)
