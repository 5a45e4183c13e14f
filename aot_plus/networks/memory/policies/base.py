"""Defines the interface of memory policies: what they are shown and what they answer."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from aot_plus.networks.memory.policies.frame_values import FrameValues

if TYPE_CHECKING:
    from aot_plus.configs import Config


@dataclass(frozen=True)
class ReadStatistics:
    """Holds statistics of a frame's read of the T entries in the memory at that time (N tokens per frame).

    All are from transformer layer 0, and on the memory's device.

    Attributes:
        attention: N x T, attention of each token to each entry (mean over heads); rows sum to 1.
        keys: T x N x D, the entries' keys with the temporal embedding added.
        foreground: N, probability in 0..1 that a token of the frame is not background.
        new_keys: N x D, the frame's own keys, which it read with; they are comparable with ``keys``.
    """

    attention: Tensor
    keys: Tensor
    foreground: Tensor
    new_keys: Tensor | None = None


class Append:
    """Shows a policy a frame that is being appended to a long-term memory.

    Its tensors are on the memory's device. On request they become lists and numbers; the host then waits for
    all of the GPU's pending work. A policy that uses only the tensors causes no wait.
    """

    def __init__(
        self,
        numbers: Tensor,
        new_number: Tensor,
        may_drop: Tensor,
        overflows: bool,
        read_statistics: Callable[[], ReadStatistics],
        read_probabilities: Callable[[], Tensor] | None = None,
    ) -> None:
        """
        Args:
            numbers: frame numbers of the T entries that were there before, oldest first: T int64.
            new_number: number of the appended frame, which has no score and is never dropped right away:
                int64 without dimensions.
            may_drop: which of the T entries may be dropped (reference frames are protected): T bool.
            overflows: with the new frame the memory exceeds its capacity, so that an entry has to be dropped.
            read_statistics: computes the statistics of the new frame's read; runs only if a policy asks.
            read_probabilities: computes the new frame's class probabilities, (1 + M) x N.
        """
        self.numbers = numbers
        self.new_number = new_number
        self.may_drop = may_drop
        self.overflows = overflows
        self.read_statistics = read_statistics
        self.read_probabilities = read_probabilities

    @cached_property
    def frames(self) -> list[int]:
        """Returns the numbers of the T entries that were there before, oldest first."""
        return self.numbers.tolist()

    @cached_property
    def new_frame(self) -> int:
        """Returns the number of the appended frame."""
        return int(self.new_number)

    @cached_property
    def droppable(self) -> list[int]:
        """Returns the positions in ``frames``, ascending, that may be dropped."""
        return self.may_drop.nonzero().flatten().tolist()

    def statistics(self) -> ReadStatistics:
        """Returns the statistics of the new frame's read, which the first call computes."""
        return self._statistics

    def probabilities(self) -> Tensor:
        """Computes the new frame's class probabilities, (1 + M) x N, background first.

        M: ``MODEL_MAX_OBJ_NUM``. The group's ids that no object has are improbable.
        """
        if self.read_probabilities is None:
            raise ValueError("this append has no probabilities")
        return self.read_probabilities()

    @cached_property
    def _statistics(self) -> ReadStatistics:
        return self.read_statistics()


class MemoryPolicy(ABC):
    """Decides which entry leaves a full long-term memory. One instance serves one memory of one video.

    To write your own policy, subclass this in your own file, implement ``drop``, and name it in a config as
    ``MEM_POLICY = "package.module:ClassName"``. For the traces, the policy may leave the scores of its last
    decision, one per entry, in ``last_scores`` (name -> tensor of T values), and numbers about the new frame
    in ``last_facts``.
    """

    bounded: bool = True
    """True if the memory has a capacity; without one, ``drop`` is never called."""

    may_decline: ClassVar[bool] = False
    """True if ``keep`` is to be called."""

    replayable: ClassVar[bool] = False
    """True if ``observe`` and ``drop`` do nothing but work on tensors, so that a CUDA graph can replay it.

    They then use only ``numbers``, ``new_number``, ``may_drop`` and ``statistics()`` of an append, return a
    tensor, and keep their state in the tensors from ``reserve``. The value is not inherited: a replayable
    subclass has to set it again.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.last_scores: dict[str, Tensor] = {}
        self.last_facts: dict[str, float] = {}

    def clear_explanation(self) -> None:
        """Clears what is traced for the last frame. Called before another frame is offered."""
        self.last_scores, self.last_facts = {}, {}

    def keep(self, append: Append) -> bool:
        """Returns whether to store the new frame at all. Called first, unless the frame's mask was given.

        A declined frame is not appended: neither ``observe`` nor ``drop`` follows. The next one is offered a
        memory gap later. Groups that started together store the same frames: it is enough if one accepts.
        """
        return True

    def observe(self, append: Append) -> None:  # noqa: B027 (most policies have nothing to observe)
        """Looks at an append; called for every one, before ``drop``."""

    @abstractmethod
    def drop(self, append: Append) -> int | Tensor:
        """Chooses the entry to drop; returns its position in ``append.frames``, one of ``append.droppable``.

        The position is an int, or an int64 tensor without dimensions on the memory's device. To make an int
        from scores on a GPU, the host has to wait for all of the GPU's pending work.

        Called after ``observe`` if the memory overflows and something is droppable.
        """

    def reserve(self, capacity: int, device: torch.device) -> None:  # noqa: B027 (most remember nothing)
        """Moves the state of a ``replayable`` policy to tensors that stay where they are from now on.

        ``capacity``: the maximum number of the memory's entries.
        """

    def forget(self) -> None:  # noqa: B027
        """Clears the state of a ``replayable`` policy for another video, in the same tensors."""

    @property
    def averages(self) -> dict[int, float]:
        """Returns running averages by frame number; empty for a policy without any."""
        return {}

    def explain(self) -> dict[str, list[float]]:
        """Returns the scores of the last append, by name, one value per entry; empty if there are none.

        Only this call moves them off the device. Raises ``TypeError`` for a score that is not a tensor.
        """
        for name, values in self.last_scores.items():
            if not hasattr(values, "tolist"):  # NumPy arrays are accepted, too
                found = type(values).__name__
                raise TypeError(f"last_scores: {name}: expected a tensor, one value a frame, found {found}")
        return {name: values.tolist() for name, values in self.last_scores.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns the policy's part of a segmenter's state: all attributes but ``cfg``.

        Of a module, a ``torch.Generator`` or ``FrameValues``, it has the tensors. A policy that keeps
        anything else but numbers, text, tensors, lists, tuples and dictionaries overrides this and
        ``load_state_dict``.
        """
        return copy.deepcopy({name: _state_of(value) for name, value in vars(self).items() if name != "cfg"})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the policy from a ``state_dict``, all tensors on the memory's device.

        A policy that keeps some of them on the CPU overrides this to put them back there.
        """
        for name, value in copy.deepcopy(dict(state)).items():
            own = vars(self).get(name)
            if isinstance(own, nn.Module | FrameValues):
                own.load_state_dict(value)
            elif isinstance(own, torch.Generator):
                own.set_state(value.cpu())
            else:
                vars(self)[name] = value


def _state_of(value: Any) -> Any:
    """Returns an attribute of a policy; of those that hold tensors, the tensors."""
    if isinstance(value, nn.Module | FrameValues):
        return value.state_dict()
    return value.get_state() if isinstance(value, torch.Generator) else value


def is_replayable(policy: MemoryPolicy) -> bool:
    """Returns whether a policy's own class, not a base class, sets ``replayable``, and it never declines."""
    return bool(vars(type(policy)).get("replayable", False)) and not policy.may_decline
