"""Policies that look at nothing but the frame numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy

if TYPE_CHECKING:
    from aot_plus.configs import Config


class UnboundedPolicy(MemoryPolicy):
    """Never drops a frame: AOT and DeAOT as published."""

    bounded = False

    def drop(self, append: Append) -> int:
        """Not to be called: raises ``RuntimeError``."""
        raise RuntimeError("an unbounded memory drops no frame")


class FifoPolicy(MemoryPolicy):
    """Drops the oldest entry after the first ``FORMER_MEM_LEN``: AOT* and DeAOT* of the paper's table."""

    def drop(self, append: Append) -> int:
        """Entry ``FORMER_MEM_LEN`` or the first droppable one after it; else the last droppable one."""
        later = [position for position in append.droppable if position >= self.cfg.FORMER_MEM_LEN]
        return later[0] if later else append.droppable[-1]


class RandomPolicy(MemoryPolicy):
    """Drops any entry with the same probability: a control. ``MEM_RANDOM_SEED`` starts every video."""

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self._random = random.Random(cfg.MEM_RANDOM_SEED)

    def drop(self, append: Append) -> int:
        """Chooses any of the droppable entries."""
        return self._random.choice(append.droppable)

    def state_dict(self) -> dict[str, Any]:
        """Gives, as ``MemoryPolicy.state_dict``, the random numbers to come as plain values."""
        return super().state_dict() | {"_random": self._random.getstate()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what ``state_dict`` of such a policy gave."""
        self._random.setstate(state["_random"])
        super().load_state_dict({**state, "_random": self._random})


class UniformPolicy(MemoryPolicy):
    """Drops the entry whose two neighbours in time are closest together: a control that spreads the rest."""

    def drop(self, append: Append) -> int:
        """Chooses the droppable entry with the smallest gap around it; the first one on ties."""
        frames = [*append.frames, append.new_frame]
        return min(append.droppable, key=lambda position: frames[position + 1] - frames[position - 1])
