"""Defines the interface of memory policies: their input and their answer."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from aot_plus.configs import Config


@dataclass(frozen=True)
class ReadStatistics:
    """Holds statistics of a frame's read of the T entries then in the memory (N tokens per frame).

    All are of transformer layer 0, and on the memory's device.

    Attributes:
        attention: N x T, attention of each token to each entry (mean over heads); rows sum to 1.
        keys: T x N x D, the entries' keys with the temporal embedding added.
        foreground: N, probability in 0..1 that a token of the frame is not background.
        new_keys: N x D, the frame's own keys, with which it read; they are comparable with ``keys``.
    """

    attention: Tensor
    keys: Tensor
    foreground: Tensor
    new_keys: Tensor | None = None


class Append:
    """Shows a policy a frame that is being appended to a long-term memory.

    What it knows as tensors of the memory's device becomes lists and numbers where those are asked for: the
    host then waits for all that a GPU has yet to do. A policy that asks for tensors alone makes nobody wait.
    """

    def __init__(
        self,
        frames: Sequence[int] | Tensor,
        new_frame: int | Tensor,
        droppable: Sequence[int] | Tensor,
        overflows: bool,
        read_statistics: Callable[[], ReadStatistics],
        read_probabilities: Callable[[], Tensor] | None = None,
    ) -> None:
        """
        Args:
            frames: numbers of the T entries that were there before, oldest first; a tensor is int64.
            new_frame: number of the appended frame; it has no score and is never dropped at once. A tensor
                is int64, without dimensions.
            droppable: positions in ``frames``, ascending, that may be dropped (reference frames are
                protected); as a tensor a flag for every position.
            overflows: the memory now holds more than its capacity, so that an entry has to go.
            read_statistics: computes the statistics of the new frame's read; runs only when a policy asks.
            read_probabilities: computes the new frame's class probabilities, (1 + M) x N.
        """
        self._frames = frames
        self._new_frame = new_frame
        self._droppable = droppable
        self.overflows = overflows
        self.read_statistics = read_statistics
        self.read_probabilities = read_probabilities

    @cached_property
    def frames(self) -> list[int]:
        """Returns the numbers of the T entries that were there before, oldest first."""
        return [int(number) for number in _listed(self._frames)]

    @cached_property
    def new_frame(self) -> int:
        """Returns the number of the appended frame."""
        return int(self._new_frame)

    @cached_property
    def droppable(self) -> list[int]:
        """Returns the positions in ``frames``, ascending, that may be dropped."""
        chosen = self._droppable
        return _listed(chosen.nonzero().flatten() if isinstance(chosen, Tensor) else chosen)

    @cached_property
    def numbers(self) -> Tensor:
        """Returns ``frames`` on the memory's device: T int64."""
        return self._frames if isinstance(self._frames, Tensor) else torch.tensor(self._frames)

    @cached_property
    def new_number(self) -> Tensor:
        """Returns ``new_frame`` there: int64 without dimensions."""
        if isinstance(self._new_frame, Tensor):
            return self._new_frame
        return self.numbers.new_full((), self._new_frame)

    @cached_property
    def may_drop(self) -> Tensor:
        """Returns ``droppable`` as a flag for every position, on the memory's device: T bool."""
        if isinstance(self._droppable, Tensor):
            return self._droppable
        flags = [position in self._droppable for position in range(len(self._frames))]
        return torch.tensor(flags)

    def statistics(self) -> ReadStatistics:
        """Computes the statistics of the new frame's read, at the first call."""
        return self._statistics

    def probabilities(self) -> Tensor:
        """Computes the new frame's class probabilities, (1 + M) x N, background first.

        M: ``MODEL_MAX_OBJ_NUM``. Ids of the group that no object has are improbable.
        """
        if self.read_probabilities is None:
            raise ValueError("this append has no probabilities")
        return self.read_probabilities()

    @cached_property
    def _statistics(self) -> ReadStatistics:
        return self.read_statistics()


def _listed(values: Sequence[int] | Tensor) -> list[int]:
    return values.tolist() if isinstance(values, Tensor) else list(values)


class MemoryPolicy(ABC):
    """Decides which entry leaves a full long-term memory. One instance serves one memory of one video.

    To write your own policy, subclass this in your own file, write ``drop``, and name it in a config as
    ``MEM_POLICY = "package.module:ClassName"``. The scores of the last decision, one per entry, may be left
    in ``last_scores`` (name -> tensor of T values) for the traces, and numbers about the new frame in
    ``last_facts``.
    """

    bounded: bool = True
    """True if the memory has a capacity; without one, ``drop`` is never called."""

    may_decline: ClassVar[bool] = False
    """True if ``keep`` is to be asked."""

    replayable: ClassVar[bool] = False
    """True if ``observe`` and ``drop`` are nothing but work on tensors, so that a CUDA graph can repeat it.

    They then ask an append for ``numbers``, ``new_number``, ``may_drop`` and ``statistics()`` alone, answer
    with a tensor, and keep what they remember where ``reserve`` put it. A subclass has to say it again.
    """

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.last_scores: dict[str, Tensor] = {}
        self.last_facts: dict[str, float] = {}

    def clear_explanation(self) -> None:
        """Clears what is traced of the last frame. Called before another one is offered."""
        self.last_scores, self.last_facts = {}, {}

    def keep(self, append: Append) -> bool:
        """Tells whether the new frame is to be stored at all. Asked first, unless its mask was given.

        A declined frame is not appended: neither ``observe`` nor ``drop`` follows. The next one is offered a
        memory gap later. Groups that started together store the same frames: one that accepts is enough.
        """
        return True

    def observe(self, append: Append) -> None:  # noqa: B027 (most policies have nothing to observe)
        """Looks at an append; called on every one, before ``drop``."""

    @abstractmethod
    def drop(self, append: Append) -> int | Tensor:
        """Chooses the position in ``append.frames``, one of ``append.droppable``, of the entry to drop.

        Either an int, or an int64 tensor without dimensions on the memory's device: to make an int of scores
        there, the host waits for all that a GPU has yet to do.

        Called after ``observe`` when the memory overflows and something is droppable.
        """

    def reserve(self, capacity: int, device: torch.device) -> None:  # noqa: B027 (most remember nothing)
        """Keeps what a ``replayable`` policy remembers in tensors that stay, from now on.

        ``capacity``: the most entries of the memory.
        """

    def forget(self) -> None:  # noqa: B027
        """Begins another video of a ``replayable`` policy, in the same tensors."""

    @property
    def averages(self) -> dict[int, float]:
        """Returns running averages by frame number, for a policy that keeps some."""
        return {}

    def explain(self) -> dict[str, list[float]]:
        """Returns the scores of the last append, by name, one value per entry; empty where there are none.

        Only this call moves them off the device. Raises ``TypeError`` for a score that is no tensor.
        """
        for name, values in self.last_scores.items():
            if not hasattr(values, "tolist"):  # NumPy's arrays will do
                found = type(values).__name__
                raise TypeError(f"last_scores: {name}: expected a tensor, one value a frame, found {found}")
        return {name: values.tolist() for name, values in self.last_scores.items()}

    def state_dict(self) -> dict[str, Any]:
        """Returns what the policy keeps of a video, for the state of a segmenter: all attributes but ``cfg``.

        A policy that keeps other things than numbers, text, tensors, lists, tuples and dictionaries overrides
        this and ``load_state_dict``.
        """
        return copy.deepcopy({name: value for name, value in vars(self).items() if name != "cfg"})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what ``state_dict`` of such a policy gave, all tensors on the memory's device.

        A policy that keeps some of them on the CPU overrides this to put them back there.
        """
        vars(self).update(copy.deepcopy(dict(state)))


def is_replayable(policy: MemoryPolicy) -> bool:
    """Tells whether a policy's own class, not one that it inherits from, says that it is ``replayable``."""
    return bool(vars(type(policy)).get("replayable", False)) and not policy.may_decline
