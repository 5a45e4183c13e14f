"""Drawing on video frames: objects with contours and ids, and the strip of frames in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from aot_plus.utils.masks import davis_palette
from evaluation.masks import IGNORE_ID

__all__ = ["StripCell", "draw_objects", "draw_strip", "strip_height", "text"]

Image = NDArray[np.uint8]  # H x W x 3, RGB
Colour = tuple[int, int, int]

# The palette of the masks, whose first colours are dark, made brighter: 0..192 to 45..255.
_PALETTE = np.minimum(45 + np.array(davis_palette()).reshape(256, 3) * 210 // 192, 255).astype(np.uint8)
_FILL = 0.35  # share of an object's colour inside it

_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
_GREY: Colour = (110, 110, 110)
_ADDED: Colour = (60, 200, 90)
_DROPPED: Colour = (235, 60, 50)
_BACKGROUND: Colour = (24, 24, 24)

_MIN_CELL, _MAX_CELL = 48, 144  # pixels across; a narrow frame gets several rows of cells
_SHARE = 1 / 6  # width of a cell in that of the frame, between once and 1.5 times the smallest
_TITLE = 22  # pixels above the cells
_CAPTION = 18  # pixels under a cell
_CAPTION_SIZE = 12  # of its font
_GAP = 4  # pixels between cells


def draw_objects(image: Image, labels: NDArray[np.uint8]) -> Image:
    """Tints each object, draws its contour and its id. ``labels`` is H x W; 255 is left as it is."""
    present = np.bincount(labels.ravel(), minlength=256)
    present[[0, IGNORE_ID]] = 0
    ids = np.flatnonzero(present).tolist()
    drawn = image.copy()
    if not ids:
        return drawn
    colours = cv2.LUT(cv2.merge([labels] * 3), _PALETTE[None])  # OpenCV looks up five times as fast as NumPy
    inside = cv2.LUT(labels, (present > 0).astype(np.uint8))
    cv2.copyTo(cv2.addWeighted(image, 1 - _FILL, colours, _FILL, 0), inside, drawn)
    thickness = max(1, round(min(labels.shape) / 270))
    places = [_draw_contour(drawn, labels, value, thickness) for value in ids]
    size = int(np.clip(min(labels.shape) / 16, 13, 64))
    for value, place in zip(ids, places, strict=True):
        text(drawn, str(value), place, size, centred=True)
    return drawn


def text(
    image: Image,
    words: str,
    place: tuple[int, int],
    size: int,
    *,
    colour: Colour = _WHITE,
    centred: bool = False,
) -> None:
    """Writes into an image, with a black edge.

    Pillow's own font is used: OpenCV's differs from one version to the next.

    Args:
        image: changed in place.
        words: one line.
        place: x, y of the upper left corner, or of the centre. What would leave the image is moved inside.
        size: of the font, in pixels.
        colour: RGB.
        centred: whether ``place`` is the centre.
    """
    edge = max(1, size // 10)
    font = _font(size)
    left, top, right, bottom = (round(side) for side in font.getbbox(words, stroke_width=edge))
    width, height = right - left, bottom - top
    x, y = (place[0] - width // 2, place[1] - height // 2) if centred else place
    x, y = max(0, min(x, image.shape[1] - width)), max(0, min(y, image.shape[0] - height))
    part = image[y : y + height, x : x + width]
    canvas = PIL.Image.fromarray(np.ascontiguousarray(part))
    ImageDraw.Draw(canvas).text(
        (-left, -top), words, fill=colour, font=font, stroke_width=edge, stroke_fill=_BLACK
    )
    part[:] = np.asarray(canvas)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@dataclass(frozen=True)
class StripCell:
    """One stored frame."""

    thumbnail: Image  # of any size; it is scaled
    caption: str
    mark: str = ""  # "", "added" or "dropped"


def strip_height(frame_size: tuple[int, int], cells: int) -> int:
    """Pixels of the strip under a frame of size H, W that has room for this many cells."""
    columns, _, height = _layout(frame_size, cells)
    return _TITLE + -(-cells // columns) * (height + _CAPTION + _GAP)


def draw_strip(frame_size: tuple[int, int], cells: Sequence[StripCell], room: int, title: str) -> Image:
    """The memory as thumbnails from the oldest to the newest, ``strip_height(frame_size, room) x W x 3``.

    A frame just added has a green border, one just dropped a red one and a cross. ``room``: most cells there
    can be; the last ones are shown.
    """
    columns, width, height = _layout(frame_size, room)
    strip = np.full((strip_height(frame_size, room), frame_size[1], 3), _BACKGROUND, np.uint8)
    size = next((size for size in range(14, 9, -1) if _font(size).getlength(title) < frame_size[1] - 6), 9)
    text(strip, title, (_GAP, 3), size)
    for number, cell in enumerate(cells[-room:]):
        row, column = divmod(number, columns)
        y, x = _TITLE + row * (height + _CAPTION + _GAP), column * width + _GAP // 2
        _draw_cell(strip[y : y + height + _CAPTION, x : x + width - _GAP], cell, height)
    return strip


def _layout(frame_size: tuple[int, int], cells: int) -> tuple[int, int, int]:
    """Columns of the strip, and a cell's width and thumbnail height in pixels."""
    smallest = int(np.clip(frame_size[1] * _SHARE, _MIN_CELL, 1.5 * _MIN_CELL))
    columns = max(1, min(cells, frame_size[1] // smallest))
    width = min(frame_size[1] // columns, _MAX_CELL)
    return columns, width, max(8, round((width - _GAP) * frame_size[0] / frame_size[1]))


def _draw_cell(place: Image, cell: StripCell, height: int) -> None:
    """Draws into a part of the strip (a view)."""
    width = place.shape[1]
    thumbnail = np.asarray(
        cv2.resize(cell.thumbnail, (width, height), interpolation=cv2.INTER_AREA), np.uint8
    )
    colour = {"added": _ADDED, "dropped": _DROPPED}.get(cell.mark, _GREY)
    if cell.mark == "dropped":
        thumbnail = np.asarray(thumbnail // 2, np.uint8)
        cv2.line(thumbnail, (0, 0), (width, height), colour, 2, cv2.LINE_AA)
        cv2.line(thumbnail, (0, height), (width, 0), colour, 2, cv2.LINE_AA)
    cv2.rectangle(thumbnail, (0, 0), (width - 1, height - 1), colour, 3 if cell.mark else 1)
    place[:height] = thumbnail
    caption = np.full((place.shape[0] - height, width, 3), _BACKGROUND, np.uint8)
    text(
        caption,
        _end_of(cell.caption, width - 4),
        (width // 2, caption.shape[0] // 2),
        _CAPTION_SIZE,
        centred=True,
        colour=_text_colour(cell),
    )
    place[height:] = caption


def _end_of(words: str, width: int) -> str:
    """The last characters that have room: the number is at the end of a frame's name."""
    starts = range(len(words))
    return next((words[i:] for i in starts if _font(_CAPTION_SIZE).getlength(words[i:]) <= width), "")


def _text_colour(cell: StripCell) -> Colour:
    return {"added": _ADDED, "dropped": _DROPPED}.get(cell.mark, _WHITE)


def _draw_contour(image: Image, labels: NDArray[np.uint8], value: int, thickness: int) -> tuple[int, int]:
    """Draws the contours of one id, bright on black; gives x, y of its innermost point."""
    shape = np.asarray(labels == value, np.uint8)
    contours, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    colour = tuple(int(channel) for channel in _PALETTE[value])
    cv2.drawContours(image, contours, -1, _BLACK, thickness + 2, cv2.LINE_AA)
    cv2.drawContours(image, contours, -1, colour, thickness, cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect(shape)
    box = cv2.copyMakeBorder(shape[y : y + height, x : x + width], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    depth = cv2.distanceTransform(box, cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return x + int(column) - 1, y + int(row) - 1
