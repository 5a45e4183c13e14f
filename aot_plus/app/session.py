"""Implements everything that the page offers, without a page: for one person, one project at a time."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aot_plus.app.export import export
from aot_plus.app.frames import Frames
from aot_plus.app.models import Models
from aot_plus.app.opened import Opened
from aot_plus.app.painting import Stroke, box_object, paint
from aot_plus.app.places import Places
from aot_plus.app.project import Project, free_folder
from aot_plus.app.project_file import PROJECT_FILE, TrackedObject
from aot_plus.app.settings import Settings
from aot_plus.dataloaders.box_masks import Box
from aot_plus.dataloaders.mini_vost import render_sequence, write_sequence
from aot_plus.dataloaders.mini_vost.writer import FOLDERS
from aot_plus.utils.errors import DataError, VOSError
from evaluation.masks import Mask

__all__ = ["Session"]

_EXAMPLE = (0, "val", 4)  # seed, split and index of a MiniVOST video


class Session:
    """Opens videos and projects, and changes the open project. Methods may be called from any thread."""

    def __init__(self, projects: Path, places: Places, settings: Settings, device: str = "auto") -> None:
        """
        Args:
            projects: the folder of all projects.
            places: the folders that videos may be opened from.
            settings: the settings of new projects.
            device: the value of ``TEST_DEVICE``.
        """
        self.projects = projects
        self.places = places
        self.settings = settings
        self._models = Models(device)
        self._lock = threading.RLock()
        self._exporting = threading.Lock()
        self._opened: Opened | None = None

    @property
    def opened(self) -> Opened:
        """Returns the open project. Raises ``DataError`` if none is open."""
        if self._opened is None:
            raise DataError("no video is open: if this page shows one, reload the page")
        return self._opened

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    # --- opening

    def open_video(self, path: str | Path) -> None:
        """Creates a project from a video in one of the allowed folders. Raises ``DataError``."""
        real = self.places.allowed(path)
        self._create(real, real.name)

    def open_upload(self, path: Path, name: str) -> None:
        """Creates a project from an uploaded file, moved into the project's folder. Raises ``DataError``."""
        self._create(path, name, own_name=f"video{path.suffix.lower()[:6]}")

    def open_example(self) -> None:
        """Creates a project from a MiniVOST video, rendering it on first use. Raises ``DataError``."""
        root = self.projects / ".example"
        found = sorted((root / FOLDERS[0]).glob("*"))
        if not found:
            sequence = render_sequence(*_EXAMPLE)
            write_sequence(root, sequence)
            found = [root / FOLDERS[0] / sequence.name]
        self._create(found[0], "example")

    def open_project(self, name: str) -> None:
        """Opens a saved project by the name of its folder. Raises ``DataError``."""
        if name not in self.saved():
            raise DataError(f"there is no project {name!r:.80}")
        with self._lock:
            self.close()
            project = Project.open(self.projects / name)
            self._opened = Opened(project, Frames(project.source), self._models)

    def saved(self) -> list[str]:
        """Lists the folder names of the saved projects, the most recently used first."""
        files = [path for path in self.projects.glob(f"*/{PROJECT_FILE}") if path.parent.name[0] != "."]
        return [path.parent.name for path in sorted(files, key=lambda path: -path.stat().st_mtime)]

    def close(self) -> None:
        """Closes the open project, if any."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    def _create(self, source: Path, title: str, own_name: str | None = None) -> None:
        """Creates a project and opens it.

        ``own_name``: moves the source into the project's folder, under this name.
        """
        with self._lock:
            folder = free_folder(self.projects, Path(title).stem)
            try:
                if own_name is not None:
                    shutil.move(source, folder / own_name)
                    source = folder / own_name
                frames = Frames(source)
                project = Project.create(folder, title, frames, self.settings)
                project.add_object()
            except VOSError as error:
                shutil.rmtree(folder, ignore_errors=True)
                raise DataError(str(error).replace(str(source), title)) from error
            self.close()
            self._opened = Opened(project, frames, self._models)

    # --- looking and painting

    def show(self, frame: int) -> None:
        """Goes to a frame, clamped to the video. Raises ``DataError``."""
        self.opened.show(frame)

    def stroke(self, frame: int, stroke: Stroke) -> None:
        """Goes to a frame and paints on it. Raises ``DataError``."""
        with self._lock:
            project = self.opened.project
            self._check_object(stroke.object_id)
            self.opened.edit(frame, lambda mask: paint(mask, stroke, project.hidden))

    def box(self, frame: int, box: Box, object_id: int) -> None:
        """Goes to a frame and adds what GrabCut finds in a box to an object. Raises ``DataError``."""
        with self._lock:
            project, frames = self.opened.project, self.opened.frames
            self._check_object(object_id)

            def add_found(mask: Mask) -> Mask:
                return box_object(mask, frames.image(project.frame), box, object_id, project.hidden)

            self.opened.edit(frame, add_found)

    def load_mask(self, frame: int, path: Path) -> None:
        """Goes to a frame and loads its mask from a file. Raises ``DataError``."""
        with self._lock:
            self.opened.load_mask(frame, path)

    def undo(self) -> None:
        """Undoes the last change: a stroke, box or mask file, or an object added, renamed or removed.

        Raises ``DataError`` if there is nothing to undo, or a file cannot be written.
        """
        with self._lock:
            self.opened.undo()

    def _check_object(self, object_id: int) -> None:
        """Raises ``DataError`` for an object that cannot be painted; 0 erases."""
        if object_id and self.opened.project.object(object_id).hidden:
            raise DataError("this object is hidden: show it before painting it")

    # --- objects

    def add_object(self) -> TrackedObject:
        """Adds an object. Raises ``DataError`` if there are too many."""
        with self._lock, self.opened.history.step():
            return self.opened.project.add_object()

    def rename_object(self, object_id: int, name: str) -> None:
        with self._lock, self.opened.history.step():
            self.opened.project.rename(object_id, name)

    def hide_object(self, object_id: int, hidden: bool) -> None:
        with self._lock:
            self.opened.project.hide(object_id, hidden)

    def remove_object(self, object_id: int) -> None:
        """Removes an object from all frames. Raises ``DataError``."""
        with self._lock, self.opened.history.step():
            self.opened.project.remove_object(object_id)

    # --- runs and results

    def segment(self, frame: int, step: int) -> None:
        """Goes to a frame and starts a run from there, forward (1) or backward (-1).

        Raises ``DataError`` if the frame shows no object, ``CheckpointError``, and ``ConfigError``.
        """
        with self._lock:
            self.opened.segment(frame, step)

    def stop(self) -> None:
        """Stops the run after its current frame and waits for its end."""
        with self._lock:
            self.opened.stop()

    def change_settings(self, **values: Any) -> None:
        """Changes the settings of the open project and of new ones.

        Raises ``ConfigError`` or ``DataError``.
        """
        with self._lock:
            project = self.opened.project
            self.settings = project.settings.changed(**values)
            project.set_settings(self.settings)

    def export(self, layout: str, tell: Callable[[int, int], None] = lambda done, total: None) -> Path:
        """Stops the run and writes masks, an overlay and a zip of both. Returns the zip's path.

        Raises ``ConfigError`` for an unknown layout, else ``DataError``.
        """
        opened = self.opened
        if not self._exporting.acquire(blocking=False):
            raise DataError("an export is already in progress, perhaps in another tab: wait for it to finish")
        try:
            opened.stop()
            return export(opened.project, opened.frames, layout, tell)
        finally:
            self._exporting.release()
