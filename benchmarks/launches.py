"""Counts what the host starts in a frame, operation by operation, and with frames that are recorded."""

import argparse
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from torch.utils._python_dispatch import TorchDispatchMode

from aot_plus.networks.engines import segmenter
from benchmarks.report import Figures
from benchmarks.streams import Stream, load_for_size

_ALLOCATIONS = ("aten::empty", "aten::new_empty")  # they compute nothing


class _Counter(TorchDispatchMode):
    """Counts operations that compute: no views, no allocations."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.counting = True

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        computes = not function.is_view and not function.name().startswith(_ALLOCATIONS)
        self.operations += self.counting and computes
        return function(*args, **(kwargs or {}))


class _CountingRecorder:
    """Stands for CUDA's recorder on any device: a repetition is one launch, whatever is in it."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter
        self.repetitions = 0

    def warm_up(self, piece: Callable[[], None]) -> None:
        """Runs a piece as it is."""
        piece()

    def free(self) -> None:
        """Does nothing: it holds no memory."""

    def record(self, piece: Callable[[], None]) -> tuple[Callable[[], None], int]:
        """Returns a repetition of the piece, and 0 bytes."""

        def repeat() -> None:
            self.repetitions += 1
            self._counter.counting = False
            piece()
            self._counter.counting = True

        return repeat, 0


def measure_launches(flags: argparse.Namespace) -> Figures:
    """Counts the operations of a frame with a full bank, on average over a gap cycle.

    An operation is a kernel of a GPU, or a few. ``recorded``: those outside the recordings, and how often
    a recording is repeated; on a GPU each repetition is one launch.
    """
    model = load_for_size(flags)
    counter = _Counter()
    recorder = _CountingRecorder(counter)
    plain = Stream(model, flags, graphs=False)
    with patch.object(segmenter, "step_recorder", lambda device, wanted: lambda: recorder):
        recorded = Stream(model, flags)
    counts: Figures = {}
    for name, stream in {"plain": plain, "recorded": recorded}.items():
        stream.fill(flags.memory_frames)
        stream.step_cycle()
        counter.operations = recorder.repetitions = 0
        with counter:
            stream.step_cycle()
        counts[name] = {
            "operations": counter.operations / flags.memory_gap,
            "recordings": recorder.repetitions / flags.memory_gap,
        }
    return counts
