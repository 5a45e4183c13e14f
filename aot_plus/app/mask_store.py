"""Stores the masks of a project, a file for each frame, and the objects' areas in them."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from aot_plus.utils.masks import write_mask
from evaluation.files import replacing, writing
from evaluation.masks import Mask, read_mask

__all__ = ["MaskStore"]

Areas = dict[int, int]  # pixels of each id

_AREAS_FILE = "areas.json"


class MaskStore:
    """Keeps ``<folder>/<frame number>.png``, and how many pixels each id has in each of them.

    The areas are kept in a file as well. What is newer than the file is counted again when the store is
    opened, so that a killed run costs nothing but time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._areas = self._read_areas()
        self._saved = dict(self._areas)

    def path(self, frame: int) -> Path:
        return self.folder / f"{frame:06d}.png"

    def __contains__(self, frame: int) -> bool:
        return frame in self._areas

    def frames(self) -> list[int]:
        """Lists the frames that have a mask, in order."""
        with self._lock:
            return sorted(self._areas)

    def read(self, frame: int) -> Mask:
        """Reads a mask, H x W ids. Raises ``DataError``."""
        return read_mask(self.path(frame))

    def write(self, frame: int, mask: Mask) -> None:
        """Writes the mask of a frame. Raises ``DataError``, as for a full disk."""
        write_mask(self.path(frame), mask)
        with self._lock:
            self._areas[frame] = _areas(mask)

    def remove(self, frame: int) -> None:
        """Removes the mask of a frame, if there is one."""
        self.restore(frame, None)

    def raw(self, frame: int) -> bytes | None:
        """Reads the file of a frame as it is, to ``restore`` it; None where there is none."""
        with suppress(FileNotFoundError):
            return self.path(frame).read_bytes()
        return None

    def restore(self, frame: int, content: bytes | None) -> None:
        """Puts back what ``raw`` returned."""
        path = self.path(frame)
        if content is None:
            with writing(path):
                path.unlink(missing_ok=True)
            with self._lock:
                self._areas.pop(frame, None)
            return
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        areas = _areas(self.read(frame))
        with self._lock:
            self._areas[frame] = areas

    def areas(self) -> dict[int, Areas]:
        """Copies the areas of all frames, in the order of the frames."""
        with self._lock:
            return {frame: self._areas[frame] for frame in sorted(self._areas)}

    def save_areas(self) -> None:
        """Writes the areas to their file, if they have changed."""
        areas = self.areas()
        if areas != self._saved:
            with replacing(self.folder / _AREAS_FILE) as temporary:
                temporary.write_text(json.dumps(areas), encoding="utf-8")
            self._saved = areas

    def _read_areas(self) -> dict[int, Areas]:
        """Takes the areas from their file; counts those of masks that are newer than it, or not in it."""
        known, saved_at = _read_file(self.folder / _AREAS_FILE)
        areas = {}
        for frame, path in self._files():
            current = frame in known and path.stat().st_mtime < saved_at
            with suppress(DataError):  # a damaged file is no mask; a run writes it again
                areas[frame] = known[frame] if current else _areas(read_mask(path))
        return areas

    def _files(self) -> Iterator[tuple[int, Path]]:
        for path in sorted(self.folder.glob("*.png")):
            if path.stem.isdecimal():
                yield int(path.stem), path


def _areas(mask: Mask) -> Areas:
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value != 0}


def _read_file(path: Path) -> tuple[dict[int, Areas], float]:
    """Reads a file of areas, and when it was written; nothing of one that is missing or damaged."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        areas = {
            int(frame): {int(value): int(count) for value, count in own.items()}
            for frame, own in content.items()
        }
        return areas, path.stat().st_mtime
    except (OSError, ValueError, AttributeError, TypeError):
        return {}, 0.0
