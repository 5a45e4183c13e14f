"""Global attention over tokens, without ever keeping the whole attention matrix."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK_BYTES = 16 * 2**20  # of attention weights at a time: they stay in the processor's cache


def attention(queries: Tensor, keys: Tensor, values: Tensor, num_heads: int) -> Tensor:
    """``softmax(Q K^T / sqrt(width of a head)) V``.

    Args:
        queries: ``B x N x D``.
        keys: ``B x M x D``.
        values: ``B x M x E``; heads share D and E evenly.
        num_heads: heads.

    Returns:
        ``B x N x E``, heads side by side.
    """
    q, k, v = (tensor.unflatten(2, (num_heads, -1)).transpose(1, 2) for tensor in (queries, keys, values))
    # The CPU's fused kernel needs values as wide as keys; the fallback of PyTorch would store B x N x M
    # weights.
    if queries.device.type == "cpu" and q.shape[3] != v.shape[3]:
        out = _attention_by_chunks(q, k, v)
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)


def _attention_by_chunks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of ``B x H x N x d`` queries, some queries at a time."""
    batch, heads, _, width = q.shape
    rows = max(1, CHUNK_BYTES // (batch * heads * k.shape[2] * q.element_size()))
    transposed = k.transpose(2, 3)
    scaled = q * width**-0.5
    return torch.cat(
        [torch.softmax(part @ transposed, dim=3) @ v for part in scaled.split(rows, dim=2)], dim=2
    )


class MultiheadAttention(nn.Module):
    """Attention with heads and an output projection; input projections only where ``project_inputs``."""

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
        """``B x N x C`` queries over ``B x M x C`` keys and values; returns ``B x N x C``."""
        if self.project_inputs:
            queries, keys, values = self.linear_Q(queries), self.linear_K(keys), self.linear_V(values)
        return self.projection(attention(queries, keys, values, self.num_heads))
