"""Chooses the device and its precision, and copies data between host and device."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from aot_plus.utils.errors import ConfigError, first_line


def resolve_device(name: str, key: str = "TEST_DEVICE") -> torch.device:
    """Resolves ``auto`` (CUDA if available) or any PyTorch device name.

    Raises ``ConfigError``, which names ``key``, for a device that cannot be used.
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
    """Copies a short list to a tensor on ``device``; unlike ``torch.tensor``, it does not wait for a GPU."""
    return torch.tensor(values).to(device, non_blocking=True)


def is_on_host(tensor: Tensor) -> bool:
    """Returns whether the host can read a tensor without waiting for another device."""
    return tensor.device.type == "cpu"


class HostCopy:
    """Holds a tensor's host copy, which may still be in progress on a GPU; a CPU tensor is not copied."""

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
        """Waits for the copy and returns it; may be called from any thread."""
        if self._copied is not None:
            with torch.cuda.device(self._device):  # otherwise another thread would initialise the first GPU
                self._copied.synchronize()
        return self._tensor


def convolutions_use_tf32() -> bool:
    """Returns whether cuDNN may compute float32 convolutions in TF32, by PyTorch's old or new setting."""
    cudnn: Any = torch.backends.cudnn  # ``conv`` is added at run time, unknown to mypy
    return cudnn.conv.fp32_precision == "tf32"


@contextmanager
def tf32(allowed: bool | None) -> Iterator[None]:
    """Allows or forbids TF32 in convolutions and matrix products on CUDA; restores the settings on exit.

    None leaves PyTorch's settings: by default, TF32 in convolutions only. The settings apply to the whole
    process.
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
    """Returns how to set TF32 for convolutions and products: the modules, the attribute and its value.

    PyTorch has ``allow_tf32`` and, since 2.9, ``fp32_precision``. Once the new one has been set, the old one
    raises ``RuntimeError``; until then, the old one is preferred because it sets both.
    """
    cudnn: Any = torch.backends.cudnn
    products: Any = torch.backends.cuda.matmul
    try:
        _ = cudnn.allow_tf32, products.allow_tf32
    except RuntimeError:
        return [cudnn.conv, products], "fp32_precision", "tf32" if allowed else "ieee"
    return [cudnn, products], "allow_tf32", allowed
