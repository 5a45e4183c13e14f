"""Stores a project's masks, one file per frame, and the areas of the objects in them."""

import json
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np

from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from aot_plus.utils.masks import write_mask
from evaluation.files import replace_text, replacing, writing
from evaluation.masks import Mask, read_mask

__all__ = ["MaskStore"]

Areas = dict[int, int]  # id -> pixels

_AREAS_FILE = "areas.json"


class MaskStore:
    """Keeps ``<folder>/<frame number>.png``, and the number of pixels of each id in every mask.

    The areas are also saved to a file. Masks newer than this file are recounted when the store is opened, so
    a killed run loses no areas.
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
        """Writes the mask of a frame. Raises ``DataError``, for example on a full disk."""
        write_mask(self.path(frame), mask)
        with self._lock:
            self._areas[frame] = _areas(mask)

    def remove(self, frame: int) -> None:
        """Removes the mask of a frame, if any."""
        path = self.path(frame)
        with writing(path):
            path.unlink(missing_ok=True)
        with self._lock:
            self._areas.pop(frame, None)

    def raw(self, frame: int) -> bytes | None:
        """Reads a frame's file as bytes, for ``restore``; None if there is none."""
        with suppress(FileNotFoundError):
            return self.path(frame).read_bytes()
        return None

    def restore(self, frame: int, content: bytes | None) -> None:
        """Restores a frame's file to what ``raw`` returned."""
        if content is None:
            self.remove(frame)
            return
        with replacing(self.path(frame)) as temporary:
            temporary.write_bytes(content)
        areas = _areas(self.read(frame))
        with self._lock:
            self._areas[frame] = areas

    def areas(self) -> dict[int, Areas]:
        """Returns a copy of the areas by frame, in the order of the frames."""
        with self._lock:
            return {frame: self._areas[frame] for frame in sorted(self._areas)}

    def save_areas(self) -> None:
        """Writes the areas to their file if they have changed."""
        areas = self.areas()
        if areas != self._saved:
            replace_text(self.folder / _AREAS_FILE, json.dumps(areas))
            self._saved = areas

    def _read_areas(self) -> dict[int, Areas]:
        """Reads the areas from their file, and counts them in masks that are newer or missing there."""
        known, saved_at = _read_file(self.folder / _AREAS_FILE)
        areas = {}
        for path in sorted(self.folder.glob("*.png")):
            if not path.stem.isdecimal():
                continue
            frame = int(path.stem)
            current = frame in known and path.stat().st_mtime < saved_at
            with suppress(DataError):  # a damaged file counts as no mask; a run rewrites it
                areas[frame] = known[frame] if current else _areas(read_mask(path))
        return areas


def _areas(mask: Mask) -> Areas:
    counts = np.bincount(mask.ravel(), minlength=256)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value != 0}


def _read_file(path: Path) -> tuple[dict[int, Areas], float]:
    """Returns the areas in a file and its modification time; nothing and 0 if it is missing or damaged."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        areas = {
            int(frame): {int(value): int(count) for value, count in own.items()}
            for frame, own in content.items()
        }
        return areas, path.stat().st_mtime
    except (OSError, ValueError, AttributeError, TypeError):
        return {}, 0.0
