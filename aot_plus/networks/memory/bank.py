"""Keeps the long-term memory bank: frames together with their numbers, in storage that is allocated once."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from aot_plus.networks.layers.memory_types import KeyValue
from aot_plus.utils.device import HostCopy

FIRST_UNBOUNDED_SLOTS = 8
_SLOT, _FRAME, _REFERENCE = range(3)  # columns of a bank's book


class MemoryBank:
    """Stores the frames of one batch of object groups: each group has its own frames, and all equally many.

    A group's frames lie in slots. A new frame takes the slot of the one it replaces, so nothing is moved.
    The *book*, a table on the same device, says which frame lies in which slot. The host thus need not know
    a choice that was made on the device: ``store`` and ``embed`` do without it.
    """

    def __init__(self, capacity: int | None) -> None:
        """``capacity``: the maximum number of frames of a group, or None for a bank that grows."""
        self.capacity = capacity
        self._length = 0
        self._layers: list[KeyValue] = []  # for each layer: G x S x N x D, G x S x N x E
        self._embedded: list[Tensor] = []  # of each layer, the keys plus their embedding, if they have one
        self._book = torch.empty(0)  # G x S x 3: slot, frame number, reference or not; oldest frame first
        self._known: HostCopy | None = None  # the book's rows on the host, perhaps still being copied

    def __len__(self) -> int:
        """Counts the frames that each group holds, T."""
        return self._length

    @property
    def num_layers(self) -> int:
        """Counts the stored layers; 0 before the first frame."""
        return len(self._layers)

    @property
    def frames(self) -> list[list[int]]:
        """Lists each group's stored frame numbers, oldest first. Waits for a choice made on the device."""
        return [] if self._known is None else self._known.wait()[:, :, _FRAME].tolist()

    @property
    def numbers(self) -> Tensor:
        """Returns the stored frame numbers on the device, ``G x T`` int64, oldest first."""
        return self._rows[:, :, _FRAME]

    @property
    def references(self) -> Tensor:
        """Returns which stored frames are references, ``G x T`` bool, oldest first."""
        return self._rows[:, :, _REFERENCE] != 0

    @property
    def order(self) -> Tensor:
        """Returns the slots of the frames, oldest first: ``G x T`` int64, on the device."""
        return self._rows[:, :, _SLOT]

    @property
    def is_full(self) -> bool:
        """Returns whether another frame has to replace a stored one."""
        return self.capacity is not None and len(self) >= self.capacity

    @property
    def storage(self) -> list[Tensor]:
        """Lists all tensors that are allocated for keys and values."""
        return [*(tensor for layer in self._layers for tensor in layer), *self._embedded]

    def store(self, entries: Sequence[KeyValue], frame: Tensor, dropped: Tensor, *, reference: bool) -> None:
        """Stores a frame on the device; ``finish_store`` must follow, which does the host's part.

        Args:
            entries: for each layer, keys ``G x N x D`` and values ``G x N x E``.
            frame: its number, larger than those stored, int64 without dimensions.
            dropped: for each group, the position (0 = oldest) of the frame to replace, int64 (G); ignored
                if there is room.
            reference: the frame came with a mask.
        """
        if self.is_full:
            row = self._replace_row(dropped)
            first = torch.arange(len(dropped), device=dropped.device) * self._layers[0].keys.shape[1]
            targets = first + row[:, 0, _SLOT]
            for stored, new in self._pairs(entries):
                stored.flatten(0, 1).index_copy_(0, targets, new)
        else:
            self._make_room(entries)
            slot = len(self)
            row = self._book[:, slot : slot + 1]  # G x 1 x 3
            row[..., _SLOT].fill_(slot)
            for stored, new in self._pairs(entries):
                stored[:, slot].copy_(new)
        row[..., _FRAME].copy_(frame)
        row[..., _REFERENCE].fill_(int(reference))

    def embed(self, rows: Tensor) -> None:
        """Adds the temporal embedding ``rows`` to the keys that are read: ``T x D``, oldest frame first.

        T includes a frame that was stored but not finished yet.
        """
        length = len(rows)
        ranks = self._book[:, :length, _SLOT].argsort(dim=1)  # each slot's rank: inverts each rank's slot
        by_slot = rows[ranks][:, :, None]  # G x T x 1 x D, in float32: the sum is rounded once
        if not self._embedded:
            self._embedded = [torch.empty_like(keys) for keys, _ in self._layers]
        for (keys, _), embedded in zip(self._layers, self._embedded, strict=True):
            torch.add(keys[:, :length], by_slot, out=embedded[:, :length])

    def finish_store(self) -> None:
        """Counts the stored frame on the host, unless it took the place of another."""
        self._length += not self.is_full
        self._known = HostCopy(self._rows)

    def clear(self) -> None:
        """Forgets all frames; the storage stays where it is."""
        self._length, self._known = 0, None

    @contextmanager
    def as_if_full(self) -> Iterator[None]:
        """Treats all slots of a bounded bank as stored frames, whatever they contain."""
        length = self._length
        self._length = length if self.capacity is None else self.capacity
        try:
            yield
        finally:
            self._length = length

    def layer(self, index: int) -> KeyValue:
        """Returns a layer's keys ``G x T x N x D`` and values ``G x T x N x E``, in the order of the slots.

        They are valid until the next ``store``.
        """
        return KeyValue(*(stored[:, : len(self)] for stored in self._layers[index]))

    def as_read(self, index: int) -> KeyValue:
        """Returns the same as ``layer``, but the keys with their temporal embedding, if they have one."""
        keys, values = self._layers[index]
        keys = self._embedded[index] if self._embedded else keys
        return KeyValue(keys[:, : len(self)], values[:, : len(self)])

    def state_dict(self) -> dict[str, Any]:
        """Copies the frames, with their numbers and slots, to plain values."""
        layers = [[stored[:, : len(self)].clone() for stored in layer] for layer in self._layers]
        return {"book": self._rows.clone(), "layers": layers}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the frames from the ``state_dict`` of a bank of the same capacity."""
        book = state["book"]
        self._length = book.shape[1]
        self._book = self._with_room(book)
        self._layers = [KeyValue(*map(self._with_room, layer)) for layer in state["layers"]]
        self._embedded, self._known = [], HostCopy(self._rows)

    @property
    def _rows(self) -> Tensor:
        """Returns the book's rows of the stored frames, ``G x T x 3``."""
        return self._book[:, : len(self)]

    def _pairs(self, entries: Sequence[KeyValue]) -> list[tuple[Tensor, Tensor]]:
        """Pairs the storage with the new tensor, for the keys and values of all layers."""
        return [
            pair
            for layer, entry in zip(self._layers, entries, strict=True)
            for pair in zip(layer, entry, strict=True)
        ]

    def _replace_row(self, dropped: Tensor) -> Tensor:
        """Moves the dropped frames' rows (G) to the book's end, to be rewritten: ``G x 1 x 3``."""
        rest = torch.arange(len(self) - 1, device=dropped.device)
        rest = rest + (rest >= dropped[:, None])  # G x T-1, the positions that stay
        positions = torch.cat([rest, dropped[:, None]], dim=1)
        self._rows.copy_(self._rows.gather(1, positions[:, :, None].expand(-1, -1, 3)))
        return self._rows[:, -1:]

    def _make_room(self, entries: Sequence[KeyValue]) -> None:
        """Allocates storage for one more frame, if there is none."""
        if not self._layers:
            self._layers = [KeyValue(*map(self._allocate, entry)) for entry in entries]
            keys = entries[0].keys
            self._book = self._allocate(keys.new_empty(len(keys), 3, dtype=torch.long))
        while len(self) >= self._book.shape[1]:
            self._book = _doubled(self._book)
            self._layers = [KeyValue(*map(_doubled, layer)) for layer in self._layers]
            self._embedded = []

    def _with_room(self, frames: Tensor) -> Tensor:
        """Copies frames ``G x T x ...`` to the beginning of new storage that is large enough."""
        stored = self._allocate(frames[:, 0])
        while stored.shape[1] < frames.shape[1]:
            stored = _doubled(stored)
        stored[:, : frames.shape[1]] = frames
        return stored

    def _allocate(self, entry: Tensor) -> Tensor:
        slots = FIRST_UNBOUNDED_SLOTS if self.capacity is None else self.capacity
        return entry.new_empty(entry.shape[0], slots, *entry.shape[1:])


class DifferentiableBank:
    """Stores frames in training: gradients flow through its entries, so nothing is written in place."""

    def __init__(self, capacity: int) -> None:
        """``capacity``: as in ``MemoryBank``."""
        self.capacity = capacity
        self._stored: list[list[KeyValue]] = []  # by age, oldest frame first, then layer

    def __len__(self) -> int:
        """Counts the stored frames, T."""
        return len(self._stored)

    @property
    def num_layers(self) -> int:
        """Counts the stored layers; 0 before the first frame."""
        return len(self._stored[0]) if self._stored else 0

    def append(self, entries: Sequence[KeyValue], dropped: int) -> None:
        """Stores a frame. In a full bank it replaces the one at the position ``dropped``, for all samples."""
        if len(self) >= self.capacity:
            del self._stored[dropped]
        self._stored.append(list(entries))

    def layer(self, index: int, embedding: Tensor | None = None) -> KeyValue:
        """Returns a layer's keys ``G x T x N x D`` and values ``G x T x N x E``, oldest frame first.

        ``embedding``: added to the keys, ``T x D`` in the same order.
        """
        entries = [frame[index] for frame in self._stored]
        keys, values = (torch.stack(tensors, dim=1) for tensors in zip(*entries, strict=True))
        if embedding is not None:
            keys = (keys + embedding[:, None]).to(keys.dtype)  # rounded once
        return KeyValue(keys, values)


def _doubled(stored: Tensor) -> Tensor:
    """Copies ``stored`` to a tensor with twice the slots."""
    larger = stored.new_empty(stored.shape[0], 2 * stored.shape[1], *stored.shape[2:])
    larger[:, : stored.shape[1]] = stored
    return larger
