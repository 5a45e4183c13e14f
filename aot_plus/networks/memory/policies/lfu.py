"""Keeps the frames with the most attention, on average since they were stored (LFU)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.policies.frame_values import FrameValues
from aot_plus.networks.memory.scores import relevance

if TYPE_CHECKING:
    from aot_plus.configs import Config


class LfuPolicy(MemoryPolicy):
    """Drops the entry with the smallest mean relevance over all appends since it was stored.

    That is "least frequently used" with age: XMem (Cheng and Schwing, ECCV 2022) drops elements of its
    long-term memory by their attention per time. Here an element is a whole frame, and only the foreground's
    attention counts, as in EMFS.
    """

    replayable = True

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self._sums, self._reads = FrameValues(), FrameValues()

    def observe(self, append: Append) -> None:
        """Adds this read to the sums and the numbers of reads."""
        statistics = append.statistics()
        read = relevance(statistics.attention, statistics.foreground)
        sums = self._sums.find(append.numbers)[0] + read
        reads = self._reads.find(append.numbers)[0] + 1
        self._sums.replace(append.numbers, sums)
        self._reads.replace(append.numbers, reads)
        self.last_scores = {"read": read, "reads": reads, "mean": sums / reads}

    def drop(self, append: Append) -> Tensor:
        """Chooses the droppable entry with the smallest mean, the first one on ties."""
        return torch.where(append.may_drop, self.last_scores["mean"], torch.inf).argmin()

    def reserve(self, capacity: int, device: torch.device) -> None:
        """Moves sums and numbers of reads to tensors that stay where they are."""
        for values in (self._sums, self._reads):
            values.reserve(capacity, device)

    def forget(self) -> None:
        """Clears the state for another video."""
        self.last_scores = {}
        for values in (self._sums, self._reads):
            values.forget()
