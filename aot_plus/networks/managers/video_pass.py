"""Runs one pass over a video, frame by frame; evaluation, validation and demo share it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import FrameLabels
from aot_plus.networks.memory.trace import TraceSink
from aot_plus.utils.errors import DataError
from evaluation.masks import Mask

__all__ = ["LazyMask", "Segmenter", "VideoPass"]

LazyMask = Callable[[], Mask]  # returns a mask, on CUDA after waiting for it


class Segmenter(Protocol):
    """Describes what is used of ``VideoSegmenter``: RGB images H x W x 3, masks of ids H x W, uint8."""

    trace: TraceSink | None

    def prepare(self, image: NDArray[np.uint8] | Path) -> PreparedFrame: ...

    def start(self, image: PreparedFrame, mask: Mask, *, memory_gap: int | None = None) -> Mask: ...

    def submit(self, image: PreparedFrame, mask: Mask | None = None) -> FrameLabels: ...

    def check_finite(self) -> None: ...


class VideoPass:
    """Segments a video's frames in order, and counts the frames and the seconds spent in the segmenter."""

    def __init__(self, name: str, segmenter: Segmenter, gap: int) -> None:
        """
        Args:
            name: the video's name, for error messages.
            segmenter: must not be used for another video until this one is finished.
            gap: frames between two writes to the long-term memory.
        """
        self.name = name
        self.segmenter = segmenter
        self.frames = 0
        self.seconds = 0.0
        self._gap = gap
        self._submitted: FrameLabels | None = None

    def step(self, frame: PreparedFrame, mask: Mask | None = None) -> LazyMask:
        """Passes the frame to the segmenter, and returns a function that returns its mask.

        The mask of the first frame is the given one. A GPU receives a frame while it computes the previous
        one, so that it never waits and no further frames pile up.

        Args:
            frame: the next frame.
            mask: the mask given for it, H x W. The first frame needs one.

        Raises:
            DataError: the first frame has no mask, or the mask cannot be used.
        """
        started = time.perf_counter()
        predicted = self._submit(frame, mask) if self.frames else self._start(frame, mask)
        self.seconds += time.perf_counter() - started
        self.frames += 1
        return predicted

    def _start(self, frame: PreparedFrame, mask: Mask | None) -> LazyMask:
        if mask is None:
            raise DataError(f"{self.name}: there is no mask of the first frame")
        self.segmenter.start(frame, mask, memory_gap=self._gap)
        return lambda: mask

    def _submit(self, frame: PreparedFrame, mask: Mask | None) -> LazyMask:
        before, self._submitted = self._submitted, self.segmenter.submit(frame, mask)
        if before is not None:
            before.wait()
        return self._submitted.array
