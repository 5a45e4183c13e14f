"""Declines frames whose prediction is poor, whatever the policy (the write gate)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.scores import prediction_quality
from aot_plus.utils.config_ranges import check_value

if TYPE_CHECKING:
    from aot_plus.configs import Config

_FIRST_FRAMES = 3  # with an object; their mean quality is the standard for later frames


class WriteGate(MemoryPolicy):
    """Passes on to a policy only those frames that show an object, predicted well enough.

    The quality of a frame is the mean top probability of the tokens that show an object. A frame is declined
    if its quality is below ``MEM_WRITE_GATE`` times the mean of the first three offered frames with an
    object. The traces contain each offered frame's quality.
    """

    may_decline = True

    def __init__(self, cfg: Config, policy: MemoryPolicy) -> None:
        super().__init__(cfg)
        check_value("MEM_WRITE_GATE", cfg.MEM_WRITE_GATE)
        self.policy = policy
        self.bounded = policy.bounded
        self._first: list[float] = []

    def clear_explanation(self) -> None:
        """Clears the policy's explanation as well."""
        super().clear_explanation()
        self.policy.clear_explanation()

    def keep(self, append: Append) -> bool:
        """Returns whether the frame passes the gate and the policy keeps it."""
        quality = float(prediction_quality(append.probabilities()))
        needed = 0.0
        if len(self._first) == _FIRST_FRAMES:
            needed = self.cfg.MEM_WRITE_GATE * sum(self._first) / _FIRST_FRAMES
        elif quality > 0:
            self._first.append(quality)
        self.last_facts = {"quality": quality, "needed": needed}
        kept = quality > 0 and quality >= needed
        if kept and self.policy.may_decline:
            kept = self.policy.keep(append)
            self._take_over()
        return kept

    def observe(self, append: Append) -> None:
        """Shows the frame to the policy."""
        self.policy.observe(append)
        self._take_over()

    def drop(self, append: Append) -> int | Tensor:
        """Leaves the choice to the policy."""
        dropped = self.policy.drop(append)
        self._take_over()
        return dropped

    def _take_over(self) -> None:
        self.last_scores = self.policy.last_scores
        self.last_facts = {**self.last_facts, **self.policy.last_facts}

    @property
    def averages(self) -> dict[int, float]:
        """Returns the policy's averages."""
        return self.policy.averages

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the gate and of its policy."""
        return {"first": list(self._first), "policy": self.policy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the gate and its policy from a ``state_dict``."""
        self._first = list(state["first"])
        self.policy.load_state_dict(state["policy"])
