"""Scores stored frames for memory policies: pure functions on tensors of any device.

Letters: B banks (groups of objects), T stored frames, N tokens of a frame (row-major over h x w), D key
width. Everything but the attention itself, which is computed in the keys' format, is float32, also inside an
autocast region, because small differences decide which frame is dropped.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from aot_plus.networks.layers.attention import attention_of_heads


@torch.no_grad()
def attention_per_frame(queries: Tensor, keys: Tensor, num_heads: int) -> Tensor:
    """Computes the share of every query's attention that goes to each stored frame.

    Softmax over the T*N keys at once with scale 1 / sqrt(D / num_heads), mean over heads, sum over the N keys
    of each frame. It is computed as an attention whose values say which frame a key belongs to, so that the
    N x (T*N) weights never exist all at once.

    Args:
        queries: N x D (the same for every bank) or B x N x D, temporal embedding added.
        keys: B x T x N x D, temporal embedding added, oldest frame first.
        num_heads: number of heads; head i has the features i*D/num_heads up to (i+1)*D/num_heads.

    Returns:
        B x N x T, float32; each row sums to 1, as nearly as the keys' format allows.

    Raises:
        ValueError: the shapes do not fit each other, or D is not a multiple of ``num_heads``.
    """
    batch, num_frames, num_tokens, width = keys.shape
    if queries.shape[:-2] not in ((), (batch,)) or queries.shape[-1] != width or width % num_heads:
        raise ValueError(
            f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} do not fit each other "
            f"or {num_heads} heads"
        )
    q, k = (
        tensor.to(keys.dtype).expand(batch, -1, width).unflatten(2, (num_heads, -1)).transpose(1, 2)
        for tensor in (queries, keys.flatten(1, 2))
    )  # B x H x N x d, B x H x T*N x d
    indicators = torch.eye(num_frames, dtype=keys.dtype, device=keys.device).repeat_interleave(num_tokens, 0)
    with torch.autocast(keys.device.type, enabled=False):
        shares = [
            attention_of_heads(q, k, values.expand(batch, num_heads, -1, -1))
            for values in indicators.split(width // num_heads, dim=1)  # not wider than the keys
        ]
    return torch.cat(shares, dim=3).float().mean(dim=1)


def foreground_probability(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Computes the probability that a token is not background, for weighing the tokens of a frame.

    Args:
        logits: C x h4 x w4, one group's logits at 1/4 resolution, channel 0 the background.
        size: (h, w) of the feature map.

    Returns:
        N = h*w probabilities in 0..1, float32.
    """
    return 1 - class_probabilities(logits, size)[0]


def class_probabilities(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Computes the probabilities of background and objects for each token, C x N float32.

    The logits are resized (bilinear, corners aligned) before the softmax. The arguments are those of
    ``foreground_probability``.
    """
    resized = F.interpolate(logits[None].float(), size=size, mode="bilinear", align_corners=True)[0]
    return resized.softmax(dim=0).flatten(start_dim=1)


def prediction_quality(probabilities: Tensor) -> Tensor:
    """Computes the mean top probability of the tokens that show an object; 0 where none does.

    Args:
        probabilities: C x N, background first.
    """
    top, label = probabilities.max(dim=0)
    shown = (label > 0).float()
    return (top * shown).sum() / shown.sum().clamp(min=1)


@torch.no_grad()
def aligned_similarity(keys: Tensor, new_keys: Tensor) -> Tensor:
    """Compares stored frames with a new one whose objects may have moved (READMem's association).

    Attention aligns the keys of each stored frame with the tokens of the new frame. The result is the cosine
    similarity to the new frame's keys, each frame taken as one long vector.

    Args:
        keys: T x N x D, of the stored frames.
        new_keys: N x D.

    Returns:
        T values in -1..1, float32.
    """
    new = new_keys.to(keys.dtype)[None, None].expand(len(keys), -1, -1, -1)  # T x 1 x N x D
    with torch.autocast(keys.device.type, enabled=False):
        aligned = attention_of_heads(new, keys[:, None], keys[:, None])
        return F.cosine_similarity(aligned.flatten(1).float(), new_keys.float().flatten()[None], dim=1)


def relevance(attention: Tensor, foreground: Tensor) -> Tensor:
    """Computes each stored frame's share of the foreground's attention (EMFS and RMem).

    Args:
        attention: N x T, float32, rows sum to 1.
        foreground: N, float32, in 0..1.

    Returns:
        T values in 0..1 that sum to 1; all equal where there is no foreground at all.
    """
    weighted = (attention * foreground[:, None]).sum(dim=0)  # T
    total = weighted.sum()
    return torch.where(total > 0, weighted / total, 1 / attention.shape[1])


def redundancy(keys: Tensor) -> Tensor:
    """Measures how much each stored frame resembles the others (EMFS).

    Every feature column is scaled to unit L2 norm over the N tokens (the published code normalises this axis,
    not the feature axis); the frames' dot products, without the diagonal, are summed per frame and divided by
    their total.

    Args:
        keys: T x N x D, layer 0's memory keys with the temporal embedding.

    Returns:
        T values that sum to 1, rounded to 4 decimals as published; all 0 where the total is 0, as for T = 1.
    """
    with torch.autocast(keys.device.type, enabled=False):
        columns = F.normalize(keys.float(), dim=1).transpose(0, 1)  # N x T x D
        similarity = (columns @ columns.mT).sum(dim=0)  # T x T; a GPU works on all tokens at once
        per_frame = similarity.fill_diagonal_(0).sum(dim=1)
    total = per_frame.sum()
    return torch.where(total != 0, per_frame / total, 0).round(decimals=4)


def novelty(redundancy: Tensor, slope: float, midpoint: float) -> Tensor:
    """Returns 1 / (1 + exp(slope * (redundancy - midpoint))): near 1 for a frame unlike the others."""
    return torch.sigmoid(-slope * (redundancy - midpoint))
