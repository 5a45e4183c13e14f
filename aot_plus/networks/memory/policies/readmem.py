"""Keeps frames that are unlike each other, and declines a frame that adds nothing (READMem)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from aot_plus.networks.memory.policies.base import Append, MemoryPolicy
from aot_plus.networks.memory.scores import aligned_similarity
from aot_plus.utils.config_ranges import check_value

if TYPE_CHECKING:
    from aot_plus.configs import Config

_LEAST = -1e3  # stands for the logarithm of a determinant of 0


class ReadMemPolicy(MemoryPolicy):
    """Swaps a stored frame for the new one, unless even the best swap lowers the memory's diversity.

    Diversity is the determinant of the frames' Gram matrix, whose entries are the similarities of the frames'
    keys after attention has aligned their tokens. A frame less similar to the reference than
    ``MEM_READMEM_FLOOR`` is declined: its prediction may have drifted. Source: READMem (Vujasinovic et al.,
    BMVC 2023), which uses the keys of other networks, and swaps only if the diversity rises.
    """

    may_decline = True

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        check_value("MEM_READMEM_FLOOR", cfg.MEM_READMEM_FLOOR)
        self._frames: list[int] = []  # the frames of the rows of the Gram matrix
        self._gram = torch.empty(0, 0, dtype=torch.float64)  # T x T; small, so kept on the CPU
        self._compared = -1  # the frame that ``last_scores`` belong to

    def keep(self, append: Append) -> bool:
        """Returns whether the frame resembles the reference, and leaves a full memory no less diverse."""
        self._compare(append)
        if self.last_scores["similarity"][0] < self.cfg.MEM_READMEM_FLOOR:
            return False
        swaps = self.last_scores["log determinant"][append.droppable]
        return not append.overflows or bool(swaps.max() >= self.last_facts["log determinant"])

    def observe(self, append: Append) -> None:
        """Adds the frame, which will be stored, to the Gram matrix."""
        self._compare(append)
        row = self.last_scores["similarity"]
        gram = torch.cat([self._gram_of(append.frames), row[None]])
        self._gram = torch.cat([gram, torch.cat([row, row.new_ones(1)])[:, None]], dim=1)
        self._frames = [*append.frames, append.new_frame]

    def drop(self, append: Append) -> int:
        """Chooses the droppable entry without which the memory is most diverse."""
        swaps = self.last_scores["log determinant"][append.droppable]
        return append.droppable[int(swaps.argmax())]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores the policy from a ``state_dict``; the Gram matrix stays on the CPU."""
        super().load_state_dict(state)
        self._gram = self._gram.cpu()

    def _compare(self, append: Append) -> None:
        """Computes the similarities to the new frame, and the diversity after each swap."""
        if self._compared == append.new_frame:
            return
        self._compared = append.new_frame
        statistics = append.statistics()
        if statistics.new_keys is None:
            raise ValueError("readmem needs the new frame's keys")
        row = aligned_similarity(statistics.keys, statistics.new_keys).double().cpu()
        gram = self._gram_of(append.frames)
        self.last_scores = {"similarity": row, "log determinant": _log_determinants(swapped(gram, row))}
        self.last_facts = {"log determinant": float(_log_determinants(gram[None]))}

    def _gram_of(self, frames: list[int]) -> Tensor:
        """Selects the rows and columns of stored frames. Before any append, only the reference is stored."""
        if not self._frames:
            return torch.eye(len(frames), dtype=torch.float64)
        index = torch.tensor([self._frames.index(frame) for frame in frames])
        return self._gram[index][:, index]


def swapped(gram: Tensor, row: Tensor) -> Tensor:
    """Returns the Gram matrix (T x T) with each entry in turn replaced by a new one: T x T x T.

    ``row``: T, the new entry's similarities to the others.
    """
    count = len(row)
    swaps, each = gram.repeat(count, 1, 1), torch.arange(count)
    swaps[each, each, :] = row
    swaps[each, :, each] = row
    swaps[each, each, each] = 1
    return swaps


def _log_determinants(grams: Tensor) -> Tensor:
    return torch.linalg.slogdet(grams).logabsdet.clamp(min=_LEAST)
