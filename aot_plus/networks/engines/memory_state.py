"""The memory of a batch of object groups: long-term bank and short-term memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from aot_plus.networks.layers.memory_types import KeyValue, LayerMemory
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.models import AOT, Propagation
from aot_plus.utils.device import on_device


class GroupMemory:
    """The memory of G groups of objects that started together. Training and inference share the class."""

    def __init__(self, model: AOT, bank: MemoryBank) -> None:
        self.model = model
        self.bank = bank
        self._last = type(bank)(1)  # the last frame, always in the same place as well
        self._short: list[KeyValue] = []  # these two as they are read; recomputed when a bank changes
        self._long: list[KeyValue] = []

    def read(self) -> list[LayerMemory]:
        """Reads every layer: long-term keys ``G x T*N x D`` and values ``G x T*N x E``, last frame."""
        return [LayerMemory(long, short) for long, short in zip(self._long, self._short, strict=True)]

    def chronological_keys(self, group: int) -> Tensor:
        """Layer 0's keys of a group as they are read, oldest frame first: ``T x N x D``."""
        keys = self._long[0].keys[group].unflatten(0, (len(self.bank), -1))
        return keys[on_device(self.bank.slots(group), keys.device)]

    def write_short(self, propagation: Propagation, identity: Tensor, frame: int) -> None:
        """Replaces the short-term memory by this frame, bound with its identity embedding ``G x N x C``."""
        dropped = [0] * identity.shape[0] if self._last.is_full else None
        self._last.append(self.model.bind_short(propagation, identity), frame, dropped)
        self._short = _as_read(self._last, None)

    def write_long(
        self, propagation: Propagation, identity: Tensor, frame: int, dropped: Sequence[int] | Tensor | None
    ) -> None:
        """Appends this frame to the bank, in the place of each group's position ``dropped`` if given."""
        self.bank.append(self.model.bind_long(propagation, identity), frame, dropped)
        self._long = _as_read(self.bank, self.model.memory_embedding(len(self.bank)))

    def state_dict(self) -> dict[str, Any]:
        """Copies the stored frames to plain values."""
        return {"bank": self.bank.state_dict(), "last": self._last.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what ``state_dict`` of such a memory gave."""
        self.bank.load_state_dict(state["bank"])
        self._last.load_state_dict(state["last"])
        self._short = _as_read(self._last, None)
        self._long = _as_read(self.bank, self.model.memory_embedding(len(self.bank)))


def _as_read(bank: MemoryBank, embedding: Tensor | None) -> list[KeyValue]:
    """Reads every layer's keys ``G x T*N x D`` and values ``G x T*N x E``; ``embedding`` as in ``layer``."""
    layers = [bank.layer(index, embedding) for index in range(bank.num_layers)]
    return [KeyValue(keys.flatten(1, 2), values.flatten(1, 2)) for keys, values in layers]
