"""Tracks objects from a frame on, in a thread that can be stopped at any time."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from aot_plus.app.frames import Frames
from aot_plus.app.memory_log import MemoryLog
from aot_plus.app.models import Models
from aot_plus.app.project import Project
from aot_plus.app.project_file import Chain
from aot_plus.app.snapshots import Snapshots
from aot_plus.app.tracker import Tracker, first_mask
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.managers.writer import BackgroundWriter
from aot_plus.utils.errors import DataError, VOSError
from aot_plus.utils.read_ahead import ReadAhead
from evaluation.masks import Mask

__all__ = ["Progress", "SegmentRun"]

_log = logging.getLogger(__name__)

State = Literal["idle", "loading", "remembering", "running", "stopped", "done", "failed"]

_WINDOW = 30  # frames over which the speed is measured
_NOTE_EVERY = 0.5  # seconds between two updates of the saved progress
_SAVE_EVERY = 5.0  # seconds; for the areas, which can be recounted, and the trace, which only explains


@dataclass(frozen=True)
class Progress:
    """Describes how far a run has come."""

    state: State = "idle"
    step: int = 1  # 1 forward, -1 backward
    frame: int = 0  # the last frame whose mask was written
    done: int = 0  # frames
    total: int = 0
    fps: float = 0.0
    seconds_left: float | None = None
    message: str = ""

    @property
    def is_running(self) -> bool:
        return self.state in ("loading", "remembering", "running")


class SegmentRun:
    """Segments a project's video from a frame to its end, or back to its beginning.

    If an earlier run in this direction came that far, with the same settings and weights, the run restores
    its memory from the nearest saved state and re-reads the frames from there. Otherwise the memory
    starts over at the frame, with the mask that is shown there. Masks given for later frames are used.
    """

    def __init__(
        self,
        project: Project,
        frames: Frames,
        models: Models,
        log: MemoryLog,
        snapshots: Snapshots,
        start: int,
        step: int,
    ) -> None:
        """``start``: the first frame; ``step``: 1 forward, -1 backward.

        Raises ``CheckpointError`` or ``DataError`` if the checkpoint is missing or cannot be read.
        """
        self._project = project
        self._frames = frames
        self._models = models
        self._log = log
        self._snapshots = snapshots
        self._start = start
        self._numbers = range(self._start, frames.count if step > 0 else -1, step)
        settings = project.settings
        # The run as far as it has come.
        self.chain = Chain(self._start, self._start, step, settings, models.weights(settings))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="segment", daemon=True)
        self._times: deque[float] = deque(maxlen=_WINDOW + 1)
        self._noted_at = self._saved_at = time.monotonic()
        self.progress = Progress("loading", step, self._start, 0, len(self._numbers))

    def start(self) -> None:
        """Starts the thread. Raises ``DataError`` if the first frame shows no object to track."""
        earlier = self._project.chain(self.chain.step)
        if earlier is not None and self._continues(earlier):
            self.chain = earlier
        else:
            first_mask(self._project, self._start)
        self._thread.start()

    def stop(self) -> None:
        """Stops the run after its current frame."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Waits for the run to end."""
        self._thread.join(seconds)

    def _continues(self, chain: Chain) -> bool:
        """Returns whether this run can continue an earlier one.

        That run must have the same settings and weights, have reached the frame before the first one, and
        have left a state at or before it.
        """
        before = chain.position(self._start) - 1
        same = (chain.settings, chain.weights) == (self.chain.settings, self.chain.weights)
        return same and 0 <= before <= chain.position(chain.last) and self._snapshots.has(before)

    def _work(self) -> None:
        """Runs in the thread. Reports success and failure in ``progress``."""
        try:
            model = self._models.load(self.chain.settings, self.chain.weights)
            tracker = Tracker(self._project, model, self._log, self._frames.count)
            if self.chain.first == self._start:
                self._log.begin(self.chain, 0)
                self._snapshots.clear()
                self._project.set_chain(self.chain)  # before its states, or a kill could mix two runs
            else:
                self._remember(tracker)
            self._follow(tracker)
            self._note(state="stopped" if self._stop.is_set() else "done", seconds_left=None, message="")
        except VOSError as error:
            self._note(state="failed", message=str(error))
        except Exception as error:  # noqa: BLE001 (a user's own network may raise anything)
            _log.exception("the run failed")
            self._note(state="failed", message=f"{type(error).__name__}: {error}")

    def _remember(self, tracker: Tracker) -> None:
        """Restores the memory as it was before the first frame."""
        before = self.chain.position(self._start) - 1
        found = self._snapshots.nearest(before)
        if found is None:
            raise DataError(
                f"the saved states of the earlier run cannot be read: remove them from {self._project.folder}"
            )
        position, state = found
        tracker.resume(state, map(self.chain.frame, range(position + 1)))
        self._log.begin(self.chain, position)
        self._snapshots.forget_from(position + 1)
        again = range(self.chain.frame(position + 1), self._start, self.chain.step)
        with ReadAhead.of(self._read(tracker, again)) as frames:
            for done, (number, frame) in enumerate(frames, start=1):
                self._note(state="remembering", message=f"re-reading frame {done} of {len(again)}")
                tracker.follow(number, frame)
                self._keep_state(tracker, number)
                if self._stop.is_set():
                    break

    def _follow(self, tracker: Tracker) -> None:
        with (
            BackgroundWriter(1, self._write) as writer,
            ReadAhead.of(self._read(tracker, self._numbers)) as frames,
        ):
            try:
                for number, frame in frames:
                    if self._stop.is_set():
                        break
                    labels = tracker.follow(number, frame)
                    writer.write(self._project.masks.path(number), labels)
                    self._keep_state(tracker, number)
            finally:  # after an error too, what was segmented is written
                writer.join()
                self._save()
                self._snapshots.settle()

    def _read(self, tracker: Tracker, numbers: range) -> Iterator[tuple[int, PreparedFrame]]:
        for frame in self._frames.read(numbers):
            yield frame.number, tracker.prepare(frame.image)

    def _keep_state(self, tracker: Tracker, number: int) -> None:
        position = self.chain.position(number)
        if self._snapshots.is_due(position):
            self._snapshots.keep(position, tracker.state())

    def _write(self, path: Path, mask: Mask) -> None:
        """Writes a frame's mask and updates the progress, in the writer's thread."""
        number = int(path.stem)
        self._project.found(number, mask)
        self.chain = replace(self.chain, last=number)
        self._times.append(time.monotonic())
        done = self.progress.done + 1
        seconds = self._times[-1] - self._times[0]
        fps = (len(self._times) - 1) / seconds if seconds else 0.0
        left = (self.progress.total - done) / fps if fps else None
        self._note(state="running", frame=number, done=done, fps=fps, seconds_left=left, message="")
        if self._times[-1] - self._noted_at > _NOTE_EVERY:
            self._noted_at = self._times[-1]
            self._project.set_chain(self.chain)
        if self._times[-1] - self._saved_at > _SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        """Writes what goes with the masks: the run's progress, its memory's history, the objects' areas."""
        if self.progress.done:
            self._project.set_chain(self.chain)
            self._log.save()
        self._project.masks.save_areas()
        self._saved_at = time.monotonic()

    def _note(self, **values: Any) -> None:
        self.progress = replace(self.progress, **values)
