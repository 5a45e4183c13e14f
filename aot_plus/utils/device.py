"""Chooses the device to compute on and its precision, and moves small lists to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from aot_plus.utils.errors import ConfigError, first_line


def resolve_device(name: str, key: str = "TEST_DEVICE") -> torch.device:
    """Resolves ``auto`` (CUDA when there is one) or any name PyTorch knows, the value of ``key``.

    Raises ``ConfigError`` for one that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"{key}: {name!r} cannot be used here ({first_line(error)})") from error
    return device


def on_device(values: Sequence[int] | Sequence[float], device: torch.device) -> Tensor:
    """Copies a short list to a tensor on ``device``, without the wait for a GPU of ``torch.tensor``."""
    return torch.tensor(values).to(device, non_blocking=True)


def is_on_host(tensor: Tensor) -> bool:
    """Tells whether the host can read a tensor without a wait for another device."""
    return tensor.device.type == "cpu"


class HostCopy:
    """Holds a tensor's copy on the host, which a GPU may still be making; a CPU's tensor itself."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._copied: torch.cuda.Event | None = None
        if tensor.is_cuda:
            host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor = host.copy_(tensor, non_blocking=True)
            self._device = tensor.device
            self._copied = torch.cuda.Event(blocking=True)
            self._copied.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        """Returns the copy when it is there; may be called in any thread."""
        if self._copied is not None:
            with torch.cuda.device(self._device):  # else another thread would set up the first GPU
                self._copied.synchronize()
        return self._tensor


def convolutions_use_tf32() -> bool:
    """Tells whether cuDNN may compute float32 convolutions in TF32, by PyTorch's old or new setting."""
    cudnn: Any = torch.backends.cudnn  # its type does not know of ``conv``
    return cudnn.conv.fp32_precision == "tf32"


@contextmanager
def tf32(allowed: bool | None) -> Iterator[None]:
    """Allows or forbids TF32 on CUDA, in convolutions and matrix products; afterwards all is as before.

    None leaves PyTorch's settings: by default, TF32 in convolutions only. The settings are
    those of the whole process.
    """
    if allowed is None:
        yield
        return
    places, name, value = _tf32_switches(allowed)
    before = [getattr(place, name) for place in places]
    try:
        for place in places:
            setattr(place, name, value)
        yield
    finally:
        for place, setting in zip(places, before, strict=True):
            setattr(place, name, setting)


def _tf32_switches(allowed: bool) -> tuple[list[Any], str, bool | str]:
    """Finds where TF32 is set for convolutions and products: the modules, the attribute, its value.

    PyTorch has ``allow_tf32`` and, since 2.9, ``fp32_precision``. After the new one was set, the old one
    raises ``RuntimeError``; unless it does, the old one is better, because it sets both.
    """
    cudnn: Any = torch.backends.cudnn
    products: Any = torch.backends.cuda.matmul
    try:
        _ = cudnn.allow_tf32, products.allow_tf32
    except RuntimeError:
        return [cudnn.conv, products], "fp32_precision", "tf32" if allowed else "ieee"
    return [cudnn, products], "allow_tf32", allowed
