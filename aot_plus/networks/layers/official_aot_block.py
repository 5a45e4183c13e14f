"""Defines the transformer block of the AOT benchmark's AOT, with windowed short-term attention."""

import torch
from torch import Tensor, nn

from aot_plus.networks.layers.aot_block import AOTFrame, LongShortBlock
from aot_plus.networks.layers.basic import to_map, to_tokens
from aot_plus.networks.layers.local_attention import WINDOW, window_attention
from aot_plus.networks.layers.memory_types import KeyValue


class ShortTermAttention(nn.Module):
    """Attends to a window of the last frame with several heads, and a learned key and value per offset."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        offsets = WINDOW**2
        self.relative_emb_k = nn.Conv2d(channels, num_heads * offsets, 1, groups=num_heads)
        self.relative_emb_v = nn.Parameter(torch.zeros(num_heads, channels // num_heads, offsets))
        self.projection = nn.Linear(channels, channels)

    def forward(self, queries: Tensor, memory: KeyValue, size: tuple[int, int]) -> Tensor:
        """Attends from ``B x N x C`` queries to ``B x N`` tokens of the last frame: ``B x N x C``."""
        query_map = to_map(queries, size)
        q, k, v, offset_logits = (
            self._heads(maps)
            for maps in (
                query_map,
                to_map(memory.keys, size),
                to_map(memory.values, size),
                self.relative_emb_k(query_map),  # uses the unscaled queries
            )
        )
        offset_values = self.relative_emb_v.transpose(1, 2).repeat(len(queries), 1, 1)  # B*H x W^2 x d
        attended = window_attention(q * q.shape[1] ** -0.5, k, v, offset_logits, offset_values.to(v.dtype))
        return self.projection(to_tokens(attended.unflatten(0, (-1, self.num_heads)).flatten(1, 2)))

    def _heads(self, maps: Tensor) -> Tensor:
        """Reshapes ``B x H*d x h x w`` to ``B*H x d x h x w``."""
        return maps.unflatten(1, (self.num_heads, -1)).flatten(0, 1)


class OfficialAOTBlock(LongShortBlock):
    """Uses the same keys and values of a frame as long-term and short-term memory, as in AOT."""

    def __init__(self, channels: int, self_heads: int, memory_heads: int, droppath: float) -> None:
        super().__init__(channels, self_heads, memory_heads, droppath)
        self.short_term_attn = ShortTermAttention(channels, memory_heads)

    def _read_short(self, keys: Tensor, visual: Tensor, short: KeyValue, size: tuple[int, int]) -> Tensor:
        return self.short_term_attn(keys, short, size)

    def bind_short(self, frame: AOTFrame, identity: Tensor) -> KeyValue:
        """Binds the frame like ``bind_long``: AOT's short-term memory is the same entry."""
        return self.bind_long(frame, identity)
