"""The stack of transformer blocks (``LSTT`` in the published checkpoints)."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from torch import Tensor, nn

from aot_plus.networks.layers.memory_types import BlockContext, KeyValue, LayerMemory


class Block(Protocol):
    """What the stack asks of its blocks: ``AOTBlock`` or ``DeAOTBlock``."""

    def __call__(
        self, x: Tensor, context: BlockContext, memory: LayerMemory | None
    ) -> tuple[Tensor, Any]: ...

    def bind_long(self, frame: Any, identity: Tensor) -> KeyValue: ...

    def bind_short(self, frame: Any, identity: Tensor) -> KeyValue: ...


class LSTT(nn.Module):
    """Blocks, and a norm for each layer output that the decoder reads."""

    def __init__(
        self, blocks: Sequence[nn.Module], make_norm: Callable[[], nn.Module], *, norm_all: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        # The last norm belongs to the last layer, the ones before it to the earlier layers.
        self.decoder_norms = nn.ModuleList(make_norm() for _ in (blocks if norm_all else blocks[-1:]))

    def forward(
        self, tokens: Tensor, context: BlockContext, memory: Sequence[LayerMemory] | None
    ) -> tuple[list[Tensor], list[Any]]:
        """Passes ``B x N x C`` tokens through all blocks.

        Args:
            tokens: of one frame.
            context: what the blocks share.
            memory: what each layer reads; None for a reference frame.

        Returns:
            Every layer's output (``B x N x C``, DeAOT ``B x N x 2C``), normalised where there is a norm for
            it, and what each block keeps of the frame until its mask is known.
        """
        outputs, frames = [], []
        for index, block in enumerate(self._blocks()):
            tokens, frame = block(tokens, context, memory[index] if memory is not None else None)
            outputs.append(tokens)
            frames.append(frame)
        first = len(outputs) - len(self.decoder_norms)
        for offset, norm in enumerate(self.decoder_norms):
            outputs[first + offset] = norm(outputs[first + offset])
        return outputs, frames

    def bind_long(self, frames: Sequence[Any], identity: Tensor) -> list[KeyValue]:
        """All layers' long-term entries of a frame whose mask has the identity embedding ``B x N x C``."""
        return [layer.bind_long(frame, identity) for layer, frame in zip(self._blocks(), frames, strict=True)]

    def bind_short(self, frames: Sequence[Any], identity: Tensor) -> list[KeyValue]:
        """The short-term memories of all layers."""
        return [
            layer.bind_short(frame, identity) for layer, frame in zip(self._blocks(), frames, strict=True)
        ]

    def _blocks(self) -> list[Block]:
        return [cast(Block, layer) for layer in self.layers]
