"""RMem: keeps relevant frames, with a bonus for those that were seldom considered."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from aot_plus.networks.memory.policies.base import Append
from aot_plus.networks.memory.policies.relevance import RelevancePolicy
from aot_plus.utils.config_ranges import check_value
from aot_plus.utils.device import on_device

if TYPE_CHECKING:
    from aot_plus.configs import Config


class RMemPolicy(RelevancePolicy):
    """Scores an entry by its relevance, plus a bonus that falls with its age, as UCB has it.

    The age of an entry is the number of runs of the policy since its frame entered the bank, the first one
    included.
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        check_value("MEM_RMEM_OFFSET", cfg.MEM_RMEM_OFFSET)
        self._ages: dict[int, int] = {}

    def run(self, append: Append) -> None:
        """Counts the run for every entry, and for the new frame as its first one."""
        super().run(append)
        self._ages = {frame: self._ages.get(frame, 0) + 1 for frame in [*append.frames, append.new_frame]}

    def score(self, append: Append, averages: Tensor) -> Tensor:
        """R_t + exploration * sqrt(ln(sum_t a_t) / (a_t + offset)); a_t: the age of entry t, a_0 = T."""
        ages = [len(append.frames)] + [self._ages[frame] for frame in append.frames[1:]]
        log_total = math.log(sum(ages))
        offset, factor = self.cfg.MEM_RMEM_OFFSET, self.cfg.MEM_RMEM_EXPLORATION
        bonus = factor * on_device([math.sqrt(log_total / (age + offset)) for age in ages], averages.device)
        self.last_scores["bonus"] = bonus
        return averages + bonus
