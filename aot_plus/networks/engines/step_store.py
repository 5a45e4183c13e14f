"""Keeps the fixed steps of a segmenter's videos for later videos of the same shape, in bounded memory."""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial

from aot_plus.networks.engines.fixed_step import FixedStep
from aot_plus.networks.engines.step_graphs import GRAPH_BYTES, Recorder, StepGraphs
from aot_plus.networks.engines.views import VideoViews

__all__ = ["StepStore"]

_log = logging.getLogger(__name__)

_EAGERLY = "such videos run without CUDA graphs"


class StepStore:
    """Keeps a segmenter's fixed steps: the current video's, and those waiting for a video of their shape.

    The memory of all recordings together is bounded: waiting steps are evicted first, in the order of their
    last use.
    """

    def __init__(self, make_recorder: Callable[[], Recorder] | None) -> None:
        """``make_recorder``: None if every video runs eagerly."""
        self._make_recorder = make_recorder
        self.current: FixedStep | None = None  # the current video's; None if it runs eagerly
        self._shape: Hashable = None  # of the current step
        self._waiting: OrderedDict[Hashable, FixedStep] = OrderedDict()
        self._said: set[str] = set()

    def take(self, shape: Hashable) -> FixedStep | None:
        """Ends the current video; takes and returns an earlier video's step of ``shape``, or None."""
        self._put_back()
        self._shape, self.current = shape, self._waiting.pop(shape, None)
        self._has_room()
        return self.current

    def make(self, shape: Hashable, video: VideoViews) -> None:
        """Makes a step for a video that has been started, unless the video has to run eagerly.

        If that fails, the current video keeps its step.
        """
        step = self._new_step(video)
        self._put_back()
        self._shape, self.current = shape, step
        self._has_room()

    def _new_step(self, video: VideoViews) -> FixedStep | None:
        if self._make_recorder is None:
            return None
        capacities = [batch.memory.bank.capacity for batch in video.batches]
        if None in capacities:
            _say(self._said, logging.INFO, f"an unbounded bank has no fixed shape: {_EAGERLY}")
            return None
        # The store's bound methods would make a cycle, which Python frees late, and with it GPU memory.
        own = weakref.ref(self)
        graphs = StepGraphs(
            self._make_recorder(),
            lambda: (store := own()) is None or store._has_room(),
            partial(_say, self._said, logging.WARNING),
            counts=max(filter(None, capacities)),
        )
        return FixedStep(video, graphs)

    def _put_back(self) -> None:
        """Ends the current video: its step waits for another."""
        if self.current is not None and self.current.fits:
            self._remove(self._shape)  # one may wait already if the current video's state was loaded
            self._waiting[self._shape] = self.current
        self.current = None

    def keep_if_fits(self) -> None:
        """Discards the current step if its video has more groups of objects than it began with."""
        if self.current is not None and not self.current.fits:
            _say(self._said, logging.INFO, f"more groups of objects than the video began with: {_EAGERLY}")
            recorder = self.current.graphs.recorder
            self.current = None
            recorder.free()

    def clear(self) -> None:
        """Discards all steps: the model's weights are elsewhere. The current video goes on eagerly."""
        self._put_back()
        for shape in list(self._waiting):
            self._remove(shape)

    def _remove(self, shape: Hashable) -> None:
        """Discards a waiting step, and frees its memory."""
        step = self._waiting.pop(shape, None)
        if step is not None:
            recorder = step.graphs.recorder
            del step
            recorder.free()

    def _has_room(self) -> bool:
        """Evicts waiting steps if need be; returns whether another recording may be made."""
        while self._waiting and self._total() > GRAPH_BYTES:
            self._remove(next(iter(self._waiting)))
        return self._total() <= GRAPH_BYTES

    def _total(self) -> int:
        """Counts the bytes of all recordings, and of the waiting steps' tensors."""
        current = 0 if self.current is None else self.current.graphs.num_bytes
        return current + sum(step.num_bytes for step in self._waiting.values())


def _say(said: set[str], level: int, message: str) -> None:
    """Logs a message that has not been ``said`` yet."""
    if message not in said:
        said.add(message)
        _log.log(level, "TEST_CUDA_GRAPH: %s", message)
