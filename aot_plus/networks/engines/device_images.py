"""Decodes and resizes JPEG files on the device: fast, but not bit for bit as Pillow and OpenCV do."""

from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from aot_plus.networks.engines.prepared import PreparedFrame

__all__ = ["prepare_on_device", "read_on_device"]

_ORIENTATION, _UPRIGHT = 0x0112, 1  # of EXIF


def read_on_device(path: Path, device: torch.device) -> Tensor | None:
    """Decodes a JPEG file on ``device`` to RGB ``H x W x 3`` uint8, on CUDA by nvJPEG.

    Returns None for what that does not do: another format, an image that is to be turned, a damaged file.
    """
    try:
        with PIL.Image.open(path) as image:  # reads no pixels
            if image.format != "JPEG" or image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
                return None
        data = torchvision.io.read_file(str(path))
        pixels = torchvision.io.decode_jpeg(data, mode=torchvision.io.ImageReadMode.RGB, device=device)
    except (OSError, RuntimeError, PIL.Image.DecompressionBombError):
        return None  # whoever reads it then says what is wrong
    return pixels.permute(1, 2, 0)


def prepare_on_device(pixels: Tensor, sizes: Sequence[tuple[int, int]]) -> PreparedFrame:
    """Resizes RGB ``H x W x 3`` uint8 to each of the network's ``sizes`` (h, w), cubic, where it is."""
    height, width = pixels.shape[:2]
    maps = pixels.permute(2, 0, 1)[None]
    inputs = [
        pixels.contiguous()
        if size == (height, width)
        else F.interpolate(maps.float(), size=size, mode="bicubic")[0].permute(1, 2, 0).contiguous()
        for size in sizes
    ]
    return PreparedFrame((height, width), inputs)
