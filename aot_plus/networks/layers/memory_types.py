"""Defines the types passed between the transformer's blocks and the memory: tensors without state."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


class KeyValue(NamedTuple):
    """Holds what one layer keeps of a frame, or of several frames concatenated.

    ``keys``: ``B x N x D``; ``values``: ``B x N x E`` (DeAOT: visual and identity values concatenated).
    For several frames, N counts all their tokens.
    """

    keys: Tensor
    values: Tensor


class LayerMemory(NamedTuple):
    """Holds what one layer reads: the long-term memory (keys with temporal embedding) and the last frame."""

    long: KeyValue
    short: KeyValue


@dataclass(frozen=True)
class Reference:
    """Takes the place of the memory for a reference frame, which reads itself.

    Attributes:
        identity: ``B x N x C``, the frame's embedded mask.
        embedding: ``1 x D`` temporal embedding of the frame's own keys; None if it is off.
    """

    identity: Tensor
    embedding: Tensor | None


class BlockFrame(Protocol):
    """Holds what a block keeps of a frame until its mask is known: ``AOTFrame`` or ``DeAOTFrame``."""

    @property
    def keys(self) -> Tensor:
        """Returns the keys ``B x N x D``, which are also the queries, without temporal embedding."""
        ...


@dataclass(frozen=True)
class BlockContext:
    """Holds what all blocks share for one frame.

    Attributes:
        size: ``(h, w)`` of the feature map.
        groups: B of the memory. The first block's tokens may be ``1 x N x C``, shared by all groups: its work
            before it reads the memory is then done once.
        position: ``1 x N x C`` position embedding.
        query_embedding: ``1 x D`` temporal embedding of the current frame; None if it is off.
    """

    size: tuple[int, int]
    groups: int
    position: Tensor
    query_embedding: Tensor | None


def add_embedding(tokens: Tensor, embedding: Tensor | None) -> Tensor:
    """Adds a ``1 x D`` embedding, if there is one, to ``B x N x D`` tokens; keeps the tokens' dtype."""
    return tokens if embedding is None else (tokens + embedding).to(tokens.dtype)
