"""Decodes and resizes JPEG files on the device: fast, but not bit for bit the same as Pillow and OpenCV."""

import io
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
from aot_plus.utils.errors import ConfigError, first_line

__all__ = ["check_decoder", "prepare_on_device"]

_ORIENTATION, _UPRIGHT = 0x0112, 1  # EXIF tag and value
_one_at_a_time = threading.Lock()  # readers share a stream


def prepare_on_device(
    path: Path, device: torch.device, sizes: Callable[[Tensor], Sequence[tuple[int, int]]]
) -> PreparedFrame | None:
    """Decodes a JPEG file on ``device``, on CUDA with nvJPEG, and resizes it there (bicubic).

    Args:
        path: of the file.
        device: of the frame's inputs.
        sizes: returns the network's input sizes (h, w) for an RGB image, ``H x W x 3`` uint8.

    Returns:
        The frame; None if this is not possible: for another format, an image that has to be rotated, or a
        damaged file.
    """
    data = _bytes_of_jpeg(path)
    if data is None:
        return None
    with _stream_of_readers(device):
        try:
            pixels = _decoded(data, device)
        except RuntimeError:
            return None
        return PreparedFrame((pixels.shape[0], pixels.shape[1]), _resized(pixels, sizes(pixels)))


def check_decoder(device: torch.device) -> None:
    """Raises ``ConfigError`` if torchvision cannot decode a JPEG image on ``device``.

    It may be built without libjpeg or nvJPEG, and these functions are deprecated since version 0.29. Every
    file would be decoded by Pillow instead, without a word.
    """
    file = io.BytesIO()
    PIL.Image.new("RGB", (16, 16)).save(file, "JPEG")
    try:
        with _stream_of_readers(device):
            _decoded(torch.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy()), device)
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(
            f"TEST_GPU_IMAGES: torchvision {torchvision.__version__} cannot decode JPEG on {device.type} "
            f"({first_line(error)}); set TEST_GPU_IMAGES=False"
        ) from error


def _decoded(data: Tensor, device: torch.device) -> Tensor:
    """Decodes the bytes of a JPEG file to RGB ``H x W x 3`` uint8. Raises ``RuntimeError``."""
    rgb = torchvision.io.ImageReadMode.RGB
    return torchvision.io.decode_jpeg(data, mode=rgb, device=device).permute(1, 2, 0)


def _bytes_of_jpeg(path: Path) -> Tensor | None:
    """Reads an upright JPEG file; returns None for any other file, whose errors the usual reader reports."""
    try:
        with PIL.Image.open(path) as image:  # reads no pixels
            if image.format != "JPEG" or image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
                return None
        return torch.from_numpy(np.fromfile(path, np.uint8))
    except (OSError, PIL.Image.DecompressionBombError):
        return None


def _resized(pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Resizes RGB ``H x W x 3`` uint8 to each size (h, w): ``h x w x 3`` float32, or uint8 if unchanged."""
    maps = pixels.permute(2, 0, 1)[None]
    return [
        pixels.contiguous()
        if size == tuple(pixels.shape[:2])
        else F.interpolate(maps.float(), size=size, mode="bicubic")[0].permute(1, 2, 0).contiguous()
        for size in sizes
    ]


@contextmanager
def _stream_of_readers(device: torch.device) -> Iterator[None]:
    """Runs a block's work on a separate stream, and waits until it is done.

    nvJPEG writes to its output memory at once. On the network's stream, this memory could still hold an
    earlier frame that the network has yet to read, because the host runs ahead of the GPU.
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
