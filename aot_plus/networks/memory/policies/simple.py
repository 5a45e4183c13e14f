"""Defines policies that look only at the frame numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy

if TYPE_CHECKING:
    from aot_plus.configs import Config


class UnboundedPolicy(MemoryPolicy):
    """Never drops a frame: AOT and DeAOT as published."""

    bounded = False

    def drop(self, append: Append) -> int:
        """Raises ``RuntimeError``: this method must not be called."""
        raise RuntimeError("an unbounded memory drops no frame")


class FifoPolicy(MemoryPolicy):
    """Drops the oldest entry after the first ``FORMER_MEM_LEN``: AOT* and DeAOT* of the paper's table."""

    replayable = True

    def drop(self, append: Append) -> Tensor:
        """Chooses the first droppable entry from ``FORMER_MEM_LEN`` on; else the last droppable one."""
        may_drop = append.may_drop
        position = torch.arange(len(may_drop), device=may_drop.device)
        # In order of preference: the later entries, oldest first; then the first ones, from the last.
        place = torch.where(position < self.cfg.FORMER_MEM_LEN, 2 * len(position) - position, position)
        return torch.where(may_drop, place, 3 * len(position)).argmin()


class RandomPolicy(MemoryPolicy):
    """Drops any entry with the same probability: a control. ``MEM_RANDOM_SEED`` seeds every video."""

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self._random = random.Random(cfg.MEM_RANDOM_SEED)

    def drop(self, append: Append) -> int:
        """Chooses one of the droppable entries at random."""
        return self._random.choice(append.droppable)

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as ``MemoryPolicy`` does, with the random generator's state as plain values."""
        return super().state_dict() | {"_random": self._random.getstate()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the policy from a ``state_dict``."""
        self._random.setstate(state["_random"])
        super().load_state_dict({**state, "_random": self._random})


class UniformPolicy(MemoryPolicy):
    """Drops the entry whose two neighbours in time are closest together: a control that spreads the rest."""

    replayable = True

    def drop(self, append: Append) -> Tensor:
        """Chooses the droppable entry with the smallest gap around it; the first one on ties."""
        frames = torch.cat([append.numbers, append.new_number[None]])
        gaps = torch.cat([frames[1:2], frames[2:] - frames[:-2]])  # the first entry's gap is never used
        return torch.where(append.may_drop, gaps, torch.iinfo(gaps.dtype).max).argmin()
