"""Provides colours and lettering that all pictures share."""

from functools import cache

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from aot_plus.utils.images import Image

__all__ = ["ADDED", "BLACK", "DROPPED", "WHITE", "Colour", "font", "write"]

Colour = tuple[int, int, int]  # RGB

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
ADDED: Colour = (60, 200, 90)  # a frame that entered the memory
DROPPED: Colour = (235, 60, 50)  # a frame that left it


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Loads Pillow's own font (OpenCV's differs from one version to the next), ``size`` in pixels."""
    return ImageFont.load_default(size)


def write(
    image: Image,
    words: str,
    place: tuple[int, int],
    size: int,
    *,
    colour: Colour = WHITE,
    centred: bool = False,
) -> None:
    """Writes a line into ``image``, in place, with a black edge.

    Args:
        image: changed in place.
        words: one line.
        place: x, y of the upper left corner, or of the centre; words that would leave the image move inside.
        size: of the font, in pixels.
        colour: of the letters.
        centred: ``place`` is the centre.
    """
    edge = max(1, size // 10)
    left, top, right, bottom = (round(side) for side in font(size).getbbox(words, stroke_width=edge))
    width, height = right - left, bottom - top
    x, y = (place[0] - width // 2, place[1] - height // 2) if centred else place
    x, y = max(0, min(x, image.shape[1] - width)), max(0, min(y, image.shape[0] - height))
    part = image[y : y + height, x : x + width]
    canvas = PIL.Image.fromarray(np.ascontiguousarray(part))
    ImageDraw.Draw(canvas).text(
        (-left, -top), words, fill=colour, font=font(size), stroke_width=edge, stroke_fill=BLACK
    )
    part[:] = np.asarray(canvas)
