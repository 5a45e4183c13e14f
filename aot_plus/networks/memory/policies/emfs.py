"""Keeps frames that are relevant to the current one and not redundant with the others (EMFS)."""

from torch import Tensor

from aot_plus.networks.memory.policies.base import Append
from aot_plus.networks.memory.policies.relevance import RelevancePolicy
from aot_plus.networks.memory.scores import novelty, redundancy


class EmfsPolicy(RelevancePolicy):
    """Scores an entry by ``MEM_EMFS_WEIGHT`` times its relevance, plus its novelty.

    The novelty falls with the redundancy, along a sigmoid of ``MEM_EMFS_SLOPE`` and ``MEM_EMFS_MIDPOINT``.
    """

    replayable = True

    def score(self, append: Append, averages: Tensor) -> Tensor:
        """Returns weight * R_t + P_t."""
        redundant = redundancy(append.statistics().keys)
        novel = novelty(redundant, self.cfg.MEM_EMFS_SLOPE, self.cfg.MEM_EMFS_MIDPOINT)
        self.last_scores |= {"redundancy": redundant, "novelty": novel}
        return self.cfg.MEM_EMFS_WEIGHT * averages + novel
