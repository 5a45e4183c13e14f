"""Choices that depend on the kind of processor, each with its measured gain; all of them are here.

Gains are of CPU time, or of memory at its peak, of the step itself: 481 x 849, nine stored frames, float32,
two threads of a processor with AVX2, unless another is named.
"""

import torch
from torch import Tensor

WEIGHTS_AT_A_TIME = {"cpu": 4 * 2**20, "cuda": 64 * 2**20}
"""Weights of an attention by matrix products, by device: enough for fast products, few enough for a CPU's
cache; on CUDA all of a full bank's at once, but bounded where a bank is not (0.25 GB in float32)."""

TILES_AT_A_TIME = 4


def convolution_format(device: torch.device, dtype: str, tf32: bool | None) -> torch.memory_format:
    """Chooses the memory format of convolutions in prepared models, from ``TEST_DTYPE`` and ``TEST_TF32``.

    Channels last: encoding 1.07 to 0.88 s (ResNet-50). But on CUDA these convolutions are slow in float32
    without TF32: 23 ms a frame where 13.5 are needed with TF32 (r50_aotl, H100), and 2.4 GB of workspace.
    """
    allowed = torch.backends.cudnn.allow_tf32 if tf32 is None else tf32
    slow = device.type == "cuda" and dtype == "float32" and not allowed
    return torch.contiguous_format if slow else torch.channels_last


def attends_in_parts(q: Tensor, v: Tensor) -> bool:
    """Tells where PyTorch's own attention of ``... x d`` queries and ``... x e`` values is not taken.

    With values wider than keys (DeAOT), a CPU would store all weights: 230 to 79 MB for a layer's long-term
    read, in the same time. In bfloat16 plain matrix products are faster where the processor has AVX-512: 0.40
    to 0.23 s for AOT+'s long-term read. (Elsewhere they take many times as long: 0.64 to 15 s.)

    On CUDA wide values are slow in PyTorch's kernel, which no longer stores weights, as training needs: on an
    H100 5.6 to 1.3 ms a layer in float32, 1.8 to 0.34 in float16. AOT+'s are fast: 0.15 ms, not 1.06.
    """
    wide, inference = q.shape[3] < v.shape[3], not torch.is_grad_enabled()
    if q.device.type == "cuda":
        return wide and inference
    if q.device.type != "cpu":
        return False
    fast_bfloat16 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wide or (q.dtype == torch.bfloat16 and fast_bfloat16 and inference)


def tiles_at_a_time(rows: int, columns: int, device: torch.device) -> tuple[int, int]:
    """Rows and columns of the tiles of a windowed attention that are worked on together.

    A CPU takes so few that its cache holds them: 0.099 to 0.052 s and 109 to 64 MB for DeAOT, a layer.
    """
    return (1, TILES_AT_A_TIME) if device.type == "cpu" else (rows, columns)


def depthwise_in_float32(x: Tensor) -> bool:
    """Tells where a depth-wise convolution is computed in the weights' type, whatever autocast says.

    On a CPU its backward pass is slow in bfloat16. Forward and backward with 1024 channels, 30 x 30: 0.16 to
    0.06 s.
    """
    return x.device.type == "cpu" and torch.is_grad_enabled()


def best_channel(scores: Tensor, dim: int = 0) -> Tensor:
    """Finds the index of the highest score along ``dim``, the first of equal ones, int64.

    ``argmax`` says the same, on a CPU slowly: 0.094 to 0.020 s for 11 channels.
    """
    return scores.max(dim=dim).indices
