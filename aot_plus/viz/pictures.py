"""Pictures of label maps over their images."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from aot_plus.utils.masks import davis_palette
from evaluation.masks import IGNORE_ID

__all__ = ["paint", "titled_row"]

_OVERLAY = 0.5  # share of the palette colour on an object
_STRIPE = 6  # pixels from one stripe of an ignored region to the next
_MARGIN = 4  # pixels between frames
_TITLE = 16  # pixels above a row


def paint(image: NDArray[np.uint8], label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays the palette's colours over an image (H x W x 3 RGB); objects have a white edge.

    Ignored regions are grey with stripes.
    """
    palette = np.array(davis_palette(), dtype=np.uint8).reshape(256, 3)
    colours: NDArray[np.float64] = palette[label].astype(np.float64)
    rows, columns = np.indices(label.shape)
    stripes = np.asarray((rows + columns) % _STRIPE < _STRIPE // 3)
    ignored = label == IGNORE_ID
    colours[ignored] = np.where(stripes[ignored], 255, 128)[:, None]
    mixed = (1 - _OVERLAY) * image + _OVERLAY * colours
    painted: NDArray[np.uint8] = np.where((label == 0)[..., None], image, mixed).astype(np.uint8)
    painted[_edges(label)] = 255
    return painted


def titled_row(
    title: str, images: Sequence[NDArray[np.uint8]], labels: Sequence[NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """Painted images (T of H x W x 3) side by side under a line of text, as an RGB image."""
    cells = [
        np.pad(paint(image, label), ((0, _MARGIN), (0, _MARGIN), (0, 0)), constant_values=255)
        for image, label in zip(images, labels, strict=True)
    ]
    row = np.concatenate(cells, axis=1)
    line = Image.new("RGB", (row.shape[1], _TITLE), "white")
    ImageDraw.Draw(line).text((2, 1), title, fill="black")
    return np.concatenate([np.asarray(line), row], axis=0)


def _edges(label: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The outermost pixels of each object, H x W; an ignored region has none."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    inner = cv2.erode(label, cross) == cv2.dilate(label, cross)
    return np.asarray(~inner & (label != 0) & (label != IGNORE_ID))
