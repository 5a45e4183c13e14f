"""Stores recordings of a step's pieces, which are repeated without the host, within bounds."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Protocol

from aot_plus.utils.errors import ConfigError, first_line
from aot_plus.utils.kept_tables import held

__all__ = ["GRAPH_BYTES", "Piece", "Recorder", "Recording", "StepGraphs"]

_log = logging.getLogger(__name__)

GRAPH_BYTES = 2**30  # of all recordings of a segmenter, and of the memories that wait for another video
_GRAPHS = 64  # of a step whose bank holds few frames: more are there only where objects come and go
_GRAPHS_OF_A_FRAME = 3  # for each number of frames in a larger bank: those of a step may fill at other times

Piece = Callable[[], None]  # does work on a device, in tensors that stay where they are


@dataclass(frozen=True)
class Recording:
    """Holds a piece as it was recorded."""

    replay: Piece
    num_bytes: int  # that it needs in addition to others of its recorder
    tables: list[Any]  # that it reads and that somebody else may forget


class Recorder(Protocol):
    """Records pieces: CUDA's are graphs (``cuda_graphs.py``)."""

    def warm_up(self, piece: Piece) -> None:
        """Runs a piece where it will be recorded."""
        ...

    def record(self, piece: Piece) -> tuple[Piece, int]:
        """Records a piece without running it; returns its repetition and the bytes that it takes in addition.

        Raises ``RuntimeError`` for a piece that cannot be recorded.
        """
        ...

    def free(self) -> None:
        """Returns the memory of recordings that nobody has any more, if it can."""
        ...


class StepGraphs:
    """Runs pieces: the first of a kind as it is, so that libraries get ready for it; then recordings."""

    def __init__(
        self,
        recorder: Recorder,
        has_room: Callable[[], bool] = lambda: True,
        warn: Callable[[str], None] = _log.warning,
        *,
        counts: int = 1,
        learns: bool = False,
    ) -> None:
        """``has_room``: tells whether another recording may be made; ``warn`` is told why none is made.

        ``counts``: how many different ones ``run`` may get. ``learns``: pieces are passes of a training. The
        first one runs where it will be recorded, since autograd remembers that. Recordings are large. Memory
        that nobody uses is given back before each of them, which takes a moment, and all are given up if one
        fails: the plain way needs their memory.
        """
        self.recorder = recorder
        self._learns = learns
        self._has_room = has_room
        self._warn = warn
        self._limit = max(_GRAPHS, _GRAPHS_OF_A_FRAME * counts)
        self._recordings: OrderedDict[tuple[Hashable, Hashable], Recording] = OrderedDict()
        self._warm: set[Hashable] = set()  # kinds, and pieces that could not be recorded at once
        self._prepared: set[Hashable] = set()
        self.stopped = False  # nothing is recorded any more
        self.num_bytes = 0

    def run(self, kind: Hashable, piece: Piece, counts: Hashable = ()) -> None:
        """Does a piece's work. A piece of the same kind and counts is the same, on the same tensors.

        Pieces of a kind do the same with other ``counts`` of stored frames: one of them gets them all ready.
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
            if self._learns:
                self.recorder.warm_up(piece)
            else:  # elsewhere it would leave memory that only other first runs could use
                piece()
            self._warm |= {kind, key}

    def prepare(self, kind: Hashable, piece: Piece, counts: Hashable) -> None:
        """Records a piece that ``run`` will get later, once another of its kind has been recorded.

        Recordings share their memory: if the one that needs most comes early, the others fit in there.
        """
        key = kind, counts
        if key in self._prepared or not any(recorded == kind for recorded, _ in self._recordings):
            return
        self._prepared.add(key)  # one try is enough
        if key not in self._recordings and not self.stopped:
            self._record(key, piece)

    def _record(self, key: tuple[Hashable, Hashable], piece: Piece) -> Recording | None:
        """Records a piece. Nothing is recorded any more if there is no room, or if that fails.

        A piece that fails without having run may still want something of the host: it runs first.
        """
        if not self._has_room():
            self._stop(f"the recordings hold {GRAPH_BYTES / 2**30:g} GiB")
            return None
        if self._learns:
            self.recorder.free()
        try:
            with held() as tables:
                replay, num_bytes = self.recorder.record(piece)
        except (RuntimeError, ConfigError) as error:  # a wait of an own encoder or policy, no memory
            if self._learns:
                self._recordings.clear()
                self.recorder.free()
            if key not in self._warm:
                return None
            self._stop(f"a part of the step cannot be recorded ({first_line(error)})")
            return None
        self.num_bytes += num_bytes
        self._recordings[key] = Recording(replay, num_bytes, tables)
        if len(self._recordings) > self._limit:  # its memory serves the others
            self._recordings.popitem(last=False)
        return self._recordings[key]

    def _stop(self, reason: str) -> None:
        self.stopped = True
        self._warn(f"{reason}: what is not recorded yet runs without CUDA graphs")
