"""Stacks transformer blocks (``LSTT`` in the published checkpoints)."""

from collections.abc import Callable, Sequence
from typing import Protocol, cast

from torch import Tensor, nn

from aot_plus.networks.layers.memory_types import BlockContext, BlockFrame, KeyValue, LayerMemory


class Block(Protocol):
    """Describes what the stack asks of its blocks: ``AOTBlock`` or ``DeAOTBlock``."""

    def __call__(
        self, x: Tensor, context: BlockContext, memory: LayerMemory | None
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
        # The last norm belongs to the last layer, the ones before it to the earlier layers.
        self.decoder_norms = nn.ModuleList(make_norm() for _ in (blocks if norm_all else blocks[-1:]))

    def forward(
        self, tokens: Tensor, context: BlockContext, memory: Sequence[LayerMemory] | None
    ) -> tuple[list[Tensor], list[BlockFrame]]:
        """Passes ``B x N x C`` tokens through all blocks.

        Args:
            tokens: of one frame.
            context: what the blocks share.
            memory: what each layer reads; None for a reference frame.

        Returns:
            Every layer's output (``B x N x C``, DeAOT ``B x N x 2C``), normalised where there is a norm for
            it, and what each block keeps of the frame until its mask is known.
        """
        outputs: list[Tensor] = []
        kept: list[BlockFrame] = []
        for index, block in enumerate(self._blocks()):
            tokens, frame = block(tokens, context, memory[index] if memory is not None else None)
            outputs.append(tokens)
            kept.append(frame)
        first = len(outputs) - len(self.decoder_norms)
        for offset, norm in enumerate(self.decoder_norms):
            outputs[first + offset] = norm(outputs[first + offset])
        return outputs, kept

    def bind_long(self, kept: Sequence[BlockFrame], identity: Tensor) -> list[KeyValue]:
        """Returns all layers' long-term entries of a frame whose mask is embedded as ``B x N x C``."""
        return [layer.bind_long(frame, identity) for layer, frame in zip(self._blocks(), kept, strict=True)]

    def bind_short(self, kept: Sequence[BlockFrame], identity: Tensor) -> list[KeyValue]:
        """Returns all layers' short-term memories of that frame."""
        return [layer.bind_short(frame, identity) for layer, frame in zip(self._blocks(), kept, strict=True)]

    def _blocks(self) -> list[Block]:
        return [cast(Block, layer) for layer in self.layers]
