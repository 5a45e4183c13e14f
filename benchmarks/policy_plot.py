"""Plots the policy comparison: J_tr over the memory gap and over the bank's capacity, with bands."""

import math
from collections.abc import Iterable, Sequence

import pandas as pd
import PIL.Image
from PIL import ImageDraw

from aot_plus.viz.ink import Colour, font

__all__ = ["draw_comparison"]

_SCALE = 2  # the picture is drawn larger and scaled down, for smooth lines
_WIDTH, _HEIGHT = 460, 330  # of a panel, without its margins
_LEFT, _TOP, _BOTTOM, _LEGEND, _CAPTION = 70, 60, 60, 170, 24
_INK: Colour = (40, 40, 40)
_FAINT: Colour = (205, 205, 205)
_COLOURS: Sequence[Colour] = (
    *((110, 110, 110), (196, 48, 43), (78, 121, 167), (60, 140, 80), (226, 140, 30)),
    *((140, 90, 170), (120, 80, 50), (220, 120, 170), (40, 160, 170)),
)
_BAND = 40  # opacity, of 255
_DOT = 3 * _SCALE


def draw_comparison(table: pd.DataFrame, reference: str) -> PIL.Image.Image:
    """Draws a row of panels for each model, from the table of ``policy_statistics.compare``.

    One panel shows J_tr over the gap, at the first capacity of the table; another shows it over the capacity,
    at the first gap. A capacity or gap that does not vary has no panel. Bands are the intervals of the paired
    differences from the policy ``reference``, added to its J_tr, which is dotted.
    """
    models = table["model"].unique().tolist()
    colours = {policy: _COLOURS[i % len(_COLOURS)] for i, policy in enumerate(table["policy"].unique())}
    gap, latter = table["gap"].iloc[0], table["latter"].iloc[0]
    axes = [name for name in ("gap", "latter") if table[name].nunique() > 1] or ["gap"]
    legend = len(axes) * (_LEFT + _WIDTH)
    width = legend + _LEGEND
    height = len(models) * (_TOP + _HEIGHT + _BOTTOM) + _CAPTION
    image = PIL.Image.new("RGBA", (width * _SCALE, height * _SCALE), (255, 255, 255, 255))
    for number, model in enumerate(models):
        own = table[table["model"] == model]
        top = number * (_TOP + _HEIGHT + _BOTTOM) + _TOP
        limits = _limits(own)
        panels = {
            "gap": (own[own["latter"] == latter], f"{model}: J_tr over the memory gap, bank of 1 + {latter}"),
            "latter": (own[own["gap"] == gap], f"{model}: J_tr over the bank's later frames, gap {gap}"),
        }
        for column, name in enumerate(axes):
            rows, title = panels[name]
            panel = _Panel(image, _LEFT + column * (_LEFT + _WIDTH), top, limits, title)
            panel.draw(rows, name, colours)
        _draw_legend(image, colours, legend + 16, top)
    caption = (
        f"Bands: 95 % intervals of the paired difference from {reference} at gap {gap} (dotted), same bank."
    )
    place = (_LEFT * _SCALE, (height - _CAPTION) * _SCALE)
    ImageDraw.Draw(image).text(place, caption, fill=_INK, font=font(13 * _SCALE), anchor="lm")
    return image.convert("RGB").resize((width, height), PIL.Image.Resampling.LANCZOS)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    ends = [rows["J_tr"], *(rows["J_tr_reference"] + rows[f"J_tr_gain_{end}"] for end in ("low", "high"))]
    low, high = min(end.min() for end in ends), max(end.max() for end in ends)
    room = max(0.05 * (high - low), 0.005)
    return low - room, high + room


class _Panel:
    """Draws a plot with a pair of axes into a picture."""

    def __init__(
        self, image: PIL.Image.Image, left: int, top: int, limits: tuple[float, float], title: str
    ) -> None:
        self._image = image
        self._left, self._top, self._limits, self._title = left, top, limits, title
        self._values: list[int] = []  # on the horizontal axis

    def draw(self, rows: pd.DataFrame, name: str, colours: dict[str, Colour]) -> None:
        """Draws a line with its band for each policy, over the column ``name``."""
        self._values = sorted(rows[name].unique().tolist())
        self._axes()
        lines = {policy: rows[rows["policy"] == policy].sort_values(name) for policy in colours}
        for policy, own in lines.items():
            self._band(own, name, colours[policy])
        draw = ImageDraw.Draw(self._image)
        for policy, own in lines.items():
            points = self._points(own[name], own["J_tr"])
            draw.line(points, fill=colours[policy], width=2 * _SCALE, joint="curve")
            for x, y in points:
                draw.ellipse([x - _DOT, y - _DOT, x + _DOT, y + _DOT], fill=colours[policy])
        if name == "gap":  # over the capacity there is no single reference
            self._dots(rows["J_tr_reference"].iloc[0])

    def _points(self, where: Iterable[int], heights: Iterable[float]) -> list[tuple[float, float]]:
        count = len(self._values)
        xs = [self._left + _WIDTH * (self._values.index(value) + 0.5) / count for value in where]
        return [(x * _SCALE, self._height(height)) for x, height in zip(xs, heights, strict=True)]

    def _height(self, value: float) -> float:
        low, high = self._limits
        return (self._top + _HEIGHT * (high - value) / (high - low)) * _SCALE

    def _band(self, own: pd.DataFrame, name: str, colour: Colour) -> None:
        known = own[own["J_tr_gain_low"].notna()]
        low, high = (
            self._points(known[name], known["J_tr_reference"] + known[f"J_tr_gain_{end}"])
            for end in ("low", "high")
        )
        layer = PIL.Image.new("RGBA", self._image.size, (255, 255, 255, 0))
        draw = ImageDraw.Draw(layer)
        if len(known) > 1:
            draw.polygon([*low, *reversed(high)], fill=(*colour, _BAND))
        for ends in zip(low, high, strict=True):
            draw.line(ends, fill=(*colour, 3 * _BAND), width=2 * _SCALE)
        self._image.alpha_composite(layer)

    def _dots(self, value: float) -> None:
        draw, y = ImageDraw.Draw(self._image), self._height(value)
        for x in range(self._left, self._left + _WIDTH, 8):
            draw.line((x * _SCALE, y, (x + 3) * _SCALE, y), fill=_INK, width=_SCALE)

    def _axes(self) -> None:
        draw = ImageDraw.Draw(self._image)
        small = font(13 * _SCALE)
        left, right = self._left * _SCALE, (self._left + _WIDTH) * _SCALE
        for tick in _ticks(*self._limits):
            y = self._height(tick)
            draw.line((left, y, right, y), fill=_FAINT, width=_SCALE)
            draw.text((left - 8 * _SCALE, y), f"{tick:.2f}", fill=_INK, font=small, anchor="rm")
        bottom = [self._limits[0]] * len(self._values)
        for value, (x, y) in zip(self._values, self._points(self._values, bottom), strict=True):
            draw.text((x, y + 16 * _SCALE), str(value), fill=_INK, font=small, anchor="mm")
        place = (left, (self._top - 24) * _SCALE)
        draw.text(place, self._title, fill=_INK, font=font(15 * _SCALE), anchor="lm")


def _ticks(low: float, high: float) -> list[float]:
    """Returns three to eight round numbers between two limits."""
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [step * number for number in range(first, math.floor(high / step) + 1)]


def _draw_legend(image: PIL.Image.Image, colours: dict[str, Colour], left: int, top: int) -> None:
    draw = ImageDraw.Draw(image)
    for number, (policy, colour) in enumerate(colours.items()):
        y = (top + 10 + 22 * number) * _SCALE
        draw.line((left * _SCALE, y, (left + 24) * _SCALE, y), fill=colour, width=3 * _SCALE)
        place = ((left + 32) * _SCALE, y)
        draw.text(place, policy, fill=_INK, font=font(14 * _SCALE), anchor="lm")
