"""A picture of one decision of EMFS: the stored frames, and what each of them scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["Decision", "StoredFrame", "draw_decision"]

_COLUMN = 124  # pixels from one frame to the next
_BAR = 64  # width of a bar and of the space around it, in pixels
_GUTTER = 130  # left of the columns, for the names of the rows
_MARGIN = 16
_TITLE, _CAPTION = 40, 46  # pixels above and under the thumbnails
_PANEL = 76  # height of the highest bar
_PANEL_GAP = 44  # from one row of bars to the next, with room for the values

Colour = tuple[int, int, int]
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (40, 40, 40)
_FAINT: Colour = (120, 120, 120)
_LINE: Colour = (205, 205, 205)
_RELEVANCE: Colour = (78, 121, 167)
_NOVELTY: Colour = (226, 178, 92)
_DROPPED: Colour = (196, 48, 43)
_DROPPED_BAND: Colour = (252, 236, 234)
_NEW: Colour = (60, 140, 80)


@dataclass(frozen=True)
class StoredFrame:
    """A frame in the memory and its figures at the decision."""

    number: int
    picture: NDArray[np.uint8]  # H x W x 3 RGB, all of one size
    relevance: float
    novelty: float
    score: float


@dataclass(frozen=True)
class Decision:
    """What is drawn: ``frames`` oldest first, of which the position ``dropped`` goes."""

    title: str
    weight: float  # of the relevance in the score
    frames: Sequence[StoredFrame]
    dropped: int
    new_number: int
    new_picture: NDArray[np.uint8]


def draw_decision(decision: Decision) -> Image.Image:
    """The stored frames from left to right, the new one last; under each its relevance, novelty and score.

    Every row of bars starts at 0; its highest bar fills the row, but novelty's row is always 0..1.
    """
    aspect = decision.new_picture.shape[0] / decision.new_picture.shape[1]
    thumbnail = (_COLUMN - 8, round((_COLUMN - 8) * aspect))
    bars = _TITLE + thumbnail[1] + _CAPTION
    size = (
        _GUTTER + _COLUMN * (len(decision.frames) + 1) + _MARGIN,
        bars + 3 * (_PANEL + _PANEL_GAP) + _MARGIN,
    )
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    left = _left(decision.dropped)
    draw.rectangle((left, _TITLE - 6, left + _COLUMN - 1, size[1] - _MARGIN), fill=_DROPPED_BAND)
    draw.text((_MARGIN, 10), decision.title, fill=_INK, font=_font(17))
    _draw_thumbnails(image, draw, decision, thumbnail)
    _draw_bars(draw, decision, bars)
    return image


def _draw_thumbnails(
    image: Image.Image, draw: ImageDraw.ImageDraw, decision: Decision, size: tuple[int, int]
) -> None:
    last = len(decision.frames)
    pictures = [*(frame.picture for frame in decision.frames), decision.new_picture]
    numbers = [*(frame.number for frame in decision.frames), decision.new_number]
    notes = {0: ("never dropped", _FAINT), decision.dropped: ("dropped", _DROPPED), last: ("new", _NEW)}
    for position, (picture, number) in enumerate(zip(pictures, numbers, strict=True)):
        x, y = _left(position) + 4, _TITLE
        image.paste(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), (x, y))
        right, bottom = x + size[0] - 1, y + size[1] - 1
        note, colour = notes.get(position, ("", _LINE))
        draw.rectangle((x, y, right, bottom), outline=colour, width=3 if note else 1)
        if position == decision.dropped:
            draw.line((x, y, right, bottom), fill=_DROPPED, width=3)
            draw.line((x, bottom, right, y), fill=_DROPPED, width=3)
        centre = _left(position) + _COLUMN // 2
        draw.text((centre, bottom + 12), f"frame {number}", fill=_INK, font=_font(14), anchor="mm")
        draw.text((centre, bottom + 29), note, fill=colour, font=_font(13), anchor="mm")


def _draw_bars(draw: ImageDraw.ImageDraw, decision: Decision, top: int) -> None:
    """Three rows of bars; those of the score are stacked from its two parts."""
    parts = [(decision.weight * frame.relevance, frame.novelty) for frame in decision.frames]
    rows: list[tuple[str, str, list[list[tuple[float, Colour]]], float]] = [
        ("relevance", "R", [[(frame.relevance, _RELEVANCE)] for frame in decision.frames], 0.0),
        ("novelty", "P", [[(frame.novelty, _NOVELTY)] for frame in decision.frames], 1.0),
        ("score", f"{decision.weight:g} R + P", [[(p, _NOVELTY), (r, _RELEVANCE)] for r, p in parts], 0.0),
    ]
    right = _left(len(decision.frames))
    for row, (name, formula, stacks, scale) in enumerate(rows):
        floor = top + (row + 1) * (_PANEL + _PANEL_GAP) - 14
        draw.text((_MARGIN, floor - 34), name, fill=_INK, font=_font(17))
        draw.text((_MARGIN, floor - 14), formula, fill=_FAINT, font=_font(14))
        highest = scale or max(sum(value for value, _ in stack) for stack in stacks) or 1.0
        for position, stack in enumerate(stacks):
            _draw_stack(draw, _left(position), floor, stack, _PANEL / highest, position == decision.dropped)
        draw.line((_GUTTER, floor, right, floor), fill=_FAINT)


def _draw_stack(
    draw: ImageDraw.ImageDraw,
    left: int,
    floor: int,
    stack: Sequence[tuple[float, Colour]],
    pixels: float,
    dropped: bool,
) -> None:
    """Bars on top of each other and the sum above them. ``pixels``: per unit."""
    x, y = left + (_COLUMN - _BAR) // 2, floor
    total = 0.0
    for value, colour in stack:
        total += value
        upper = floor - round(total * pixels)
        draw.rectangle((x, upper, x + _BAR, max(upper, y - 1)), fill=colour)
        y = upper
    colour = _DROPPED if dropped else _INK
    draw.text((x + _BAR // 2, y - 10), f"{total:.4f}", fill=colour, font=_font(14), anchor="mm")


def _left(position: int) -> int:
    return _GUTTER + position * _COLUMN


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
