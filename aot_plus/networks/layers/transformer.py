"""Stacks transformer blocks (``LSTT`` in the published checkpoints)."""

from collections.abc import Callable, Sequence
from typing import Protocol, cast

from torch import Tensor, nn

from aot_plus.networks.layers.memory_types import BlockContext, BlockFrame, KeyValue, LayerMemory, Reference


class Block(Protocol):
    """Defines the interface of a block in the stack: ``AOTBlock`` or ``DeAOTBlock``."""

    def __call__(
        self, x: Tensor, context: BlockContext, memory: LayerMemory | Reference
    ) -> tuple[Tensor, BlockFrame]: ...

    def bind_long(self, frame: BlockFrame, identity: Tensor) -> KeyValue: ...

    def bind_short(self, frame: BlockFrame, identity: Tensor) -> KeyValue: ...


class LSTT(nn.Module):
    """Stacks blocks, with a norm for each layer output that the decoder reads."""

    def __init__(
        self, blocks: Sequence[nn.Module], make_norm: Callable[[], nn.Module], *, norm_all: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        # The norms belong to the last layers, in order.
        self.decoder_norms = nn.ModuleList(make_norm() for _ in (blocks if norm_all else blocks[-1:]))

    def forward(
        self, tokens: Tensor, context: BlockContext, memory: Sequence[LayerMemory] | Reference
    ) -> tuple[list[Tensor], list[BlockFrame]]:
        """Passes ``B x N x C`` tokens through all blocks.

        Args:
            tokens: one frame's tokens.
            context: shared by all blocks.
            memory: each layer's memory, or the reference frame that reads itself.

        Returns:
            Every layer's output (``B x N x C``, DeAOT ``B x N x 2C``), normalised if the layer has a norm,
            and what each block keeps of the frame until its mask is known.
        """
        outputs: list[Tensor] = []
        kept: list[BlockFrame] = []
        for index, block in enumerate(self._blocks()):
            tokens, frame = block(tokens, context, memory if isinstance(memory, Reference) else memory[index])
            outputs.append(tokens)
            kept.append(frame)
        first = len(outputs) - len(self.decoder_norms)
        for offset, norm in enumerate(self.decoder_norms):
            outputs[first + offset] = norm(outputs[first + offset])
        return outputs, kept

    def bind_long(self, kept: Sequence[BlockFrame], identity: Tensor) -> list[KeyValue]:
        """Returns each layer's long-term entry of a frame. ``identity``: its embedded mask, ``B x N x C``."""
        return [layer.bind_long(frame, identity) for layer, frame in zip(self._blocks(), kept, strict=True)]

    def bind_short(self, kept: Sequence[BlockFrame], identity: Tensor) -> list[KeyValue]:
        """Returns each layer's short-term memory of that frame."""
        return [layer.bind_short(frame, identity) for layer, frame in zip(self._blocks(), kept, strict=True)]

    def _blocks(self) -> list[Block]:
        return [cast(Block, layer) for layer in self.layers]
