"""Carries frames to the device as raw pixels, which are normalised only there."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from aot_plus.utils.images import MEAN, STD, Image

__all__ = ["PixelNormaliser", "PreparedFrame", "prepare_frame"]


@dataclass(frozen=True)
class PreparedFrame:
    """Holds an image as it travels to the device (``VideoSegmenter.prepare``)."""

    size: tuple[int, int]  # H, W of its labels: the image's, unless the caller replaced it
    inputs: list[Tensor]  # at each scale: h x w x 3, RGB 0..255; uint8, or float32 if it was resized

    @property
    def input_sizes(self) -> list[tuple[int, int]]:
        """Lists height and width of the inputs."""
        return [(pixels.shape[0], pixels.shape[1]) for pixels in self.inputs]


def prepare_frame(image: Image, sizes: Sequence[tuple[int, int]], *, pinned: bool) -> PreparedFrame:
    """Copies an image at each of the network's ``sizes`` (h, w), to page-locked memory if ``pinned``.

    Resizing is cubic and in float32, as published: values may lie between integers and outside 0..255.
    """
    inputs = []
    for height, width in sizes:
        if (height, width) == image.shape[:2]:
            pixels = torch.from_numpy(np.array(image, order="C"))  # the user's array may change
        else:
            size = (width, height)
            resized = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
            pixels = torch.from_numpy(resized)
        inputs.append(pixels.pin_memory() if pinned else pixels)
    return PreparedFrame((image.shape[0], image.shape[1]), inputs)


class PixelNormaliser:
    """Normalises pixels on a device, in float32."""

    def __init__(
        self, device: torch.device, memory_format: torch.memory_format = torch.channels_last
    ) -> None:
        """``memory_format``: of the normalised images; the convolutions that follow should use the same."""
        self._format = memory_format
        self._factor = torch.from_numpy(1 / (255 * STD)).float().to(device)
        self._offset = torch.from_numpy(-MEAN / STD).float().to(device)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Normalises pixels ``h x w x 3`` in 0..255 on the device to ``1 x 3 x h x w``."""
        width = pixels.shape[1]
        # In whole rows: a loop over three channels would take a CPU four times as long.
        rows = torch.addcmul(
            self._offset.repeat(width), pixels.flatten(1).float(), self._factor.repeat(width)
        )
        return rows.view(pixels.shape).permute(2, 0, 1)[None].contiguous(memory_format=self._format)
