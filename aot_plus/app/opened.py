"""Holds an open project: changes its masks, starts and stops its runs."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aot_plus.app.frames import Frames
from aot_plus.app.history import History
from aot_plus.app.memory_log import MemoryLog
from aot_plus.app.models import Models
from aot_plus.app.project import Project
from aot_plus.app.project_file import Chain
from aot_plus.app.run import Progress, SegmentRun
from aot_plus.app.snapshots import Snapshots
from aot_plus.dataloaders.coloured_masks import MaskReader
from aot_plus.utils.errors import ConfigError, DataError
from evaluation.masks import IGNORE_ID, Mask

__all__ = ["Opened"]

_log = logging.getLogger(__name__)

_STEPS = (1, -1)


class Opened:
    """Holds an open project: its frames, its runs and its undo history."""

    def __init__(self, project: Project, frames: Frames, models: Models) -> None:
        """Raises ``DataError`` if the project was made from other frames."""
        self.project = project
        self.frames = frames
        project.check_frames(frames)
        self.show(project.frame)
        self.history = History(project)
        self.logs = {step: MemoryLog(project.folder / "traces", step) for step in _STEPS}
        self.snapshots = {step: Snapshots(project.folder / "states", step) for step in _STEPS}
        self._reader = MaskReader()
        self._models = models
        self.run: SegmentRun | None = None

    def close(self) -> None:
        """Stops the run, saves the frame that is shown and the areas, and closes the video.

        If they cannot be saved, as on a full disk, it only logs a warning: neither is a real loss.
        """
        self.stop()
        try:
            self.project.save()
            self.project.masks.save_areas()
        except DataError as error:
            _log.warning("%s", error)
        self.frames.close()

    @property
    def progress(self) -> Progress:
        return Progress() if self.run is None else self.run.progress

    def show(self, frame: int) -> int:
        """Goes to a frame, clamped to the video. Returns its number."""
        nearest = min(max(frame, 0), self.frames.count - 1)
        self.project.show(nearest)
        return nearest

    def chain_at(self, frame: int) -> Chain | None:
        """Finds the run that reached a frame: the latest one if both directions did, None if none did."""
        run, step = self.run, self.progress.step
        if run is not None and run.progress.is_running:
            latest: Chain | None = run.chain  # which is saved only now and then
        else:
            latest = self.project.chain(step)
        chains = (latest, self.project.chain(-step))
        return next((chain for chain in chains if chain is not None and chain.reached(frame)), None)

    def segment(self, frame: int, step: int) -> None:
        """Goes to a frame and starts a run from there, forward (1) or backward (-1)."""
        if step not in _STEPS:
            raise ConfigError(f"direction: expected 1 or -1, found {step!r:.40}")
        self.stop()
        start, log, snapshots = self.show(frame), self.logs[step], self.snapshots[step]
        run = SegmentRun(self.project, self.frames, self._models, log, snapshots, start, step)
        run.start()
        self.run = run

    def stop(self) -> None:
        """Stops the run after its current frame and waits for its end."""
        if self.run is not None:
            self.run.stop()
            self.run.wait()

    def edit(self, frame: int, change: Callable[[Mask], Mask]) -> None:
        """Stops the run, goes to a frame and changes its mask. Raises ``DataError``."""
        self.stop()
        project, frame = self.project, self.show(frame)
        mask = project.mask(frame)
        old = np.zeros(project.size, np.uint8) if mask is None else mask
        new = change(old)
        if not np.array_equal(old, new):
            with self.history.step(frame):
                project.give(frame, new)
        self._mask_changed(frame)

    def load_mask(self, frame: int, path: Path) -> None:
        """Stops the run, goes to a frame and loads its mask from a file. Raises ``DataError``.

        Ids of existing objects stay; other ids become new objects. Ignored pixels become background.
        """
        project = self.project
        try:
            loaded = self._reader.read(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), path.name)) from error
        if loaded.shape != project.size:
            found, expected = (" x ".join(map(str, shape[::-1])) for shape in (loaded.shape, project.size))
            raise DataError(f"{path.name}: the mask is {found} pixels, the video {expected}")
        self.stop()
        frame = self.show(frame)
        with self.history.step(frame):
            project.give(frame, _take_ids(project, loaded)[loaded])
        self._mask_changed(frame)

    def undo(self) -> None:
        """Undoes the last change, and goes to the first frame whose mask has changed."""
        self.stop()
        frames = self.history.undo()
        for frame in frames:
            self._mask_changed(frame)
        if frames:
            self.project.show(frames[0])

    def _mask_changed(self, frame: int) -> None:
        """Discards the memory snapshots of runs from a frame on, because its mask has changed."""
        for step in _STEPS:
            chain = self.project.chain(step)
            if chain is not None and chain.position(frame) >= 0:
                self.snapshots[step].forget_from(chain.position(frame))


def _take_ids(project: Project, mask: Mask) -> NDArray[np.uint8]:
    """Adds objects for the unknown ids of a mask. Returns the project's id for each id in the mask (256).

    Ids of removed objects are not reused. Raises ``DataError`` if there would be too many objects.
    """
    known = {item.id for item in project.objects}
    table = np.zeros(256, np.uint8)
    for value in np.unique(mask).tolist():
        if value in known:
            table[value] = value
        elif value not in (0, IGNORE_ID):
            table[value] = project.add_object(value).id
    return table
