"""The running average of the relevance, which EMFS and RMem score entries by."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.scores import relevance
from aot_plus.utils.config_ranges import check_value
from aot_plus.utils.device import on_device
from aot_plus.utils.errors import ConfigError

if TYPE_CHECKING:
    from aot_plus.configs import Config

AVERAGES_STARTS = ("overflow", "append")


class RunningRelevance:
    """A running average per stored frame: keep * previous average + (1 - keep) * new value.

    A frame seen for the first time starts at its value; a frame that is missing from an update is forgotten.

    Attributes:
        frames: numbers of the frames of the last update.
        values: their averages, one per frame, on the device of the last update (None before the first one).
    """

    def __init__(self, keep: float) -> None:
        self.keep = keep
        self.frames: list[int] = []
        self.values: Tensor | None = None

    def update(self, frames: list[int], new: Tensor) -> Tensor:
        """Takes in the values of ``frames`` (``new``: T) and returns their averages (T)."""
        averages = new
        if self.values is not None:
            position = {frame: index for index, frame in enumerate(self.frames)}
            source = on_device([position.get(frame, -1) for frame in frames], new.device)
            previous = self.values[source.clamp(min=0)]
            averages = torch.where(source >= 0, self.keep * previous + (1 - self.keep) * new, new)
        self.frames, self.values = list(frames), averages
        return averages

    def as_dict(self) -> dict[int, float]:
        """Returns the averages by frame number."""
        return {} if self.values is None else dict(zip(self.frames, self.values.tolist(), strict=True))


class RelevancePolicy(MemoryPolicy):
    """Drops the entry with the smallest score, the first one on ties; what the score is, a subclass says.

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
        """Runs the policy, if this append is one of those that it runs on."""
        self.last_scores = {}
        if append.overflows or self.cfg.MEM_AVERAGES_START == "append":
            self.run(append)

    def run(self, append: Append) -> None:
        """Takes this read into the running averages."""
        statistics = append.statistics()
        read = relevance(statistics.attention, statistics.foreground)
        self.last_scores = {
            "read": read,
            "relevance": self.running_relevance.update(append.frames, read),
        }

    @abstractmethod
    def score(self, append: Append, averages: Tensor) -> Tensor:
        """Scores every entry (T) from the running averages (T), which already include this read."""

    def drop(self, append: Append) -> Tensor:
        """Chooses the droppable entry with the smallest score. Nothing leaves the device."""
        scores = self.score(append, self.last_scores["relevance"])
        self.last_scores["score"] = scores
        candidates = on_device(append.droppable, scores.device)
        lowest = scores[candidates].argmin(dim=0, keepdim=True)  # the first of equal values
        return candidates.gather(0, lowest)[0]

    @property
    def averages(self) -> dict[int, float]:
        """The running averages of the relevance, by frame number, as of the last run."""
        return self.running_relevance.as_dict()

    def state_dict(self) -> dict[str, Any]:
        """Gives, as ``MemoryPolicy.state_dict``, the running averages as plain values."""
        running = {"frames": list(self.running_relevance.frames), "values": self.running_relevance.values}
        return super().state_dict() | {"running_relevance": running}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what ``state_dict`` of such a policy gave."""
        running = self.running_relevance
        running.frames, running.values = (
            state["running_relevance"]["frames"],
            state["running_relevance"]["values"],
        )
        super().load_state_dict({**state, "running_relevance": running})
