"""Keeps frames that are relevant to the current one and far from the others in time (Spread)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append
from aot_plus.networks.memory.policies.relevance import RelevancePolicy, RunningRelevance
from aot_plus.utils.config_ranges import check_value

if TYPE_CHECKING:
    from aot_plus.configs import Config


class SpreadPolicy(RelevancePolicy):
    """Scores an entry by its relevance to the power ``MEM_SPREAD_POWER``, times its room in time.

    The power sets how much relevance counts: 0 is ``uniform``. The relevance is that of EMFS with a slower
    average (``MEM_SPREAD_KEEP``). The policy is this project's own, and unpublished.
    """

    replayable = True

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        for name in ("MEM_SPREAD_KEEP", "MEM_SPREAD_POWER"):
            check_value(name, getattr(cfg, name))
        self.running_relevance = RunningRelevance(cfg.MEM_SPREAD_KEEP)

    def score(self, append: Append, averages: Tensor) -> Tensor:
        """Returns R_t^power * room_t."""
        around = room_in_time(torch.cat([append.numbers, append.new_number[None]]))
        room = around / around.mean()
        self.last_scores["room"] = room
        return torch.pow(averages, self.cfg.MEM_SPREAD_POWER) * room


def room_in_time(frames: Tensor) -> Tensor:
    """Returns, for each frame but the last, the distance between the frame before and the frame after it.

    The first frame has none before it, so it gets twice the distance to the next one.

    Args:
        frames: T + 1 numbers, ascending, 2 or more.

    Returns:
        T values, float32.
    """
    first = 2 * (frames[1:2] - frames[:1])
    return torch.cat([first, frames[2:] - frames[:-2]]).float()
