"""Computes global attention over tokens without storing the whole attention matrix."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aot_plus.networks.layers.basic import joined
from aot_plus.networks.layers.processor import (
    MATMUL_ALIGNMENT,
    WEIGHTS_AT_A_TIME,
    num_aligned_keys,
    uses_matmul_attention,
)


def attention(queries: Tensor, keys: Tensor, values: Tensor, num_heads: int) -> Tensor:
    """Computes ``softmax(Q K^T / sqrt(D / num_heads)) V`` for each head.

    Args:
        queries: ``B x N x D``.
        keys: ``B x M x D``.
        values: ``B x M x E``.
        num_heads: number of heads; divides D and E.

    Returns:
        ``B x N x E``, heads concatenated.
    """
    q, k, v = (tensor.unflatten(2, (num_heads, -1)).transpose(1, 2) for tensor in (queries, keys, values))
    return attention_of_heads(q, k, v).transpose(1, 2).flatten(2)


def attention_of_heads(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attends with ``B x H x N x d``, ``B x H x M x d`` and ``B x H x M x e`` to give ``B x H x N x e``."""
    if uses_matmul_attention(q, v):
        return _matmul_attention(q, k, v)
    width = v.shape[3]
    if width < q.shape[3]:  # the fused kernels need values as wide as the keys
        v = F.pad(v, (0, q.shape[3] - width))
    return F.scaled_dot_product_attention(q, k, v)[..., :width]


def _matmul_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attends with ``B x H x N x d`` queries by matrix products, for a part of a head's queries at a time."""
    rows = max(1, WEIGHTS_AT_A_TIME[q.device.type] // k.shape[2])
    aligned = num_aligned_keys(k)
    attend: Callable[..., Tensor] = _attend
    if aligned < k.shape[2]:
        attend = partial(_not_compiled(_attend_with_split_keys), aligned=aligned)
    scaled = q * q.shape[3] ** -0.5
    # A list: PyTorch 2.9 cannot compile a strict zip that goes on after a call that is not compiled.
    heads = list(zip(*(tensor.flatten(0, 1) for tensor in (scaled, k.transpose(2, 3), v)), strict=True))
    out = [
        attend(part, head_keys, head_values)
        for head_queries, head_keys, head_values in heads
        for part in head_queries.split(rows)
    ]
    return joined(out, dim=0).unflatten(0, q.shape[:3])


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attends with scaled queries ``n x d`` over keys ``d x M`` and values ``M x e``."""
    weights = queries @ keys  # n x M, the only large tensor: overwritten in place unless gradients need it
    return torch.softmax(weights, dim=1, out=None if weights.requires_grad else weights) @ values


def _not_compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Excludes a function from ``torch.compile``. Outside of it, doing so would only import a compiler."""
    return torch.compiler.disable(function) if torch.compiler.is_compiling() else function


def _attend_with_split_keys(queries: Tensor, keys: Tensor, values: Tensor, *, aligned: int) -> Tensor:
    """Works like ``_attend``, without gradients; multiplies the first ``aligned`` keys and the rest apart.

    Padding keys and values would be as fast, but would copy the whole memory for every frame. This must not
    be compiled: ``torch.compile`` does not support products written into a part of a tensor.
    """
    tokens = keys.shape[1]
    weights = queries.new_empty(len(queries), aligned + MATMUL_ALIGNMENT)  # each row starts aligned
    torch.mm(queries, keys[:, :aligned], out=weights[:, :aligned])
    torch.mm(queries, keys[:, aligned:], out=weights[:, aligned:tokens])
    weights[:, tokens:].fill_(float("-inf"))
    torch.softmax(weights, dim=1, out=weights)
    return (weights[:, :aligned] @ values[:aligned]).addmm_(weights[:, aligned:tokens], values[aligned:])


class MultiheadAttention(nn.Module):
    """Applies multi-head attention and an output projection; ``project_inputs`` adds input projections."""

    def __init__(self, channels: int, num_heads: int, *, project_inputs: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.project_inputs = project_inputs
        if project_inputs:
            self.linear_Q = nn.Linear(channels, channels)
            self.linear_K = nn.Linear(channels, channels)
            self.linear_V = nn.Linear(channels, channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attends with ``B x N x C`` queries over ``B x M x C`` keys and values; returns ``B x N x C``."""
        if self.project_inputs:
            queries, keys, values = self.linear_Q(queries), self.linear_K(keys), self.linear_V(values)
        return self.projection(attention(queries, keys, values, self.num_heads))
