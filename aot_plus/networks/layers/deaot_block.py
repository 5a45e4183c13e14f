"""Defines DeAOT's gated propagation block: visual and identity branches that share attention maps."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from aot_plus.networks.layers.attention import attention
from aot_plus.networks.layers.basic import DepthwiseConv, to_map, to_tokens
from aot_plus.networks.layers.local_attention import WINDOW, window_attention
from aot_plus.networks.layers.memory_types import (
    BlockContext,
    KeyValue,
    LayerMemory,
    Reference,
    add_embedding,
)

EXPANSION = 2  # width of the values, as a multiple of the tokens' width


@dataclass(frozen=True)
class DeAOTFrame:
    """Holds what a block keeps of a frame until its mask is known."""

    keys: Tensor  # B x N x D, Q = K of the block, without temporal embedding
    values: Tensor  # B x N x E, visual values
    identity_tokens: Tensor | None  # B x N x C, normalised identity branch; None in block 0


class GatedAttention(nn.Module):
    """Applies the gate, depth-wise convolution and projection that follow every attention of the block."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.dw_conv = DepthwiseConv(width)
        self.projection = nn.Linear(width, channels)

    def project(self, attended: Tensor, gate: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``B x N x width`` attended values and gate to ``B x N x channels``."""
        return self.projection(self.dw_conv(attended * gate, size))


class LongTermGatedAttention(GatedAttention):
    """Attends with one head to all tokens of the memory."""

    def forward(self, queries: Tensor, memory: KeyValue, gate: Tensor, size: tuple[int, int]) -> Tensor:
        """Attends from ``B x N x D`` queries to ``B x T*N`` tokens of the memory: ``B x N x channels``."""
        return self.project(attention(queries, memory.keys, memory.values, num_heads=1), gate, size)


class ShortTermGatedAttention(GatedAttention):
    """Attends with one head to a window of the last frame, with a query-dependent bias per offset."""

    def __init__(self, key_width: int, width: int, channels: int) -> None:
        super().__init__(width, channels)
        self.relative_emb_k = nn.Conv2d(key_width, WINDOW**2, 1)

    def forward(self, queries: Tensor, memory: KeyValue, gate: Tensor, size: tuple[int, int]) -> Tensor:
        """Attends from ``B x N x D`` queries to ``B x N`` tokens of the last frame: ``B x N x channels``."""
        query_map = to_map(queries, size)
        attended = window_attention(
            query_map * queries.shape[2] ** -0.5,
            to_map(memory.keys, size),
            to_map(memory.values, size),
            self.relative_emb_k(query_map),  # uses the unscaled queries
        )
        return self.project(to_tokens(attended), gate, size)


class GatedSelfAttention(GatedAttention):
    """Computes self-attention over both branches, concatenated."""

    def __init__(self, channels: int, key_width: int, value_width: int) -> None:
        super().__init__(2 * value_width, 2 * channels)
        self.linear_QK = nn.Linear(2 * channels, key_width)
        self.linear_V1 = nn.Linear(channels, value_width)
        self.linear_V2 = nn.Linear(channels, value_width)
        self.linear_U1 = nn.Linear(channels, value_width)
        self.linear_U2 = nn.Linear(channels, value_width)

    def forward(self, visual: Tensor, identity: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps both normalised branches, each ``B x N x C``, to ``B x N x 2C``."""
        keys = self.linear_QK(torch.cat((visual, identity), dim=2))
        values = F.silu(torch.cat((self.linear_V1(visual), self.linear_V2(identity)), dim=2))
        gate = F.silu(torch.cat((self.linear_U1(visual), self.linear_U2(identity)), dim=2))
        return self.project(attention(keys, keys, values, num_heads=1), gate, size)


class DeAOTBlock(nn.Module):
    """Propagates both branches by gated long-term and short-term attention, then gated self-attention."""

    def __init__(self, channels: int, droppath: float, *, first: bool) -> None:
        super().__init__()
        self.key_width = channels // 2
        self.value_width = EXPANSION * channels
        self.norm1 = nn.LayerNorm(channels)
        self.linear_QV = nn.Linear(channels, self.key_width + self.value_width)
        self.linear_U = nn.Linear(channels, self.value_width)
        self.first = first
        if first:
            self.linear_ID_V = nn.Linear(channels, self.value_width)
        else:
            self.id_norm1 = nn.LayerNorm(channels)
            self.linear_ID_V = nn.Linear(2 * channels, self.value_width)
            self.linear_ID_U = nn.Linear(channels, self.value_width)
        self.long_term_attn = LongTermGatedAttention(2 * self.value_width, 2 * channels)
        self.short_term_attn = ShortTermGatedAttention(self.key_width, 2 * self.value_width, 2 * channels)
        self.norm2 = nn.LayerNorm(channels)
        self.id_norm2 = nn.LayerNorm(channels)
        self.self_attn = GatedSelfAttention(channels, self.key_width, self.value_width)
        self.droppath = StochasticDepth(droppath, "row")

    def forward(
        self, x: Tensor, context: BlockContext, memory: LayerMemory | Reference
    ) -> tuple[Tensor, DeAOTFrame]:
        """Passes one frame through the block.

        Args:
            x: in block 0, visual tokens ``B x N x C``, or ``1 x N x C`` shared by all groups; in later
                blocks, visual and identity tokens ``B x N x 2C``.
            context: shared by all blocks.
            memory: this block's memory, or the reference frame that reads itself.

        Returns:
            ``B x N x 2C`` tokens, and what is needed to bind the frame to its mask.
        """
        channels = self.norm1.normalized_shape[0]
        visual, identity = (x, None) if self.first else x.split(channels, dim=2)
        tokens = self.norm1(visual)
        keys, values = self.linear_QV(tokens).split((self.key_width, self.value_width), dim=2)
        keys = keys.contiguous()  # the frame keeps them: a view would keep the values' storage too
        identity_tokens = None if identity is None else self.id_norm1(identity)
        keys, values = (tensor.expand(context.groups, -1, -1) for tensor in (keys, F.silu(values)))
        frame = DeAOTFrame(keys, values, identity_tokens)
        if isinstance(memory, Reference):
            memory = self._read_itself(frame, memory)

        gate = self._gate(tokens, identity_tokens)
        queries = add_embedding(keys, context.query_embedding)
        read = self.long_term_attn(queries, memory.long, gate, context.size)
        read = read + self.short_term_attn(keys, memory.short, gate, context.size)
        visual_read, identity_read = read.split(channels, dim=2)
        visual = visual + visual_read
        identity = identity_read if identity is None else identity + identity_read

        mixed = self.self_attn(self.norm2(visual), self.id_norm2(identity), context.size)
        return torch.cat((visual, identity), dim=2) + self.droppath(mixed), frame

    def _gate(self, tokens: Tensor, identity_tokens: Tensor | None) -> Tensor:
        """Computes the gate ``B x N x 2E``; without an identity branch, its identity half is open (1)."""
        visual = F.silu(self.linear_U(tokens))
        if identity_tokens is None:
            return torch.cat((visual, torch.ones_like(visual)), dim=2)
        return torch.cat((visual, F.silu(self.linear_ID_U(identity_tokens))), dim=2)

    def _read_itself(self, frame: DeAOTFrame, reference: Reference) -> LayerMemory:
        """Returns a reference frame, bound with its identity embedding, as its own memory."""
        own = self.bind_long(frame, reference.identity)
        return LayerMemory(KeyValue(add_embedding(own.keys, reference.embedding), own.values), short=own)

    def bind_long(self, frame: DeAOTFrame, identity: Tensor) -> KeyValue:
        """Binds the frame to its mask as a long-term entry. ``identity``: ``B x N x C``."""
        if frame.identity_tokens is not None:
            identity = torch.cat((frame.identity_tokens, identity), dim=2)
        return KeyValue(frame.keys, torch.cat((frame.values, F.silu(self.linear_ID_V(identity))), dim=2))

    def bind_short(self, frame: DeAOTFrame, identity: Tensor) -> KeyValue:
        """Binds the frame like ``bind_long``: DeAOT's short-term memory is the same entry."""
        return self.bind_long(frame, identity)
