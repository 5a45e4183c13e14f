"""Times each attention of a frame with all implementations for a device; ``processor.py`` chooses one."""

import argparse
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from aot_plus.networks.engines.cuda_graphs import step_recorder
from aot_plus.networks.engines.step_graphs import Piece
from aot_plus.networks.layers import attention
from benchmarks.report import Figures
from benchmarks.streams import Stream, load_for_size
from benchmarks.units import make_clock

ROUNDS = 3
PRODUCTS = {"cpu": (1, 4, 16), "cuda": (2, 4, 8, 16, 64, 256)}  # Mi attention weights computed at a time
KERNELS = {  # of PyTorch, on devices with several
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
}

Way = Callable[[], AbstractContextManager[None]]


class Shape(NamedTuple):
    """Describes an attention: G groups, H heads, N queries, M keys, and the widths of keys and values."""

    groups: int
    heads: int
    queries: int
    keys: int
    key_width: int
    value_width: int

    def __str__(self) -> str:
        widths = f"{self.key_width}, {self.value_width}"
        return f"{self.groups} x {self.heads} heads of {widths}: {self.queries} x {self.keys}"


def measure_attentions(flags: argparse.Namespace) -> Figures:
    """Times the attentions over all tokens of a frame with a full bank, in milliseconds.

    ``calls`` is the number of calls per frame, ``chosen`` the implementation that the model uses. On a GPU,
    all are captured as CUDA graphs, as in inference. An implementation that does not support a shape has no
    figure.
    """
    stream = Stream(load_for_size(flags), flags, graphs=False)
    stream.fill(flags.memory_frames)
    device, dtype = stream.segmenter.device, stream.segmenter.model.number_format
    shapes = _attentions_of_a_frame(stream)
    figures: Figures = {}
    for shape, calls in tqdm(shapes.items(), desc="attentions", unit="shape"):
        b, h, n, m, d, e = shape
        sizes = ((b, n, h, d), (b, m, h, d), (b, m, h, e))  # the heads' layout in memory
        q, k, v = (torch.randn(size, device=device, dtype=dtype).transpose(1, 2) for size in sizes)
        of_shape = figures[str(shape)] = {"calls": calls / flags.memory_gap}
        for name, way in _ways(device).items():
            seconds = _seconds(partial(_attend, q, k, v), way, device, flags.frames)
            if seconds is not None:
                of_shape[name] = 1000 * seconds
    return figures


def _attend(q: Tensor, k: Tensor, v: Tensor) -> None:
    attention.attention_of_heads(q, k, v)  # looked up now, since it may be patched


def _attentions_of_a_frame(stream: Stream) -> Counter[Shape]:
    """Counts the attentions in a gap cycle by shape."""
    shapes: Counter[Shape] = Counter()

    def note(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        shapes[Shape(q.shape[0], q.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3])] += 1
        return attend(q, k, v)

    attend = attention.attention_of_heads
    with patch.object(attention, "attention_of_heads", note):
        stream.step_cycle()
    return shapes


def _ways(device: torch.device) -> dict[str, Way]:
    """Returns the implementations for a device: contexts in which ``attention_of_heads`` uses them."""
    kernels = KERNELS if device.type == "cuda" else {"kernel": None}
    return {
        "chosen": nullcontext,
        **{name: partial(_by_kernel, backend) for name, backend in kernels.items()},
        **{f"products, {mi} Mi": partial(_by_products, device, mi * 2**20) for mi in PRODUCTS[device.type]},
    }


@contextmanager
def _by_kernel(backend: SDPBackend | None) -> Iterator[None]:
    fused = nullcontext() if backend is None else sdpa_kernel(backend)
    with patch.object(attention, "uses_matmul_attention", lambda q, v: False), fused:
        yield


@contextmanager
def _by_products(device: torch.device, weights: int) -> Iterator[None]:
    sizes = patch.dict(attention.WEIGHTS_AT_A_TIME, {device.type: weights})
    with patch.object(attention, "uses_matmul_attention", lambda q, v: True), sizes:
        yield


def _seconds(piece: Piece, way: Way, device: torch.device, repetitions: int) -> float | None:
    """Returns the median over rounds of a piece's time, averaged over repetitions; None if it cannot run."""
    clock, times = make_clock(device), []
    try:
        with way(), torch.inference_mode():
            repeat = _repeatable(piece, device)
            for _ in range(ROUNDS):
                started = clock()
                for _ in range(repetitions):
                    repeat()
                times.append((clock() - started) / repetitions)
    except RuntimeError:  # no kernel for this shape and format, or no memory
        return None
    return statistics.median(times)


def _repeatable(piece: Piece, device: torch.device) -> Piece:
    """Runs a piece once and returns a function that repeats it, captured as a CUDA graph if possible."""
    make_recorder = step_recorder(device, wanted=True)
    if make_recorder is None:
        piece()
        return piece
    recorder = make_recorder()
    recorder.warm_up(piece)
    return recorder.record(piece)[0]
