"""Draws the memory strip: thumbnails of the frames in a video's memory, updated frame by frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from aot_plus.utils.images import Image
from aot_plus.viz.ink import ADDED, DROPPED, WHITE, Colour, font, write

__all__ = ["MemoryStrip"]

_GREY: Colour = (110, 110, 110)
_BACKGROUND: Colour = (24, 24, 24)
_MARKS = {"added": ADDED, "dropped": DROPPED}
_MARKED = 10  # number of frames for which a change stays marked

_MIN_CELL, _MAX_CELL = 48, 144  # width in pixels; a narrow frame gets several rows of cells
_SHARE = 1 / 6  # of the frame's width: target for a cell, limited to 1..1.5 times the smallest
_TITLE = 22  # pixels above the cells
_CAPTION = 18  # pixels under a cell
_CAPTION_SIZE = 12  # font size of a caption, in pixels
_GAP = 4  # pixels between cells


@dataclass(frozen=True)
class _Cell:
    """Holds one stored frame."""

    thumbnail: Image
    caption: str
    mark: str = ""  # "", "added" or "dropped"


class MemoryStrip:
    """Keeps a thumbnail of each stored frame, and of the frames dropped by the last change."""

    def __init__(self, frame_size: tuple[int, int], room: int) -> None:
        """``frame_size``: H, W of the frames; ``room``: the maximum number of stored frames to show."""
        self._room = room + 1  # and the frame just dropped
        height, self.width = frame_size
        smallest = int(np.clip(self.width * _SHARE, _MIN_CELL, 1.5 * _MIN_CELL))
        self._columns = max(1, min(self._room, self.width // smallest))
        cell = min(self.width // self._columns, _MAX_CELL)
        self._cell = (cell, max(8, round((cell - _GAP) * height / self.width)))  # pitch, thumbnail's height
        self._pitch = self._cell[1] + _CAPTION + _GAP  # from one row of cells to the next
        self.height = _TITLE + -(-self._room // self._columns) * self._pitch  # in pixels
        self._cells: dict[int, _Cell] = {}  # by frame number, ascending
        self._bank: set[int] = set()
        self._changed_at = 0  # frame of the last change

    def update(self, bank: Sequence[int], frame: int, name: str, picture: Image) -> None:
        """Updates the strip to the bank after ``frame``, and marks frames just added or dropped.

        Args:
            bank: numbers of the stored frames.
            frame: the number of the current frame.
            name: the current frame's caption.
            picture: the current frame, H x W x 3.
        """
        stored = set(bank)
        if stored != self._bank:
            self._cells[frame] = _Cell(self._thumbnail(picture), name)
            self._mark(added=stored - self._bank, dropped=self._bank - stored, stored=stored)
            self._bank, self._changed_at = stored, frame
        elif frame - self._changed_at >= _MARKED:
            self._mark(added=(), dropped=(), stored=stored)

    def _mark(self, *, added: Iterable[int], dropped: Iterable[int], stored: Iterable[int]) -> None:
        """Marks the cells, and keeps the newest ones for which there is room."""
        marks = dict.fromkeys(stored, "") | dict.fromkeys(added, "added") | dict.fromkeys(dropped, "dropped")
        recent = sorted(self._cells.keys() & marks.keys())[-self._room :]
        self._cells = {number: replace(self._cells[number], mark=marks[number]) for number in recent}

    def _thumbnail(self, picture: Image) -> Image:
        pitch, height = self._cell
        size = max(1, pitch - _GAP), height
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)

    def draw(self, title: str) -> Image:
        """Draws the strip, ``height x W x 3``, from the oldest frame to the newest."""
        strip = np.full((self.height, self.width, 3), _BACKGROUND, np.uint8)
        size = next((size for size in range(14, 9, -1) if font(size).getlength(title) < self.width - 6), 9)
        write(strip, title, (_GAP, 3), size)
        pitch, height = self._cell
        for position, cell in enumerate(self._cells.values()):
            row, column = divmod(position, self._columns)
            y, x = _TITLE + row * self._pitch, column * pitch + _GAP // 2
            _draw_cell(strip[y : y + height + _CAPTION, x : x + pitch - _GAP], cell)
        return strip


def _draw_cell(place: Image, cell: _Cell) -> None:
    """Draws a cell into a view of the strip: added frames get a green border, dropped ones a red cross."""
    height, width = cell.thumbnail.shape[:2]
    thumbnail = cell.thumbnail.copy()
    colour = _MARKS.get(cell.mark, _GREY)
    if cell.mark == "dropped":
        thumbnail //= 2
        cv2.line(thumbnail, (0, 0), (width, height), colour, 2, cv2.LINE_AA)
        cv2.line(thumbnail, (0, height), (width, 0), colour, 2, cv2.LINE_AA)
    cv2.rectangle(thumbnail, (0, 0), (width - 1, height - 1), colour, 3 if cell.mark else 1)
    place[:height] = thumbnail
    centre = (width // 2, _CAPTION // 2)
    words, ink = _end_of(cell.caption, width - 4), _MARKS.get(cell.mark, WHITE)
    write(place[height:], words, centre, _CAPTION_SIZE, centred=True, colour=ink)


def _end_of(words: str, width: int) -> str:
    """Shortens a frame's name from the front, because its number is at the end."""
    starts = range(len(words))
    return next((words[i:] for i in starts if font(_CAPTION_SIZE).getlength(words[i:]) <= width), "")
