"""Decodes and resizes JPEG files on the device: fast, but not bit for bit as Pillow and OpenCV do."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from aot_plus.networks.engines.prepared import PreparedFrame

__all__ = ["prepare_on_device"]

_ORIENTATION, _UPRIGHT = 0x0112, 1  # of EXIF
_one_at_a_time = threading.Lock()  # readers share a stream


def prepare_on_device(
    path: Path, device: torch.device, sizes: Callable[[Tensor], Sequence[tuple[int, int]]]
) -> PreparedFrame | None:
    """Decodes a JPEG file on ``device``, on CUDA by nvJPEG, and resizes it there, cubic.

    Args:
        path: of the file.
        device: of the inputs of the frame.
        sizes: gives the network's sizes (h, w) for RGB ``H x W x 3`` uint8.

    Returns:
        The frame; None for what that does not do: another format, an image that is to be turned, a damaged
        file.
    """
    data = _bytes_of_jpeg(path)
    if data is None:
        return None
    with _stream_of_readers(device):
        try:
            rgb = torchvision.io.ImageReadMode.RGB
            pixels = torchvision.io.decode_jpeg(data, mode=rgb, device=device).permute(1, 2, 0)
        except RuntimeError:
            return None
        return PreparedFrame((pixels.shape[0], pixels.shape[1]), _resized(pixels, sizes(pixels)))


def _bytes_of_jpeg(path: Path) -> Tensor | None:
    """Reads an upright JPEG file; None for another, which whoever reads it then says what is wrong with."""
    try:
        with PIL.Image.open(path) as image:  # reads no pixels
            if image.format != "JPEG" or image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
                return None
        return torch.from_numpy(np.fromfile(path, np.uint8))
    except (OSError, PIL.Image.DecompressionBombError):
        return None


def _resized(pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Resizes RGB ``H x W x 3`` uint8 to each size (h, w), ``h x w x 3``: float32, but uint8 at its own."""
    maps = pixels.permute(2, 0, 1)[None]
    return [
        pixels.contiguous()
        if size == tuple(pixels.shape[:2])
        else F.interpolate(maps.float(), size=size, mode="bicubic")[0].permute(1, 2, 0).contiguous()
        for size in sizes
    ]


@contextmanager
def _stream_of_readers(device: torch.device) -> Iterator[None]:
    """Runs what a block does on a stream of its own, and waits until it is done.

    nvJPEG writes at once into the memory that it gets. On the network's stream that could be memory of an
    earlier frame which the network has still to read; the host runs ahead of it.
    """
    if device.type != "cuda":
        yield
        return
    stream = _stream(device)
    with _one_at_a_time, torch.cuda.stream(stream):
        yield
        stream.synchronize()


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
