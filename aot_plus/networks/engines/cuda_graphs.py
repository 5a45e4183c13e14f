"""Records a step's pieces as CUDA graphs: all of it that needs a GPU is here."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import torch

from aot_plus.networks.engines.step_graphs import Piece, Recorder

__all__ = ["CudaRecorder", "step_recorder"]


def step_recorder(device: torch.device, *, wanted: bool) -> Callable[[], Recorder] | None:
    """Chooses who records a step's pieces: on CUDA graphs do, if they are wanted; else nobody."""
    if not wanted or device.type != "cuda":
        return None
    # One stream for all: each keeps memory and workspaces of its own.
    return partial(CudaRecorder, device, torch.cuda.Stream(device))


class CudaRecorder:
    """Captures pieces into graphs that share a memory pool: what one leaves there, the next may overwrite.

    So a piece leaves its results in tensors that were made before. ``torch.backends.cudnn.benchmark`` may be
    on or off: its trials belong to a first run, which is not captured. A capture that meets a shape first
    fails then.
    """

    def __init__(self, device: torch.device, stream: torch.cuda.Stream) -> None:
        """``stream``: captures; other recorders may share it in the same thread."""
        self._device = device
        self._stream = stream
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, piece: Piece) -> None:
        """Runs a piece on the stream that captures, so that libraries have made their workspaces for it."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            piece()
        current.wait_stream(self._stream)

    def record(self, piece: Piece) -> tuple[Piece, int]:
        """Captures a piece. Other threads may go on using the GPU: they pin memory, and wait for labels."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        before = torch.cuda.memory_reserved(self._device)
        # torch.cuda.graph would also wait for the GPU and empty all caches, at a cost.
        with _no_collection(), torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                piece()
            except BaseException:
                self._give_up(graph)
                raise
            graph.capture_end()
        current.wait_stream(self._stream)
        return graph.replay, torch.cuda.memory_reserved(self._device) - before

    def _give_up(self, graph: torch.cuda.CUDAGraph) -> None:
        """Ends a capture that failed.

        Where CUDA has given it up before, PyTorch stops halfway: its allocator would go on as if something
        were captured, and its random generator would refuse to draw.
        """
        try:
            graph.capture_end()
        except RuntimeError:
            number = self._stream.device.index
            with suppress(RuntimeError):  # newer versions may have ended it already
                torch._C._cuda_endAllocateToPool(number, self._pool)
            generator = torch.cuda.default_generators[number]
            generator.graphsafe_set_state(generator.clone_state())

    def free(self) -> None:
        """Empties PyTorch's cache, which keeps the memory of graphs that are gone."""
        with suppress(RuntimeError):  # another thread captures: the next time will do
            torch.cuda.empty_cache()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python from finding a graph that nobody uses: freeing it would spoil the one that is captured."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
