"""The long-term memory bank: frames together with their numbers, in storage that is allocated once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aot_plus.networks.layers.memory_types import KeyValue
from aot_plus.utils.device import HostCopy, on_device

FIRST_UNBOUNDED_SLOTS = 8


class _Pending(NamedTuple):
    """An appended frame whose place only the device knows so far."""

    frame: int
    dropped: HostCopy  # G positions
    order: Tensor  # G x T, the slots as they are now, oldest frame first


class MemoryBank:
    """Stores the frames of one batch of object groups: each group has its own, all have equally many.

    A group's frames lie in slots; a frame that is dropped gives its slot to the one that replaces it, so
    nothing is moved. ``frames`` says which frame lies where.
    """

    def __init__(self, capacity: int | None) -> None:
        """``capacity``: the most frames of a group, or None for a bank that grows."""
        self.capacity = capacity
        self._slots: list[list[int]] = []  # of each group, oldest frame first
        self._numbers: list[list[int]] = []  # frame numbers of the same
        self._layers: list[KeyValue] = []  # of each layer: G x S x N x D, G x S x N x E
        self._pending: _Pending | None = None  # what the lists above do not tell yet
        self._embedded: dict[int, Tensor] = {}  # of a layer: G x S x N x D, its keys with their embedding

    def __len__(self) -> int:
        """T, the frames that each group holds."""
        return len(self._numbers[0]) if self._numbers else 0

    @property
    def num_layers(self) -> int:
        """The number of stored layers; 0 before the first frame."""
        return len(self._layers)

    @property
    def frames(self) -> list[list[int]]:
        """The stored frame numbers of each group, oldest first. Waits for a choice made on the device."""
        self._settle()
        return [list(numbers) for numbers in self._numbers]

    @property
    def is_full(self) -> bool:
        """True if another frame fits only in the place of a stored one."""
        return self.capacity is not None and len(self) >= self.capacity

    def append(
        self, entries: Sequence[KeyValue], frame: int, dropped: Sequence[int] | Tensor | None = None
    ) -> None:
        """Stores a frame, in a full bank in the place of another.

        Args:
            entries: of each layer, keys ``G x N x D`` and values ``G x N x E``.
            frame: its number, larger than those stored.
            dropped: for each group, the position (0 = oldest) of the frame that goes; None when none has to.
                As an int64 tensor (G) on the entries' device the host does not wait for it.
        """
        self._settle()
        if isinstance(dropped, Tensor):
            self._replace(entries, frame, dropped)
        else:
            self._write(entries, self._record(entries[0].keys.shape[0], frame, dropped))

    def _record(self, groups: int, frame: int, dropped: Sequence[int] | None) -> list[int]:
        """Notes an appended frame; returns each group's slot for it."""
        if not self._numbers:
            self._slots = [[] for _ in range(groups)]
            self._numbers = [[] for _ in range(groups)]
        targets = []
        for group in range(groups):
            if dropped is None:
                slot = len(self._slots[group])
            else:
                slot = self._slots[group].pop(dropped[group])
                del self._numbers[group][dropped[group]]
            self._slots[group].append(slot)
            self._numbers[group].append(frame)
            targets.append(slot)
        return targets

    def _replace(self, entries: Sequence[KeyValue], frame: int, dropped: Tensor) -> None:
        """Stores a frame in place of those at the positions ``dropped`` (G), without a wait for them."""
        groups, length = len(self._slots), len(self)
        slots = [slot for own in self._slots for slot in own]
        order = on_device(slots, dropped.device).view(groups, length)
        targets = order.gather(1, dropped[:, None])  # G x 1
        rest = torch.arange(length - 1, device=dropped.device)
        rest = rest + (rest >= dropped[:, None]).long()  # G x T-1, the positions that stay
        order = torch.cat([order.gather(1, rest), targets], dim=1)
        first = torch.arange(groups, device=dropped.device) * self._layers[0].keys.shape[1]
        for layer, entry in zip(self._layers, entries, strict=True):
            for stored, new in zip(layer, entry, strict=True):
                stored.flatten(0, 1).index_copy_(0, first + targets[:, 0], new.to(stored.dtype))
        self._pending = _Pending(frame, HostCopy(dropped), order)

    def _settle(self) -> None:
        """Waits for a choice that only the device knows, and notes it."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._record(len(self._slots), pending.frame, pending.dropped.wait().tolist())

    def layer(self, index: int, embedding: Tensor | None = None) -> KeyValue:
        """Returns a layer's keys ``G x T x N x D`` and values ``G x T x N x E``, in the order of the slots.

        They are good until the next ``append``.

        Args:
            index: of the layer.
            embedding: ``T x D``, oldest frame first, added to the keys; None: keys as they were stored.
        """
        keys, values = (stored[:, : len(self)] for stored in self._layers[index])
        if embedding is not None:
            keys = torch.add(keys, self._by_slot(embedding, keys), out=self._embedded_keys(index))
        return KeyValue(keys, values)

    def ranks(self) -> Tensor:
        """Returns the rank in time (0 = oldest) of the frame in each slot: ``G x T``, on any device."""
        if self._pending is not None:
            return self._pending.order.argsort(dim=1)  # of a permutation: its inverse
        ranks = torch.empty(len(self._slots), len(self), dtype=torch.long)
        for group, slots in enumerate(self._slots):
            ranks[group, torch.tensor(slots, dtype=torch.long)] = torch.arange(len(self))
        return ranks

    def slots(self, group: int) -> list[int]:
        """Returns the slots of a group's frames, oldest frame first. Waits as ``frames``."""
        self._settle()
        return list(self._slots[group])

    def state_dict(self) -> dict[str, Any]:
        """Gives the frames, their numbers and slots, a copy in plain values."""
        self._settle()
        layers = [[stored[:, : len(self)].clone() for stored in layer] for layer in self._layers]
        return {"slots": [list(slots) for slots in self._slots], "frames": self.frames, "layers": layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what ``state_dict`` of a bank of the same capacity gave."""
        self._slots = [list(slots) for slots in state["slots"]]
        self._numbers = [list(numbers) for numbers in state["frames"]]
        self._layers = [KeyValue(*map(self._with_room, layer)) for layer in state["layers"]]
        self._embedded, self._pending = {}, None

    def _with_room(self, frames: Tensor) -> Tensor:
        """Puts frames ``G x T x N x .`` at the beginning of storage for as many as there may be."""
        stored = self._allocate(frames[:, 0])
        while stored.shape[1] < frames.shape[1]:
            stored = _doubled(stored)
        stored[:, : frames.shape[1]] = frames
        return stored

    def _by_slot(self, embedding: Tensor, keys: Tensor) -> Tensor:
        """Rows ``T x D`` in time's order as what is added to keys ``G x T x N x D`` in that of the slots."""
        ranks = self.ranks().to(embedding.device, non_blocking=True)
        return embedding[ranks][:, :, None].to(keys.dtype)

    def _embedded_keys(self, index: int) -> Tensor:
        """Returns the storage for a layer's embedded keys, ``G x T x N x D``: the same each time."""
        stored = self._layers[index].keys
        if index not in self._embedded or self._embedded[index].shape != stored.shape:
            self._embedded[index] = torch.empty_like(stored)
        return self._embedded[index][:, : len(self)]

    def _write(self, entries: Sequence[KeyValue], targets: Sequence[int]) -> None:
        slots = max(targets) + 1
        if not self._layers:
            self._layers = [KeyValue(*(self._allocate(tensor) for tensor in entry)) for entry in entries]
        elif slots > self._layers[0].keys.shape[1]:
            self._layers = [KeyValue(*(_doubled(tensor) for tensor in layer)) for layer in self._layers]
        for layer, entry in zip(self._layers, entries, strict=True):
            for stored, new in zip(layer, entry, strict=True):
                for group, slot in enumerate(targets):
                    stored[group, slot] = new[group]

    def _allocate(self, entry: Tensor) -> Tensor:
        groups, tokens, width = entry.shape
        slots = FIRST_UNBOUNDED_SLOTS if self.capacity is None else self.capacity
        return entry.new_empty(groups, slots, tokens, width)


class DifferentiableBank(MemoryBank):
    """A bank for training: gradients flow through its entries, so nothing is written in place."""

    def __init__(self, capacity: int | None) -> None:
        super().__init__(capacity)
        self._stored: list[list[KeyValue]] = []  # by slot, then layer

    @property
    def num_layers(self) -> int:
        """As ``MemoryBank.num_layers``."""
        return len(self._stored[0]) if self._stored else 0

    def layer(self, index: int, embedding: Tensor | None = None) -> KeyValue:
        """As ``MemoryBank.layer``."""
        entries = [slot[index] for slot in self._stored]
        keys, values = (torch.stack(tensors, dim=1) for tensors in zip(*entries, strict=True))
        return KeyValue(keys if embedding is None else keys + self._by_slot(embedding, keys), values)

    def _write(self, entries: Sequence[KeyValue], targets: Sequence[int]) -> None:
        slot = targets[0]
        if any(target != slot for target in targets):
            raise ValueError("in training every sample drops the same frame")
        self._stored[slot : slot + 1] = [list(entries)]


def _doubled(stored: Tensor) -> Tensor:
    """Copies the content to a tensor with twice the slots."""
    larger = stored.new_empty(stored.shape[0], 2 * stored.shape[1], *stored.shape[2:])
    larger[:, : stored.shape[1]] = stored
    return larger
