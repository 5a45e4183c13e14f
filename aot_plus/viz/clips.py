"""Draws frames of a clip side by side, with their objects."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
from PIL import ImageDraw

from aot_plus.utils.images import Image
from aot_plus.viz.ink import font
from aot_plus.viz.overlay import draw_objects
from evaluation.masks import Mask

__all__ = ["clip_row"]

_FILL = 0.15  # low, so that the objects' own colours stay visible
_MARGIN = 4  # pixels between frames
_TITLE = 18  # pixels above a row


def clip_row(title: str, images: Sequence[Image], masks: Sequence[Mask]) -> Image:
    """Draws T images (H x W x 3) with their objects (H x W ids), side by side under a line of text."""
    cells = [
        np.pad(
            draw_objects(image, mask, numbered=False, fill=_FILL),
            ((0, _MARGIN), (0, _MARGIN), (0, 0)),
            constant_values=255,
        )
        for image, mask in zip(images, masks, strict=True)
    ]
    row = np.concatenate(cells, axis=1)
    line = PIL.Image.new("RGB", (row.shape[1], _TITLE), "white")
    ImageDraw.Draw(line).text((2, 0), title, fill="black", font=font(14))
    return np.concatenate([np.asarray(line), row], axis=0)
