"""Interface of memory policies: their input and their answer."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from aot_plus.configs import Config


@dataclass(frozen=True)
class ReadStatistics:
    """Statistics of a frame's read of the T entries that were in the memory then (N tokens per frame).

    All of transformer layer 0, and all on the memory's device.

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


@dataclass
class Append:
    """A frame is being appended to a long-term memory: what a policy sees of it.

    Attributes:
        frames: numbers of the T entries that were there before, oldest first.
        new_frame: number of the appended frame; it has no score and is never dropped at once.
        droppable: positions in ``frames``, ascending, that may be dropped (reference frames are protected).
        overflows: whether the memory now holds more than its capacity, so that an entry has to go.
        read_statistics: computes the statistics of the new frame's read; runs only when a policy asks.
        read_probabilities: computes the new frame's class probabilities, (1 + objects) x N, background first.
    """

    frames: list[int]
    new_frame: int
    droppable: list[int]
    overflows: bool
    read_statistics: Callable[[], ReadStatistics]
    read_probabilities: Callable[[], Tensor] | None = None
    _statistics: ReadStatistics | None = field(default=None, init=False, repr=False)

    def statistics(self) -> ReadStatistics:
        """Computes the statistics of the new frame's read, computed at the first call."""
        if self._statistics is None:
            self._statistics = self.read_statistics()
        return self._statistics

    def probabilities(self) -> Tensor:
        """Computes the new frame's class probabilities, (1 + objects) x N, background first."""
        if self.read_probabilities is None:
            raise ValueError("this append has no probabilities")
        return self.read_probabilities()


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

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.last_scores: dict[str, Tensor] = {}
        self.last_facts: dict[str, float] = {}

    def keep(self, append: Append) -> bool:
        """Tells if the new frame is to be stored at all. Asked first, unless its mask was given.

        A declined frame is not appended: neither ``observe`` nor ``drop`` follows. The next one is offered a
        memory gap later. Groups that started together store the same frames: one that accepts is enough.
        """
        return True

    def observe(self, append: Append) -> None:  # noqa: B027 (most policies have nothing to observe)
        """Called on every append, before ``drop``."""

    @abstractmethod
    def drop(self, append: Append) -> int | Tensor:
        """Chooses the position in ``append.frames``, one of ``append.droppable``, of the entry to drop.

        Either an int, or an int64 tensor without dimensions on the memory's device: to make an int of scores
        there, the host waits for all that a GPU has yet to do.

        Called after ``observe`` when the memory overflows and something is droppable.
        """

    @property
    def averages(self) -> dict[int, float]:
        """Running averages by frame number, for a policy that keeps some."""
        return {}

    def explain(self) -> dict[str, list[float]]:
        """Returns the scores of the last append, by name, one value per entry; empty where there are none.

        Only this call moves them off the device.
        """
        return {name: values.tolist() for name, values in self.last_scores.items()}

    def state_dict(self) -> dict[str, Any]:
        """Gives what the policy keeps of a video, for that of a segmenter: all attributes but ``cfg``.

        A policy that keeps other things than numbers, text, tensors, lists, tuples and dictionaries overrides
        this and ``load_state_dict``.
        """
        return copy.deepcopy({name: value for name, value in vars(self).items() if name != "cfg"})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes what ``state_dict`` of such a policy gave."""
        vars(self).update(copy.deepcopy(dict(state)))
