"""Converts images to network input and back, and sorts image files."""

import re
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # H x W x 3, RGB

# ImageNet statistics of RGB values in 0..1, used to train the encoders (``TimmEncoder`` converts to others).
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
_NORMALISED = ((np.arange(256)[None, :, None] / 255 - MEAN) / STD).astype(np.float32)  # 1 x 256 x 3


def normalise(images: Image) -> NDArray[np.float32]:
    """Normalises RGB 0..255, ``... x H x W x 3``, to ``... x 3 x H x W``, each value rounded once."""
    height, width = images.shape[-3:-1]
    values = np.empty((images.size // (3 * height * width), 3, height, width), np.float32)
    for image, planes in zip(images.reshape(-1, height, width, 3), values, strict=True):
        for colour, (channel, plane) in enumerate(zip(cv2.split(image), planes, strict=True)):
            cv2.LUT(channel, _NORMALISED[..., colour], dst=plane)
    return values.reshape(*images.shape[:-3], 3, height, width)


def restore(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Inverts ``normalise``: ``... x 3 x H x W`` to RGB ``... x H x W x 3`` in 0..255."""
    colours = np.moveaxis(values, -3, -1) * STD + MEAN
    return np.clip(np.round(colours * 255), 0, 255).astype(np.uint8)


def natural_order(name: str) -> list[tuple[int, str]]:
    """Returns a sort key that orders numbers in names by value: ``2.jpg`` comes before ``10.jpg``."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def first_out_of_order(names: Sequence[str]) -> tuple[str, str] | None:
    """Returns the first name that is not in natural order, and the name due in its place; None if all are."""
    pairs = zip(names, sorted(names, key=natural_order), strict=True)
    return next(((name, due) for name, due in pairs if name != due), None)
