"""Captures a step's pieces as CUDA graphs. All code for recordings that needs a GPU is in this file."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial

import torch

from aot_plus.networks.engines.step_graphs import Piece, Recorder

__all__ = ["CudaRecorder", "step_recorder"]

_one_at_a_time = threading.RLock()  # a capture would include what another thread does on its stream


def step_recorder(device: torch.device, *, wanted: bool) -> Callable[[], Recorder] | None:
    """Returns a factory of recorders; None if CUDA graphs are not wanted or ``device`` is not CUDA."""
    if not wanted or device.type != "cuda":
        return None
    return partial(CudaRecorder, device)


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the capture stream. All recorders share one, because memory is cached for each stream."""
    return torch.cuda.Stream(device)


class CudaRecorder:
    """Captures pieces as graphs that share a memory pool: a graph may overwrite what another left there.

    A piece must therefore leave its results in tensors that were allocated before the capture.
    ``torch.backends.cudnn.benchmark`` may be on or off: its trials take place in a piece's first run, which
    is not captured. If it is on, a capture fails if no run has met its shapes before.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = _stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, piece: Piece) -> None:
        """Runs a piece on the capture stream, so that libraries are initialised there."""
        current = torch.cuda.current_stream(self._device)
        with _one_at_a_time:
            self._stream.wait_stream(current)
            try:
                with torch.cuda.stream(self._stream):
                    piece()
            finally:
                current.wait_stream(self._stream)

    def record(self, piece: Piece) -> tuple[Piece, int]:
        """Captures a piece. Other threads may go on using the GPU to pin memory and to wait for labels."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self._device)
        # torch.cuda.graph would also synchronise with the GPU and empty all caches, which takes time.
        with _one_at_a_time, _no_collection(), torch.cuda.device(self._device):
            self._stream.wait_stream(current)
            before = torch.cuda.memory_reserved(self._device)
            with torch.cuda.stream(self._stream), _own_workspaces():
                try:
                    graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                    piece()
                    graph.capture_end()
                except BaseException:
                    self._abort(graph)
                    raise
            current.wait_stream(self._stream)
            return graph.replay, torch.cuda.memory_reserved(self._device) - before

    def _abort(self, graph: torch.cuda.CUDAGraph) -> None:
        """Ends a capture that failed.

        If CUDA has already invalidated the capture, PyTorch's ``capture_end`` stops halfway: its allocator
        would go on as if a capture were running, and its random generator would refuse to draw.
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
        """Empties PyTorch's cache, which still holds the memory of deleted graphs."""
        with suppress(RuntimeError):  # another thread is capturing: the next call will free it
            torch.cuda.empty_cache()


@contextmanager
def _own_workspaces() -> Iterator[None]:
    """Makes a graph's matrix products allocate their own cuBLAS workspaces, in the graph's memory.

    Otherwise they would use the stream's workspaces, which PyTorch frees together with any other graph of
    that stream. PyTorch can clear only the workspaces of all streams at once, so no other thread should
    compute matrix products at this moment.
    """
    torch._C._cuda_clearCublasWorkspaces()
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()  # work that is not captured allocates others


@contextmanager
def _no_collection() -> Iterator[None]:
    """Turns off garbage collection, in all threads: freeing an unused graph would spoil a capture."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
