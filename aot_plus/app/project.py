"""Keeps a project: a folder with everything known about a video, saved after every change."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from aot_plus.app.frames import Frames
from aot_plus.app.mask_store import MaskStore
from aot_plus.app.project_file import (
    LONGEST_NAME,
    Chain,
    ProjectData,
    TrackedObject,
    chain_name,
    clean_name,
    read_project,
    write_project,
)
from aot_plus.app.settings import Settings
from aot_plus.utils.errors import DataError
from evaluation.masks import IGNORE_ID, Mask

__all__ = ["Before", "Project", "free_folder"]


class Project:
    """Reads and writes the folder of a project.

    ``masks`` holds the masks as they are shown, ``given`` a copy of the masks given by hand. Several threads
    may use a project: each method is atomic.
    """

    def __init__(self, folder: Path, data: ProjectData) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._data = data
        self.masks = MaskStore(folder / "masks")
        self.given = MaskStore(folder / "given")

    @classmethod
    def create(cls, folder: Path, title: str, frames: Frames, settings: Settings) -> "Project":
        """Creates a project in a new folder. Raises ``DataError`` if it cannot be written."""
        project = cls(
            folder, ProjectData(title, str(frames.path.resolve()), frames.size, frames.list, settings)
        )
        project.save()
        return project

    @classmethod
    def open(cls, folder: Path) -> "Project":
        """Opens a saved project. Raises ``DataError`` for one that is missing or damaged."""
        return cls(folder, read_project(folder))

    def save(self) -> None:
        """Writes ``project.json``. Raises ``DataError``."""
        with self.lock:
            write_project(self.folder, self._data)

    def check_frames(self, frames: Frames) -> None:
        """Raises ``DataError`` if the project was made from other frames."""
        known = self._data.frames or frames.list
        if self.size != frames.size:
            problem = "its size differs"
        elif known.count != frames.count:
            problem = f"it had {known.count} frames, and now has {frames.count} frames"
        elif known.names != frames.list.names:
            problem = "its frames had other names"
        elif not known.resembles(frames.list):
            problem = "its content has changed"
        else:
            return
        raise DataError(f"{self.source}: is not the video that the project was made from: {problem}")

    # --- the video

    @property
    def title(self) -> str:
        return self._data.title

    @property
    def source(self) -> Path:
        return Path(self._data.source)

    @property
    def size(self) -> tuple[int, int]:
        """Returns the size (H, W) of the frames."""
        return self._data.size

    @property
    def frame(self) -> int:
        """Returns the frame that is shown."""
        return self._data.frame

    def show(self, frame: int) -> None:
        """Sets the frame that is shown; it is written with the next save."""
        self._data.frame = frame

    @property
    def settings(self) -> Settings:
        return self._data.settings

    def set_settings(self, settings: Settings) -> None:
        with self.lock:
            self._data.settings = settings
            self.save()

    # --- objects

    @property
    def objects(self) -> list[TrackedObject]:
        with self.lock:
            return list(self._data.objects)

    def object(self, object_id: int) -> TrackedObject:
        """Finds an object by its id. Raises ``DataError``."""
        found = next((item for item in self.objects if item.id == object_id), None)
        if found is None:
            raise DataError(f"there is no object {object_id!r:.40}")
        return found

    def add_object(self, lowest_id: int = 0) -> TrackedObject:
        """Adds an object with the next id, or a higher one. Raises ``DataError`` if there are too many."""
        with self.lock:
            object_id = max(self._data.next_id, lowest_id)
            if object_id >= IGNORE_ID:
                raise DataError(f"a project has at most {IGNORE_ID - 1} objects")
            new = TrackedObject(object_id, f"Object {object_id}")
            self._data.objects.append(new)
            self._data.next_id = object_id + 1
            self.save()
            return new

    def rename(self, object_id: int, name: str) -> None:
        """Renames an object; an empty name restores the default one. Raises ``DataError``."""
        self._replace(object_id, name=clean_name(name) or f"Object {object_id}")

    def hide(self, object_id: int, hidden: bool) -> None:
        """Hides or shows an object. Raises ``DataError``."""
        self._replace(object_id, hidden=hidden)

    def remove_object(self, object_id: int) -> None:
        """Removes an object from all frames. Its id is not reused. Raises ``DataError``."""
        with self.lock:
            self._data.objects.remove(self.object(object_id))
            self.save()

    def _replace(self, object_id: int, **values: Any) -> None:
        with self.lock:
            old, objects = self.object(object_id), self._data.objects
            objects[objects.index(old)] = replace(old, **values)
            self.save()

    @property
    def hidden(self) -> list[int]:
        return [item.id for item in self.objects if item.hidden]

    def of_objects(self, mask: Mask) -> Mask:
        """Keeps only the project's objects in a mask; removed ones and ignored pixels become background."""
        table = np.zeros(256, np.uint8)
        ids = [item.id for item in self.objects]
        table[ids] = ids
        return table[mask]

    def visible(self, mask: Mask) -> Mask:
        """Removes the hidden objects from a mask."""
        return np.where(np.isin(mask, self.hidden), 0, mask).astype(np.uint8)

    # --- masks

    def mask(self, frame: int) -> Mask | None:
        """Reads the mask of a frame as it is shown, H x W ids; None if there is none."""
        return self.of_objects(self.masks.read(frame)) if frame in self.masks else None

    def given_mask(self, frame: int) -> Mask | None:
        """Reads the mask that was given for a frame by hand, H x W ids; None if there is none."""
        return self.of_objects(self.given.read(frame)) if frame in self.given else None

    def given_frames(self) -> list[int]:
        """Lists the frames whose mask was given by hand."""
        return self.given.frames()

    def erased(self, frame: int) -> list[int]:
        """Lists the ids that a run had found in a frame and that were then erased from it completely."""
        mask = self.given_mask(frame)
        if mask is None:
            return []
        with self.lock:
            found = self._data.given.get(frame, [])
        return sorted(set(found) - set(np.unique(mask).tolist()))

    def give(self, frame: int, mask: Mask) -> None:
        """Sets the mask of a frame by hand, H x W ids. Raises ``DataError``.

        An empty mask of a frame in which no run found anything is removed.
        """
        with self.lock:
            if frame not in self._data.given:
                self._data.given[frame] = _ids(self.mask(frame))
            if mask.any() or self._data.given[frame]:
                self.given.write(frame, mask)
                self.masks.write(frame, mask)
            else:
                del self._data.given[frame]
                self.given.remove(frame)
                self.masks.remove(frame)
            self.save()

    def found(self, frame: int, mask: Mask) -> None:
        """Writes what a run found in a frame. Raises ``DataError``."""
        self.masks.write(frame, mask)
        with self.lock:
            if frame in self._data.given:
                found = {*self._data.given[frame], *_ids(mask)}
                self._data.given[frame] = sorted(found)

    def before(self, frame: int | None) -> "Before":
        """Returns the state of the objects, and of a frame whose mask is about to change, for ``go_back``."""
        with self.lock:
            objects = tuple(self.objects)
            if frame is None:
                return Before(objects)
            given = self._data.given.get(frame)
            found = None if given is None else tuple(given)
            return Before(objects, frame, self.masks.raw(frame), self.given.raw(frame), found)

    def go_back(self, before: "Before") -> list[int]:
        """Restores the objects, and a frame whose mask was changed. Raises ``DataError``.

        The objects are restored even if files cannot be written. Whether an object is hidden is not part of a
        change, so it stays as it is. Returns the frames whose masks have changed.
        """
        with self.lock:
            hidden = {item.id: item.hidden for item in self.objects}
            restored = {item.id for item in before.objects} - hidden.keys()
            self._data.objects = [
                replace(item, hidden=hidden.get(item.id, item.hidden)) for item in before.objects
            ]
            if before.frame is not None:
                self._data.given.pop(before.frame, None)
                if before.found is not None:
                    self._data.given[before.frame] = list(before.found)
                self.masks.restore(before.frame, before.mask)
                self.given.restore(before.frame, before.given)
            self.save()
            changed = [] if before.frame is None else [before.frame]
            return changed + self._show_again(list(restored))

    def _show_again(self, ids: Sequence[int]) -> list[int]:
        """Restores painted objects in frames that a run overwrote without them. Returns the frames."""
        frames = []
        for frame in self.given_frames() if ids else []:
            shown, painted = self.masks.read(frame), self.given.read(frame)
            missing = np.isin(painted, ids) & (shown != painted)
            if missing.any():
                self.masks.write(frame, np.where(missing, painted, shown))
                frames.append(frame)
        return frames

    # --- runs

    def chain(self, step: int) -> Chain | None:
        """Returns the run in a direction, if any."""
        with self.lock:
            return self._data.chains.get(chain_name(step))

    def set_chain(self, chain: Chain) -> None:
        """Saves how far a run has come."""
        with self.lock:
            self._data.chains[chain.name] = chain
            self.save()


@dataclass(frozen=True)
class Before:
    """Holds the state before a change: the objects, and the frame whose mask changes."""

    objects: tuple[TrackedObject, ...]
    frame: int | None = None
    mask: bytes | None = None  # content of the mask's file
    given: bytes | None = None
    found: tuple[int, ...] | None = None


def free_folder(parent: Path, title: str) -> Path:
    """Creates a new folder, with a safe name derived from a title. Raises ``DataError``."""
    name = re.sub(r"[^\w.-]+", "_", normalize("NFC", title)).strip("._-")[:LONGEST_NAME] or "video"
    for number in range(1, 10_000):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise DataError(f"{folder}: cannot be created ({error.strerror or error})") from error
    raise DataError(f"{parent / name}: there are too many projects with this name")


def _ids(mask: Mask | None) -> list[int]:
    return [] if mask is None else [value for value in np.unique(mask).tolist() if value != 0]
