"""Keeps relevant frames, with a bonus for those that were seldom considered (RMem)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append
from aot_plus.networks.memory.policies.frame_values import FrameValues
from aot_plus.networks.memory.policies.relevance import RelevancePolicy
from aot_plus.utils.config_ranges import check_value

if TYPE_CHECKING:
    from aot_plus.configs import Config


class RMemPolicy(RelevancePolicy):
    """Scores an entry by its relevance, plus a bonus that falls with its age, as in UCB.

    The age of an entry is the number of runs of the policy since its frame entered the bank, the first one
    included.
    """

    replayable = True

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        check_value("MEM_RMEM_OFFSET", cfg.MEM_RMEM_OFFSET)
        self._ages = FrameValues()

    def run(self, append: Append) -> None:
        """Counts the run for every entry, and for the new frame as its first run."""
        super().run(append)
        frames = torch.cat([append.numbers, append.new_number[None]])
        self._ages.replace(frames, self._ages.find(frames)[0] + 1)

    def score(self, append: Append, averages: Tensor) -> Tensor:
        """Returns R_t + exploration * sqrt(ln(sum_t a_t) / (a_t + offset)); a_t: age of entry t, a_0 = T."""
        ages, _ = self._ages.find(append.numbers)
        ages[:1].fill_(len(ages))
        offset, factor = self.cfg.MEM_RMEM_OFFSET, self.cfg.MEM_RMEM_EXPLORATION
        bonus = factor * (ages.sum().log() / (ages + offset)).sqrt()
        self.last_scores["bonus"] = bonus
        return averages + bonus

    def reserve(self, capacity: int, device: torch.device) -> None:
        """Moves the ages of the entries and of the new frame to tensors that stay where they are, too."""
        super().reserve(capacity, device)
        self._ages.reserve(capacity + 1, device)

    def forget(self) -> None:
        """Clears the state for another video."""
        super().forget()
        self._ages.forget()
