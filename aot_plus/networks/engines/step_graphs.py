"""Captures a step's pieces, replays them without the host, and bounds the memory of these recordings."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from aot_plus.utils.errors import ConfigError, first_line
from aot_plus.utils.tensor_cache import collect_tables

__all__ = ["GRAPH_BYTES", "Piece", "Recorder", "Recording", "StepGraphs"]

_log = logging.getLogger(__name__)

GRAPH_BYTES = 2**30  # limit of all recordings of a segmenter, and of the tensors that wait for a video
_GRAPHS = 64  # limit of a step with a small bank: only objects that come and go need as many
_GRAPHS_OF_A_FRAME = 3  # for each number of frames in a larger bank: banks may fill at different times

Piece = Callable[[], None]  # does work on a device, in tensors that stay where they are


@dataclass(frozen=True)
class Recording:
    """Holds a captured piece."""

    replay: Piece
    tables: list[Any]  # cached tables that it reads: the cache may forget them


class Recorder(Protocol):
    """Captures pieces; on CUDA, as graphs (``cuda_graphs.py``)."""

    def warm_up(self, piece: Piece) -> None:
        """Runs a piece where it will be captured: on CUDA, on the capture stream."""
        ...

    def record(self, piece: Piece) -> tuple[Piece, int]:
        """Captures a piece without running it; returns its replay and the additional bytes that it takes.

        Raises ``RuntimeError`` for a piece that cannot be captured.
        """
        ...

    def free(self) -> None:
        """Frees the memory of recordings that were deleted, if possible."""
        ...


class StepGraphs:
    """Runs pieces: the first of a kind eagerly, so that libraries are initialised; then as recordings."""

    def __init__(
        self,
        recorder: Recorder,
        has_room: Callable[[], bool] = lambda: True,
        warn: Callable[[str], None] = _log.warning,
        *,
        counts: int = 1,
        training: bool = False,
    ) -> None:
        """
        Args:
            recorder: captures the pieces.
            has_room: returns whether another recording may be made.
            warn: called with the reason why no more recordings are made.
            counts: how many different ``counts`` a kind may have in ``run``.
            training: the pieces are passes of a training. The first one runs where it will be captured, since
                autograd remembers the stream. Recordings are large, so unused memory is freed before each
                capture, which takes a moment. If one fails, all are discarded, since eager passes need
                their memory.
        """
        self.recorder = recorder
        self._training = training
        self._has_room = has_room
        self._warn = warn
        self._limit = max(_GRAPHS, _GRAPHS_OF_A_FRAME * counts)
        self._recordings: OrderedDict[tuple[Hashable, Hashable], Recording] = OrderedDict()
        self._warm: set[Hashable] = set()  # kinds, and keys of pieces, that have run eagerly
        self._prepared: set[Hashable] = set()
        self.stopped = False  # True: nothing is captured any more
        self.num_bytes = 0

    def run(self, kind: Hashable, piece: Piece, counts: Hashable = ()) -> None:
        """Runs a piece. Pieces of the same kind and counts are the same, on the same tensors.

        Pieces of a kind differ only in the ``counts`` of stored frames: the first run of one warms up all.
        """
        key = kind, counts
        recording = self._recordings.get(key)
        if recording is None and kind in self._warm and not self.stopped:
            recording = self._record(key, piece)
        if recording is not None:
            self._recordings.move_to_end(key)
            recording.replay()
        elif self.stopped:
            piece()
        else:
            if self._training:
                self.recorder.warm_up(piece)
            else:  # on the capture stream it would leave cached memory that only other first runs could use
                piece()
            self._warm |= {kind, key}

    def prepare(self, kind: Hashable, piece: Piece, counts: Hashable) -> None:
        """Captures a piece that ``run`` will get later, as soon as another of its kind has been captured.

        Recordings share a memory pool: if the largest comes early, the others fit into its memory. It may be
        the last one for which there is room: once the bank is full, it serves all frames of a size.
        """
        key = kind, counts
        if key in self._prepared or not any(recorded == kind for recorded, _ in self._recordings):
            return
        self._prepared.add(key)  # one try is enough
        if key not in self._recordings and not self.stopped:
            self._record(key, piece)

    def _record(self, key: tuple[Hashable, Hashable], piece: Piece) -> Recording | None:
        """Captures a piece; returns None if that is not possible.

        Capturing stops for good if there is no room, or if a piece that has already run cannot be captured. A
        piece that has not run yet may need the host the first time only: it runs eagerly first.
        """
        if not self._has_room():
            self._stop(f"the recordings hold {GRAPH_BYTES / 2**30:g} GiB")
            return None
        if self._training:
            self.recorder.free()
        try:
            with collect_tables() as tables:
                replay, num_bytes = self.recorder.record(piece)
        except (RuntimeError, ConfigError) as error:  # a user's encoder or policy waits, or memory runs out
            if self._training:
                self._recordings.clear()
                self.recorder.free()
            if key not in self._warm:
                return None
            self._stop(f"a part of the step cannot be captured ({first_line(error)})")
            return None
        self.num_bytes += num_bytes
        self._recordings[key] = Recording(replay, tables)
        if len(self._recordings) > self._limit:  # the evicted one's memory serves the others
            self._recordings.popitem(last=False)
        return self._recordings[key]

    def _stop(self, reason: str) -> None:
        self.stopped = True
        self._warn(f"{reason}: what has not been captured yet runs without CUDA graphs")
