"""Records a step's pieces as CUDA graphs: all of it that needs a GPU is here."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial

import torch

from aot_plus.networks.engines.step_graphs import Piece, Recorder

__all__ = ["CudaRecorder", "step_recorder"]

_one_at_a_time = threading.RLock()  # what another thread does on the stream that captures would be captured


def step_recorder(device: torch.device, *, wanted: bool) -> Callable[[], Recorder] | None:
    """Chooses who records a step's pieces: on CUDA graphs do, if they are wanted; else nobody."""
    if not wanted or device.type != "cuda":
        return None
    return partial(CudaRecorder, device)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the stream that captures, one for all recorders: a stream keeps memory of its own."""
    return torch.cuda.Stream(device)


class CudaRecorder:
    """Captures pieces into graphs that share a memory pool: what one leaves there, the next may overwrite.

    So a piece leaves its results in tensors that were made before. ``torch.backends.cudnn.benchmark`` may be
    on or off: its trials belong to a first run, which is not captured. If it is on, a capture fails that is
    the first to meet a shape.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, piece: Piece) -> None:
        """Runs a piece on the stream that captures, so that libraries are ready for it."""
        current = torch.cuda.current_stream(self._device)
        with _one_at_a_time:
            self._stream.wait_stream(current)
            try:
                with torch.cuda.stream(self._stream):
                    piece()
            finally:
                current.wait_stream(self._stream)

    def record(self, piece: Piece) -> tuple[Piece, int]:
        """Captures a piece. Other threads may go on using the GPU: they pin memory, and wait for labels."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        # torch.cuda.graph would also wait for the GPU and empty all caches, at a cost.
        with _one_at_a_time, _no_collection(), torch.cuda.device(self._device):
            self._stream.wait_stream(current)
            before = torch.cuda.memory_reserved(self._device)
            with torch.cuda.stream(self._stream), _own_workspaces():
                try:
                    graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                    piece()
                    graph.capture_end()
                except BaseException:
                    self._give_up(graph)
                    raise
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
def _own_workspaces() -> Iterator[None]:
    """Has a graph's matrix products make their workspaces anew, in the memory of the graph.

    Else they would use those of the stream, which PyTorch frees with any other graph of that stream. It only
    clears the workspaces of all streams together, so no other thread should compute products at this moment.
    """
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()  # what is not captured makes others


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps Python, in all threads, from finding a graph that nobody uses: freeing it spoils a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
