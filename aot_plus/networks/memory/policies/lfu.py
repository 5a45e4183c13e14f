"""LFU: keeps frames that have been attended to, on average since they were stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.scores import relevance
from aot_plus.utils.device import on_device

if TYPE_CHECKING:
    from aot_plus.configs import Config


class LfuPolicy(MemoryPolicy):
    """Drops the entry with the smallest mean relevance over all appends since it was stored.

    That is "least frequently used" with age: XMem (Cheng and Schwing, ECCV 2022) drops elements of its
    long-term memory by their attention per time. Here the element is a whole frame, and the attention that of
    the foreground, as in EMFS.
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self._frames: list[int] = []  # of the last append; their sums and numbers of reads:
        self._sums = self._reads = torch.empty(0)

    def observe(self, append: Append) -> None:
        """Adds this read."""
        statistics = append.statistics()
        read = relevance(statistics.attention, statistics.foreground)
        position = {frame: index for index, frame in enumerate(self._frames)}
        source = on_device([position.get(frame, len(position)) for frame in append.frames], read.device)
        new = read.new_zeros(1)  # what a frame has had that comes for the first time
        self._sums = torch.cat([self._sums.to(read), new])[source] + read
        self._reads = torch.cat([self._reads.to(read), new])[source] + 1
        self._frames = list(append.frames)
        self.last_scores = {"read": read, "reads": self._reads, "mean": self._sums / self._reads}

    def drop(self, append: Append) -> Tensor:
        """Chooses the droppable entry with the smallest mean, the first one on ties."""
        candidates = on_device(append.droppable, self._sums.device)
        lowest = self.last_scores["mean"][candidates].argmin(dim=0, keepdim=True)
        return candidates.gather(0, lowest)[0]
