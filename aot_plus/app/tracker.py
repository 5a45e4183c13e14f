"""Tracks a project's objects with a segmenter and the masks given by hand."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import numpy as np

from aot_plus.app.memory_log import MemoryLog
from aot_plus.app.project import Project
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.managers.video_pass import LazyMask
from aot_plus.networks.memory.gap import memory_gap
from aot_plus.networks.models import AOT
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from evaluation.masks import Mask

__all__ = ["Tracker", "first_mask"]


class Tracker:
    """Goes through a video one frame after another, in any direction.

    It begins with the mask that the project shows in the first frame. Masks given by hand for later frames
    add and correct objects. An object that was erased completely from such a mask, or removed from the
    project, is no longer tracked.
    """

    def __init__(self, project: Project, model: AOT, log: MemoryLog, num_frames: int) -> None:
        """``num_frames``: the video's length, which decides how often a frame is stored in memory."""
        self._project = project
        # Numbers of the frames so far, in order. Frames that cannot be decoded are missing, so the
        # segmenter's count of frames does not tell them. Its trace has this list, not self: no cycle.
        self._numbers = numbers = list[int]()
        self._segmenter = VideoSegmenter(model, trace=lambda decision: log.add(decision, numbers))
        self._gap = memory_gap(model.cfg, num_frames)
        self._followed: set[int] | None = None  # ids; None before the first frame

    def resume(self, state: dict[str, Any], numbers: Iterable[int]) -> None:
        """Continues from a result of ``state``. Raises ``ConfigError`` or ``DataError``.

        ``numbers``: those of the frames so far, for a state of an older project, which does not hold them.
        """
        self._segmenter.load_state_dict(state)
        self._followed = set(state["ids"])
        self._numbers[:] = state.get("numbers", numbers)

    def state(self) -> dict[str, Any]:
        """Returns a copy of the state after the last frame."""
        return self._segmenter.state_dict() | {"numbers": list(self._numbers)}

    def prepare(self, image: Image) -> PreparedFrame:
        """Makes a frame ready ahead of time, in any thread."""
        return self._segmenter.prepare(image)

    def follow(self, number: int, frame: PreparedFrame) -> LazyMask:
        """Segments the next frame, which is number ``number`` in the video.

        Raises ``DataError``, also for logits that are not finite: their mask would be empty, in place of a
        better one, so the check comes before anything of the frame is saved.
        """
        self._numbers.append(number)  # before it can be in a trace
        if self._followed is None:
            return self._start(number, frame)
        present = {item.id for item in self._project.objects}
        removed = (self._followed - present).union(self._project.erased(number))
        for value in removed:
            with suppress(DataError):  # it is not tracked, or no longer
                self._segmenter.remove(value)
        given = self._project.given_mask(number)
        self._followed -= removed
        if given is not None:
            self._followed |= _ids(given)
        labels = self._segmenter.submit(frame, given)
        try:
            self._segmenter.check_finite()
        except DataError as error:
            raise DataError(f"frame {number}: {error}") from error
        return labels.array

    def _start(self, number: int, frame: PreparedFrame) -> LazyMask:
        labels = self._segmenter.start(frame, first_mask(self._project, number), memory_gap=self._gap)
        self._followed = _ids(labels)
        return lambda: labels


def first_mask(project: Project, number: int) -> Mask:
    """Returns the mask with which a run from a frame begins. Raises ``DataError`` if it shows no object."""
    mask = project.mask(number)
    if mask is None or not mask.any():
        raise DataError(f"frame {number} shows no object: paint one, or go to a frame that has a mask")
    return mask


def _ids(mask: Mask) -> set[int]:
    return set(np.unique(mask).tolist()) - {0}
