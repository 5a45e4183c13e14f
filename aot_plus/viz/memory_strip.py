"""The thumbnails of the frames in a video's memory, kept up to date frame by frame."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.viz.drawing import StripCell, draw_strip

__all__ = ["MemoryStrip"]

_THUMBNAIL = 160  # pixels across
_MARKED = 10  # frames for which a change is marked


class MemoryStrip:
    """Keeps a thumbnail of each stored frame, and of those dropped by the last change."""

    def __init__(self, frame_size: tuple[int, int], room: int) -> None:
        """``frame_size``: H, W of the frames; ``room``: how many stored frames it shows at most."""
        self._frame_size = frame_size
        self._room = room + 1  # and the one just dropped
        self._cells: dict[int, StripCell] = {}  # by frame number, without marks, ascending
        self._bank: set[int] = set()
        self._dropped: set[int] = set()
        self._added: set[int] = set()
        self._changed_at = 0  # frame of the last change

    def update(self, bank: Sequence[int], frame: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Takes over what is stored after ``frame``.

        Args:
            bank: numbers of the stored frames.
            frame: the number of this frame.
            name: its caption.
            picture: of this frame, H x W x 3.
        """
        stored = set(bank)
        if stored != self._bank:
            self._added, self._dropped = stored - self._bank, self._bank - stored
            self._bank, self._changed_at = stored, frame
            self._cells[frame] = StripCell(self._thumbnail(picture), name)
        elif frame - self._changed_at >= _MARKED:
            self._added, self._dropped = set(), set()
        shown = stored | self._dropped
        recent = sorted(number for number in self._cells if number in shown)[-self._room :]
        self._cells = {number: self._cells[number] for number in recent}

    def draw(self, title: str) -> NDArray[np.uint8]:
        """The strip as an image as wide as the frames."""
        cells = [
            StripCell(cell.thumbnail, cell.caption, self._mark(number))
            for number, cell in self._cells.items()
        ]
        return draw_strip(self._frame_size, cells, self._room, title)

    def _mark(self, number: int) -> str:
        if number in self._dropped:
            return "dropped"
        return "added" if number in self._added else ""

    def _thumbnail(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = self._frame_size
        size = (_THUMBNAIL, max(1, round(_THUMBNAIL * height / width)))
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
