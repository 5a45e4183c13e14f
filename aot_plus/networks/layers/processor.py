"""Choices that depend on the kind of processor, each with its measured gain; all of them are here.

Gains are of CPU time, or of memory at its peak, of the step itself: 481 x 849, nine stored frames, float32,
two threads of a processor with AVX2, unless another is named.
"""

import torch
from torch import Tensor

WEIGHTS_AT_A_TIME = 4 * 2**20  # of an attention: enough for fast matrix products, few enough for the cache
TILES_AT_A_TIME = 4

CONVOLUTION_FORMAT = torch.channels_last
"""The memory format of convolutions in prepared models. Encoding: 1.07 to 0.88 s (ResNet-50)."""


def attends_in_parts(q: Tensor, v: Tensor) -> bool:
    """Tells where PyTorch's own attention of ``... x d`` queries and ``... x e`` values is not taken.

    With values wider than keys (DeAOT), a CPU would store all weights: 230 to 79 MB for a layer's long-term
    read, in the same time. In bfloat16 plain matrix products are faster where the processor has AVX-512: 0.40
    to 0.23 s for AOT+'s long-term read. (Elsewhere they take many times as long: 0.64 to 15 s.)
    """
    if q.device.type != "cpu":
        return False
    fast_bfloat16 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    plain = q.dtype == torch.bfloat16 and fast_bfloat16 and not torch.is_grad_enabled()
    return plain or q.shape[3] < v.shape[3]


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
