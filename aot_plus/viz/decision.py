"""Draws one decision of a memory policy: the stored frames and their scores."""

import math
import textwrap
from collections.abc import Sequence

import PIL.Image
from PIL import ImageDraw

from aot_plus.networks.memory.trace import TraceEntry
from aot_plus.utils.images import Image
from aot_plus.utils.words import format_count
from aot_plus.viz.ink import Colour, font

__all__ = ["draw_decision"]

_COLUMN = 124  # pixels from one frame to the next
_BAR = 64  # width of a bar, in pixels
_GUTTER = 130  # pixels left of the columns, for the names of the rows
_GUTTER_LETTERS = 12  # letters that fit there
_MARGIN = 16
_TITLE, _CAPTION = 40, 46  # pixels above and under the thumbnails
_PANEL = 76  # height of the highest bar, in pixels
_PANEL_GAP = 44  # pixels between rows of bars, with room for the values

_PAPER: Colour = (255, 255, 255)
_INK: Colour = (40, 40, 40)
_FAINT: Colour = (120, 120, 120)
_LINE: Colour = (205, 205, 205)
_BARS: Sequence[Colour] = ((160, 187, 217), (78, 121, 167), (196, 196, 196), (226, 178, 92), (110, 110, 110))
_DROPPED: Colour = (196, 48, 43)
_DROPPED_BAND: Colour = (252, 236, 234)
_NEW: Colour = (60, 140, 80)


def draw_decision(sequence: str, entry: TraceEntry, pictures: Sequence[Image]) -> PIL.Image.Image:
    """Draws the stored frames from left to right, the new one last, with a row of bars for each score below.

    In every row, bars start at 0 and the highest one fills the row.

    Args:
        sequence: the sequence's name, for the title.
        entry: the decision.
        pictures: the frames in the bank, then the appended frame; all of the same size.
    """
    aspect = pictures[0].shape[0] / pictures[0].shape[1]
    thumbnail = (_COLUMN - 8, max(1, round((_COLUMN - 8) * aspect)))
    bars = _TITLE + thumbnail[1] + _CAPTION
    title = f"{sequence}: {_title(entry)}"
    width = max(_left(len(pictures)), _MARGIN + math.ceil(font(17).getlength(title))) + _MARGIN
    image = PIL.Image.new("RGB", (width, bars + len(entry.scores) * (_PANEL + _PANEL_GAP) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(image)
    if entry.dropped is not None:
        left = _left(entry.bank.index(entry.dropped))
        draw.rectangle((left, _TITLE - 6, left + _COLUMN - 1, image.height - _MARGIN), fill=_DROPPED_BAND)
    draw.text((_MARGIN, 10), title, fill=_INK, font=font(17))
    _draw_thumbnails(image, entry, pictures, thumbnail)
    for row, (name, values) in enumerate(entry.scores.items()):
        _draw_bars(draw, name, values, bars + row * (_PANEL + _PANEL_GAP), _BARS[row % len(_BARS)])
    return image


def _title(entry: TraceEntry) -> str:
    """Describes the decision, and what the policy found about the new frame."""
    full = "full " if entry.dropped is not None else ""
    what = "is not stored in" if entry.declined else "is appended to"
    what = f"frame {entry.frame} {what} a {full}memory of {format_count(len(entry.bank), 'frame')}"
    facts = ", ".join(f"{name} {value:.4g}" for name, value in entry.facts.items())
    return f"{what} ({facts})" if facts else what


def _draw_thumbnails(
    image: PIL.Image.Image, entry: TraceEntry, pictures: Sequence[Image], size: tuple[int, int]
) -> None:
    draw = ImageDraw.Draw(image)
    numbers = [*entry.bank, entry.frame]
    notes = {
        numbers[0]: ("never dropped", _FAINT),
        entry.dropped: ("dropped", _DROPPED),
        entry.frame: ("declined", _DROPPED) if entry.declined else ("new", _NEW),
    }
    for position, (picture, number) in enumerate(zip(pictures, numbers, strict=True)):
        x, y = _left(position) + 4, _TITLE
        image.paste(PIL.Image.fromarray(picture).resize(size, PIL.Image.Resampling.LANCZOS), (x, y))
        right, bottom = x + size[0] - 1, y + size[1] - 1
        note, colour = notes.get(number, ("", _LINE))
        draw.rectangle((x, y, right, bottom), outline=colour, width=3 if note else 1)
        if number == entry.dropped or (entry.declined and number == entry.frame):
            draw.line((x, y, right, bottom), fill=_DROPPED, width=3)
            draw.line((x, bottom, right, y), fill=_DROPPED, width=3)
        centre = _left(position) + _COLUMN // 2
        draw.text((centre, bottom + 12), f"frame {number}", fill=_INK, font=font(14), anchor="mm")
        draw.text((centre, bottom + 29), note, fill=colour, font=font(13), anchor="mm")


def _draw_bars(
    draw: ImageDraw.ImageDraw, name: str, values: Sequence[float], top: int, colour: Colour
) -> None:
    """Draws a row of bars with the values above them; values that are not finite have no bar."""
    finite = [value for value in values if math.isfinite(value)]
    highest, lowest = max([0.0, *finite]), min([0.0, *finite])
    pixels = _PANEL / ((highest - lowest) or 1.0)  # per unit
    zero = top + _PANEL_GAP - 14 + round(highest * pixels)
    # A long name wraps over several lines in the gutter.
    lines = textwrap.wrap(name.replace("_", " "), _GUTTER_LETTERS)
    middle = (_MARGIN, top + _PANEL_GAP + _PANEL // 2)
    draw.multiline_text(middle, "\n".join(lines), fill=_INK, font=font(17), anchor="lm")
    for position, value in enumerate(values):
        end = zero - round(value * pixels) if math.isfinite(value) else zero
        left = _left(position) + (_COLUMN - _BAR) // 2
        draw.rectangle((left, min(zero, end), left + _BAR, max(zero, end)), fill=colour)
        place = (left + _BAR // 2, min(zero, end) - 10)
        draw.text(place, f"{value:.4f}", fill=_INK, font=font(14), anchor="mm")
    draw.line((_GUTTER, zero, _left(len(values)), zero), fill=_FAINT)


def _left(position: int) -> int:
    return _GUTTER + position * _COLUMN
