"""Keeps the memory of a batch of object groups: long-term bank and short-term memory."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from aot_plus.networks.layers.memory_types import KeyValue, LayerMemory
from aot_plus.networks.memory.bank import DifferentiableBank, MemoryBank
from aot_plus.networks.models import AOT, Propagation

__all__ = ["TrainingMemory", "VideoMemory"]


class TrainingMemory:
    """Holds the memory of a batch of clips, through which gradients flow."""

    def __init__(self, model: AOT, bank: DifferentiableBank) -> None:
        self.model = model
        self.bank = bank
        self._short: list[KeyValue] = []  # the last frame
        self._long: list[KeyValue] = []  # the bank as it is read

    def read(self) -> list[LayerMemory]:
        """Returns each layer's memory, as ``VideoMemory`` does; the groups are the clips."""
        return [LayerMemory(*pair) for pair in zip(self._long, self._short, strict=True)]

    def write_short(self, propagation: Propagation, identity: Tensor) -> None:
        """Replaces the short-term memory with this frame, bound to its identity embedding ``G x N x C``."""
        self._short = self.model.bind_short(propagation, identity)

    def write_long(self, propagation: Propagation, identity: Tensor, dropped: int) -> None:
        """Appends this frame to the bank; if that is full, it replaces the one at position ``dropped``."""
        self.bank.append(self.model.bind_long(propagation, identity), dropped)
        rows = self.model.memory_embedding(len(self.bank))
        self._long = [_flat(self.bank.layer(index, rows)) for index in range(self.bank.num_layers)]


class VideoMemory:
    """Holds the memory of G groups of objects that started together, in tensors that stay in place."""

    def __init__(self, model: AOT, bank: MemoryBank) -> None:
        self.model = model
        self.bank = bank
        self._short: list[KeyValue] = []  # the last frame

    def read(self) -> list[LayerMemory]:
        """Returns each layer's memory: the long-term one and, as the short-term one, the last frame.

        Long-term keys are ``G x T*N x D``, values ``G x T*N x E``.
        """
        long = [_flat(self.bank.as_read(index)) for index in range(self.bank.num_layers)]
        return [LayerMemory(*pair) for pair in zip(long, self._short, strict=True)]

    def write_short(self, propagation: Propagation, identity: Tensor) -> None:
        """Replaces the short-term memory as ``TrainingMemory`` does, but in the same tensors."""
        entries = self.model.bind_short(propagation, identity)
        if not self._short:
            self._short = [_own(entry) for entry in entries]
            return
        for stored, entry in zip(self._short, entries, strict=True):
            stored.keys.copy_(entry.keys)
            stored.values.copy_(entry.values)

    def store_long(
        self, propagation: Propagation, identity: Tensor, frame: Tensor, dropped: Tensor, *, reference: bool
    ) -> None:
        """Does the device's part of appending a frame; the bank's ``finish_store`` must follow.

        ``frame``, ``dropped`` and ``reference`` are those of ``MemoryBank.store``.
        """
        entries = self.model.bind_long(propagation, identity)
        self.bank.store(entries, frame, dropped, reference=reference)
        self._embed(len(self.bank) + (not self.bank.is_full))

    def chronological_keys(self, group: int) -> Tensor:
        """Returns layer 0's keys of a group as they are read, oldest frame first: ``T x N x D``."""
        return self.bank.as_read(0).keys[group][self.bank.order[group]]

    @property
    def num_bytes(self) -> int:
        """Counts the bytes of the memory's storage."""
        short = [tensor for entry in self._short for tensor in entry]
        return sum(tensor.nbytes for tensor in [*short, *self.bank.storage])

    def state_dict(self) -> dict[str, Any]:
        """Copies the stored frames to plain values."""
        return {
            "bank": self.bank.state_dict(),
            "last": [[tensor.clone() for tensor in entry] for entry in self._short],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the frames from a ``state_dict``."""
        self.bank.load_state_dict(state["bank"])
        self._short = [_own(KeyValue(*entry)) for entry in state["last"]]
        self._embed(len(self.bank))

    def _embed(self, num_frames: int) -> None:
        """Adds the temporal embedding, if there is one, to the keys that are read."""
        rows = self.model.memory_embedding(num_frames)
        if rows is not None:
            self.bank.embed(rows)


def _flat(layer: KeyValue) -> KeyValue:
    """Flattens the frames of a layer, ``G x T x N x .``, to ``G x T*N x .``."""
    return KeyValue(layer.keys.flatten(1, 2), layer.values.flatten(1, 2))


def _own(entry: KeyValue) -> KeyValue:
    """Copies an entry to new storage."""
    return KeyValue(*(tensor.clone(memory_format=torch.contiguous_format) for tensor in entry))
