"""Counts the operations that the host starts per frame, eagerly and with captured graphs."""

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
    """Replaces CUDA's recorder on any device, and counts each repetition as one launch."""

    def __init__(self, counter: _Counter) -> None:
        self._counter = counter
        self.repetitions = 0

    def warm_up(self, piece: Callable[[], None]) -> None:
        """Runs a piece eagerly."""
        piece()

    def free(self) -> None:
        """Does nothing: it holds no memory."""

    def record(self, piece: Callable[[], None]) -> tuple[Callable[[], None], int]:
        """Returns a function that repeats the piece, and 0 bytes."""

        def repeat() -> None:
            self.repetitions += 1
            self._counter.counting = False
            piece()
            self._counter.counting = True

        return repeat, 0


def measure_launches(flags: argparse.Namespace) -> Figures:
    """Counts the operations of a frame with a full bank, on average over a gap cycle.

    On a GPU, an operation is one or a few kernels. ``recorded``: the operations outside recordings, and the
    number of repetitions of recordings, each of which is one launch on a GPU.
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
