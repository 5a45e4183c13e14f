"""What a memory policy can know about stored frames: pure functions on tensors of any device.

Letters: B banks (groups of objects), T stored frames, N tokens of a frame (row-major over h x w), D key
width. Everything is computed in float32, also inside an autocast region, because small differences decide
which frame is dropped.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ATTENTION_CHUNK_BYTES = 16 * 2**20
"""The most that a block of attention weights takes in ``attention_per_frame`` (but one query at least)."""


@torch.no_grad()
def attention_per_frame(queries: Tensor, keys: Tensor, num_heads: int) -> Tensor:
    """The share of every query's attention that goes to each stored frame.

    Softmax over the T*N keys at once with scale 1 / sqrt(D / num_heads), mean over heads, sum over the N keys
    of each frame. The queries are taken in blocks, so that the N x (T*N) weights never exist as a whole.

    Args:
        queries: N x D (the same for every bank) or B x N x D, temporal embedding added.
        keys: B x T x N x D, temporal embedding added, oldest frame first.
        num_heads: number of heads; head i has the features i*D/num_heads up to (i+1)*D/num_heads.

    Returns:
        B x N x T, float32; each row sums to 1.

    Raises:
        ValueError: the shapes do not fit each other, or D is no multiple of ``num_heads``.
    """
    batch, num_frames, num_tokens, width = keys.shape
    if queries.shape[:-2] not in ((), (batch,)) or queries.shape[-1] != width or width % num_heads:
        raise ValueError(
            f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} do not fit each other "
            f"or {num_heads} heads"
        )
    head_width = width // num_heads
    scaled = queries.float() / math.sqrt(head_width)
    scaled = (
        scaled.expand(batch, -1, width).unflatten(-1, (num_heads, head_width)).transpose(1, 2)
    )  # B x H x N x d
    head_keys = keys.float().reshape(batch, num_frames * num_tokens, num_heads, head_width)
    head_keys = head_keys.permute(0, 2, 3, 1).contiguous()  # B x H x d x T*N

    bytes_per_row = head_keys.element_size() * batch * num_heads * num_frames * num_tokens
    rows = max(1, ATTENTION_CHUNK_BYTES // bytes_per_row)
    with torch.autocast(queries.device.type, enabled=False):
        chunks = [_chunk_attention(block, head_keys, num_frames) for block in scaled.split(rows, dim=2)]
    return torch.cat(chunks, dim=1)


def _chunk_attention(queries: Tensor, keys: Tensor, num_frames: int) -> Tensor:
    """Attention per frame (B x n x T) of n scaled queries (B x H x n x d) to all keys (B x H x d x T*N)."""
    weights = queries @ keys  # B x H x n x T*N, the only large tensor: changed in place
    torch.softmax(weights, dim=-1, out=weights)
    return weights.unflatten(-1, (num_frames, -1)).sum(dim=-1).mean(dim=1)


def foreground_probability(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """The probability that a token is not background, for weighing the tokens of a frame.

    The logits are resized first (bilinear, corners aligned) and only then put through the softmax.

    Args:
        logits: C x h4 x w4, one group's logits at 1/4 resolution, channel 0 the background.
        size: (h, w) of the feature map.

    Returns:
        N = h*w probabilities in 0..1, float32.
    """
    resized = F.interpolate(logits[None].float(), size=size, mode="bilinear", align_corners=True)[0]
    return (1 - resized.softmax(dim=0)[0]).flatten()


def relevance(attention: Tensor, foreground: Tensor) -> Tensor:
    """How much of the foreground's attention each stored frame gets (EMFS and RMem).

    Args:
        attention: N x T, rows sum to 1.
        foreground: N, in 0..1.

    Returns:
        T values in 0..1 that sum to 1; all equal where there is no foreground at all.
    """
    attention, foreground = attention.float(), foreground.float()
    weighted = (attention * foreground[:, None]).sum(dim=0)  # T
    total = weighted.sum()
    return torch.where(total > 0, weighted / total, 1 / attention.shape[1])


def redundancy(keys: Tensor) -> Tensor:
    """How much each stored frame resembles the others (EMFS).

    Every feature column is scaled to unit L2 norm over the N tokens (the published code normalises this axis,
    not the feature axis); the frames' dot products, without the diagonal, are summed per frame and divided by
    their total.

    Args:
        keys: T x N x D, layer 0's memory keys with the temporal embedding.

    Returns:
        T values that sum to 1, rounded to 4 decimals as published; all 0 where the total is 0, as for T = 1.
    """
    with torch.autocast(keys.device.type, enabled=False):
        columns = F.normalize(keys.float(), dim=1).flatten(start_dim=1)  # T x N*D
        similarity = columns @ columns.T  # T x T
        per_frame = similarity.fill_diagonal_(0).sum(dim=1)
    total = per_frame.sum()
    return torch.where(total != 0, per_frame / total, 0).round(decimals=4)


def redundancy_penalty(redundancy: Tensor, slope: float, midpoint: float) -> Tensor:
    """1 / (1 + exp(slope * (redundancy - midpoint))): near 1 for a frame unlike the others."""
    return torch.sigmoid(-slope * (redundancy - midpoint))
