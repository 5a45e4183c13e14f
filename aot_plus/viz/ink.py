"""Provides the colours and lettering shared by all pictures."""

from functools import cache

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from aot_plus.utils.images import Image

__all__ = ["ADDED", "BLACK", "DROPPED", "WHITE", "Colour", "font", "write"]

Colour = tuple[int, int, int]  # RGB

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
ADDED: Colour = (60, 200, 90)  # a frame that was added to the memory
DROPPED: Colour = (235, 60, 50)  # a frame that was dropped from it


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
    """Writes a line of text with a black outline into ``image``, in place.

    Args:
        image: changed in place.
        words: the text, one line.
        place: x, y of the upper left corner or the centre; text that would leave the image is moved inside.
        size: the font's size, in pixels.
        colour: the colour of the letters.
        centred: whether ``place`` is the centre.
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
