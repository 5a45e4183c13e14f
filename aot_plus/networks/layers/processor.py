"""Makes all choices that depend on the kind of processor; each is documented with its measured gain.

Unless stated otherwise, gains are in CPU time, or in peak memory, of the operation itself: 481 x 849, nine
stored frames, float32, two threads of a processor with AVX2.
"""

from typing import Literal

import torch
from torch import Tensor

from aot_plus.utils.device import convolutions_use_tf32

WEIGHTS_AT_A_TIME = {"cpu": 4 * 2**20, "cuda": 64 * 2**20}
"""Weights that an attention by matrix products computes at once, by device: enough for fast products, but few
enough for a CPU's cache. On CUDA they suffice for a full bank, and are limited (to 0.25 GB in float32) if the
bank is unbounded."""

TILES_AT_A_TIME = 4


def convolution_format(device: torch.device, dtype: str, tf32: bool | None) -> torch.memory_format:
    """Chooses the memory format of convolutions in prepared models, from ``TEST_DTYPE`` and ``TEST_TF32``.

    Channels last reduces encoding from 1.07 to 0.88 s (ResNet-50). On CUDA, however, channels last is slow in
    float32 without TF32: 23 ms per frame, against 13.5 with TF32 (r50_aotl, H100), and 2.4 GB of workspace.
    """
    if device.type != "cuda" or dtype != "float32":
        return torch.channels_last
    allowed = convolutions_use_tf32() if tf32 is None else tf32
    return torch.channels_last if allowed else torch.contiguous_format


_WIDE, _EVEN = "values wider than keys", "values as wide as keys"  # DeAOT's, and AOT+'s
_FAST_BFLOAT16 = "bfloat16 on AVX-512"

MATMUL_CASES = {
    # On a CPU, PyTorch's kernel stores all weights: 230 to 79 MB for a layer's long-term read, in equal time.
    ("cpu", _WIDE, "inference"),
    ("cpu", _WIDE, "training"),
    (_FAST_BFLOAT16, _WIDE, "inference"),
    (_FAST_BFLOAT16, _WIDE, "training"),
    # AOT+'s long-term read: 0.40 to 0.23 s. Without AVX-512, bfloat16 is many times slower: 0.64 to 15 s.
    (_FAST_BFLOAT16, _EVEN, "inference"),
    # H100, per layer: 5.6 to 1.3 ms in float32, 1.8 to 0.34 in float16. Training would store the weights.
    ("cuda", _WIDE, "inference"),
    # Not ("cuda", _EVEN, "inference"): 1.06 ms instead of 0.15 in float16; 1.8 either way in float32.
}
"""Cases in which matrix products and a softmax are better than PyTorch's own attention kernel."""


def uses_matmul_attention(q: Tensor, v: Tensor) -> bool:
    """Returns whether attention with ``... x d`` queries and ``... x e`` values is in ``MATMUL_CASES``."""
    kind = q.device.type
    if kind == "cpu" and q.dtype == torch.bfloat16:
        kind = _FAST_BFLOAT16 if torch.backends.cpu.get_cpu_capability().startswith("AVX512") else kind
    width = _WIDE if q.shape[3] < v.shape[3] else _EVEN
    return (kind, width, "training" if torch.is_grad_enabled() else "inference") in MATMUL_CASES


def tiles_at_a_time(rows: int, columns: int, device: torch.device) -> tuple[int, int]:
    """Chooses how many rows and columns of tiles a windowed attention processes together.

    On a CPU they are few enough for its cache: 0.099 to 0.052 s and 109 to 64 MB per layer of DeAOT.
    """
    return (1, TILES_AT_A_TIME) if device.type == "cpu" else (rows, columns)


MATMUL_ALIGNMENT = 8
"""CUDA's fast 16-bit matrix products need sides that are multiples of this."""


def num_aligned_keys(k: Tensor) -> int:
    """Returns how many of the keys ``... x M x d`` an attention by matrix products multiplies together.

    The rest is multiplied separately. H100, a layer of DeAOT over nine frames of 1674 tokens in float16: 0.38
    to 0.19 ms when the keys were padded to a multiple, which included copying them. Separate products have
    not been measured.
    """
    tokens = k.shape[-2]
    return tokens - tokens % MATMUL_ALIGNMENT if k.is_cuda and k.element_size() == 2 else tokens


def identity_bank_method(weight: Tensor) -> Literal["convolution", "sums", "product"]:
    """Chooses how an identity bank is applied: as a convolution, as sums of vectors or as a matrix product.

    Sums on a CPU: 0.055 to 0.012 s. In 16 bits on CUDA, cuDNN first copies the planes, because their 12
    channels are not a multiple of eight: 0.07 ms per group of objects on an H200. The product was not
    measured there.
    """
    if not _is_plain_inference():
        return "convolution"
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        return "sums"
    return "product" if weight.is_cuda and weight.element_size() == 2 else "convolution"


LARGE_GROUP = 2**18  # values per group


def decomposes_group_norm(x: Tensor, groups: int) -> bool:
    """Returns whether other operations compute a group norm of ``B x C x ...`` faster than PyTorch's kernel.

    On CUDA, that kernel runs one thread block per group, where 132 could run. H100, 8 groups, 128 x 121
    x 213 values in all, in float16: 0.24 to 0.06 ms. It also returns channels first: if convolutions use
    channels last, the values would be rearranged twice, and resized slowly in between.
    """
    if not x.is_cuda or not _is_plain_inference():
        return False
    large = x.numel() // (len(x) * groups) >= LARGE_GROUP
    fast_last = x.element_size() == 2 or convolutions_use_tf32()
    return large or (fast_last and not x.is_contiguous())


def fuses_activation(x: Tensor) -> bool:
    """Returns whether a convolution should be fused with the activation that follows it, as cuDNN can.

    H100, ResNet-50 from 1/4 to 1/16: 0.73 to 0.40 ms in float16, 1.09 to 0.82 in float32 with TF32.
    """
    has_cudnn = torch.version.cuda is not None and torch.backends.cudnn.enabled  # not in AMD's builds
    return x.is_cuda and has_cudnn and _is_plain_inference()


def _is_plain_inference() -> bool:
    """Returns whether there are neither gradients nor a compiler, which fuses operations itself."""
    return not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def depthwise_in_float32(x: Tensor) -> bool:
    """Returns whether a depth-wise convolution is computed in the weights' dtype, regardless of autocast.

    On a CPU its backward pass is slow in bfloat16. Forward and backward with 1024 channels, 30 x 30: 0.16 to
    0.06 s.
    """
    return x.device.type == "cpu" and torch.is_grad_enabled()


def best_channel(scores: Tensor, dim: int = 0) -> Tensor:
    """Returns the index of the highest score along ``dim``, the first on ties, int64.

    ``argmax`` returns the same, but is slow on a CPU: 0.094 to 0.020 s for 11 channels.
    """
    return scores.max(dim=dim).indices
