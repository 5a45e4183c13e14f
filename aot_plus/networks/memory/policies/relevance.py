"""Keeps running averages of the relevance, from which EMFS and RMem score entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.policies.frame_values import FrameValues
from aot_plus.networks.memory.scores import relevance
from aot_plus.utils.config_ranges import check_value
from aot_plus.utils.errors import ConfigError

if TYPE_CHECKING:
    from aot_plus.configs import Config

AVERAGES_STARTS = ("overflow", "append")


class RunningRelevance(FrameValues):
    """Keeps a running average per stored frame: keep * previous average + (1 - keep) * new value.

    A frame seen for the first time starts at its value; a frame that is missing from an update is forgotten.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def update(self, frames: Sequence[int] | Tensor, new: Tensor) -> Tensor:
        """Updates the averages with the values of ``frames`` (``new``: T), and returns them (T)."""
        numbers = frames if isinstance(frames, Tensor) else torch.tensor(frames, device=new.device)
        previous, known = self.find(numbers)
        averages = torch.where(known, self.keep * previous + (1 - self.keep) * new, new)
        self.replace(numbers, averages)
        return averages


class RelevancePolicy(MemoryPolicy):
    """Drops the entry with the smallest score, the first one on ties. A subclass defines the score.

    ``MEM_AVERAGES_START`` says on which appends the policy runs, that is, updates its averages:
    ``"overflow"`` on those that overflow the memory (published for AOT+), ``"append"`` on all (DeAOT).
    """

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        if cfg.MEM_AVERAGES_START not in AVERAGES_STARTS:
            raise ConfigError(f"MEM_AVERAGES_START: expected one of {', '.join(AVERAGES_STARTS)}, "
                              f"found {cfg.MEM_AVERAGES_START!r}")  # fmt: skip
        check_value("MEM_RELEVANCE_KEEP", cfg.MEM_RELEVANCE_KEEP)
        self.running_relevance = RunningRelevance(cfg.MEM_RELEVANCE_KEEP)

    def observe(self, append: Append) -> None:
        """Runs the policy if ``MEM_AVERAGES_START`` includes this append."""
        self.last_scores = {}
        if append.overflows or self.cfg.MEM_AVERAGES_START == "append":
            self.run(append)

    def run(self, append: Append) -> None:
        """Updates the running averages with this read."""
        statistics = append.statistics()
        read = relevance(statistics.attention, statistics.foreground)
        self.last_scores = {
            "read": read,
            "relevance": self.running_relevance.update(append.numbers, read),
        }

    @abstractmethod
    def score(self, append: Append, averages: Tensor) -> Tensor:
        """Scores every entry (T) from the running averages (T), which already include this read."""

    def drop(self, append: Append) -> Tensor:
        """Chooses the droppable entry with the smallest score. Nothing leaves the device."""
        scores = self.score(append, self.last_scores["relevance"])
        self.last_scores["score"] = scores
        finite = scores.clamp(max=torch.finfo(scores.dtype).max)  # droppable entries stay below infinity
        return torch.where(append.may_drop, finite, torch.inf).argmin()  # the first of equal values

    def reserve(self, capacity: int, device: torch.device) -> None:
        """Moves the running averages to tensors that stay where they are."""
        self.running_relevance.reserve(capacity, device)

    def forget(self) -> None:
        """Clears the state for another video."""
        self.last_scores = {}
        self.running_relevance.forget()

    @property
    def averages(self) -> dict[int, float]:
        """Returns the running averages of the relevance, by frame number, as of the last run."""
        return self.running_relevance.as_dict()
