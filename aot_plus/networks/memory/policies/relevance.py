"""Keeps running averages of the relevance, from which EMFS and RMem score entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.scores import relevance
from aot_plus.utils.config_ranges import check_value
from aot_plus.utils.errors import ConfigError

if TYPE_CHECKING:
    from aot_plus.configs import Config

AVERAGES_STARTS = ("overflow", "append")
NOBODY = -1  # a frame number that no frame has


class FrameValues:
    """Keeps a value per frame on the device, found by the frame's number.

    Only ``as_dict`` makes the host wait.

    Attributes:
        numbers: S int64, NOBODY where there is no frame; None before the first values.
        values: S.
    """

    def __init__(self) -> None:
        self.numbers: Tensor | None = None
        self.values: Tensor | None = None

    def reserve(self, size: int, device: torch.device) -> None:
        """Keeps up to ``size`` values, in tensors that stay where they are from now on."""
        if self.numbers is not None and len(self.numbers) == size:
            return
        before, values = self.numbers, self.values
        self.numbers = torch.full((size,), NOBODY, device=device)
        self.values = torch.zeros(size, device=device)
        if before is not None and values is not None:
            self.numbers[: len(before)] = before
            self.values[: len(values)] = values

    def forget(self) -> None:
        """Forgets all values; the tensors stay."""
        if self.numbers is not None:
            self.numbers.fill_(NOBODY)

    def find(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the values of frames (T int64), 0 where there is none, and which have one (T bool)."""
        if self.numbers is None or self.values is None:
            return torch.zeros_like(numbers, dtype=torch.float32), torch.zeros_like(numbers, dtype=torch.bool)
        same = numbers[:, None] == self.numbers  # T x S
        return torch.where(same, self.values, 0).sum(dim=1), same.any(dim=1)

    def replace(self, numbers: Tensor, values: Tensor) -> None:
        """Replaces all values with these (T), of the frames ``numbers`` (T int64)."""
        if self.numbers is None or self.values is None or len(self.numbers) < len(numbers):
            self.numbers, self.values = numbers.clone(), values.clone()
            return
        self.forget()
        self.numbers[: len(numbers)].copy_(numbers)
        self.values[: len(values)].copy_(values)

    def as_dict(self) -> dict[int, float]:
        """Returns the values by frame number. Waits for the device."""
        if self.numbers is None or self.values is None:
            return {}
        pairs = zip(self.numbers.tolist(), self.values.tolist(), strict=True)
        return {number: value for number, value in pairs if number != NOBODY}

    def state_dict(self) -> dict[str, Any]:
        """Returns copies of the tensors."""
        if self.numbers is None or self.values is None:
            return {"numbers": None, "values": None}
        return {"numbers": self.numbers.clone(), "values": self.values.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the values from a ``state_dict``."""
        numbers, values = state["numbers"], state["values"]
        self.numbers = None if numbers is None else numbers.clone()
        self.values = None if values is None else values.clone()


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

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as ``MemoryPolicy`` does, with the running averages as plain values."""
        return super().state_dict() | {"running_relevance": self.running_relevance.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the policy from a ``state_dict``."""
        self.running_relevance.load_state_dict(state["running_relevance"])
        super().load_state_dict({**state, "running_relevance": self.running_relevance})
