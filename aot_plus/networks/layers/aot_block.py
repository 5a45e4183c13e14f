"""Defines the base of the AOT family's long short-term transformer blocks, and AOT+'s block (EMFS's AOT*)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from aot_plus.networks.layers.attention import MultiheadAttention
from aot_plus.networks.layers.basic import NormActDepthwiseConv
from aot_plus.networks.layers.memory_types import (
    BlockContext,
    KeyValue,
    LayerMemory,
    Reference,
    add_embedding,
)

FEED_FORWARD_RATIO = 4


@dataclass(frozen=True)
class AOTFrame:
    """Holds what a block keeps of a frame until its mask is known. All tensors are ``B x N x C``."""

    keys: Tensor  # Q = K of the block, without temporal embedding
    visual: Tensor  # normalised input
    short: Tensor  # output of the short-term attention


class LongShortBlock(nn.Module):
    """Applies self-attention, long-term and short-term attention, and a feed-forward part with convolution.

    Subclasses define how the short-term memory is read and what it keeps of a frame.
    """

    def __init__(self, channels: int, self_heads: int, memory_heads: int, droppath: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attn = MultiheadAttention(channels, self_heads, project_inputs=True)
        self.norm2 = nn.LayerNorm(channels)
        self.linear_Q = nn.Linear(channels, channels)
        self.linear_V = nn.Linear(channels, channels)
        self.long_term_attn = MultiheadAttention(channels, memory_heads, project_inputs=False)
        self.norm3 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, FEED_FORWARD_RATIO * channels)
        self.activation = NormActDepthwiseConv(FEED_FORWARD_RATIO * channels)
        self.linear2 = nn.Linear(FEED_FORWARD_RATIO * channels, channels)
        self.droppath = StochasticDepth(droppath, "row")

    def forward(
        self, x: Tensor, context: BlockContext, memory: LayerMemory | Reference
    ) -> tuple[Tensor, AOTFrame]:
        """Passes a frame's tokens through the block: ``B x N x C``, or ``1 x N x C`` shared by all groups."""
        tokens = self.norm1(x)
        located = tokens + context.position
        x = x + self.droppath(self.self_attn(located, located, tokens))

        visual = self.norm2(x)
        keys = self.linear_Q(visual)
        x, visual, keys = (tensor.expand(context.groups, -1, -1) for tensor in (x, visual, keys))
        if isinstance(memory, Reference):
            memory = self._read_itself(keys, visual, memory)
        long = self.long_term_attn(add_embedding(keys, context.query_embedding), *memory.long)
        short = self._read_short(keys, visual, memory.short, context.size)
        x = x + long + short

        hidden = self.activation(self.linear1(self.norm3(x)), context.size)
        x = x + self.droppath(self.linear2(hidden))
        return x, AOTFrame(keys, visual, short)

    def _read_itself(self, keys: Tensor, visual: Tensor, reference: Reference) -> LayerMemory:
        """Returns a reference frame as its own long-term and, for this read only, short-term memory."""
        values = self.linear_V(visual + reference.identity)
        long_keys = add_embedding(keys, reference.embedding)
        return LayerMemory(long=KeyValue(long_keys, values), short=KeyValue(keys, values))

    def _read_short(self, keys: Tensor, visual: Tensor, short: KeyValue, size: tuple[int, int]) -> Tensor:
        """Reads the short-term memory with this frame's ``B x N x C`` keys, which are also its queries."""
        raise NotImplementedError

    def bind_long(self, frame: AOTFrame, identity: Tensor) -> KeyValue:
        """Binds the frame to its mask as a long-term entry. ``identity``: ``B x N x C``."""
        return KeyValue(frame.keys, self.linear_V(frame.visual + identity))


class AOTBlock(LongShortBlock):
    """Attends to the whole last frame and the current one in its short-term attention (AOT+)."""

    def __init__(
        self, channels: int, self_heads: int, memory_heads: int, droppath: float, *, linear_q: bool
    ) -> None:
        super().__init__(channels, self_heads, memory_heads, droppath)
        self.concatenate_short = linear_q
        self.linear_QMem = nn.Linear(channels, channels)
        self.linear_VMem = nn.Linear(channels, channels)
        if not linear_q:
            self.norm4 = nn.LayerNorm(channels)
        # Part of the published checkpoints, but unused.
        self.linear_KMem = nn.Linear(channels, channels).requires_grad_(False)
        self.short_term_attn = MultiheadAttention(channels, memory_heads, project_inputs=False)

    def _read_short(self, keys: Tensor, visual: Tensor, short: KeyValue, size: tuple[int, int]) -> Tensor:
        """Attends to the last frame, with the current one added to it (VOST stages) or concatenated."""
        if self.concatenate_short:
            past_keys = torch.cat((short.keys, keys), dim=1)
            past_values = torch.cat((short.values, visual), dim=1)
            return self.short_term_attn(keys, past_keys, past_values)
        return self.short_term_attn(keys, self.norm4(short.keys + keys), self.norm4(short.values + visual))

    def bind_short(self, frame: AOTFrame, identity: Tensor) -> KeyValue:
        """Binds the frame to its mask as the next frame's short-term memory. ``identity``: ``B x N x C``."""
        return KeyValue(self.linear_QMem(frame.short), self.linear_VMem(frame.short + identity))
