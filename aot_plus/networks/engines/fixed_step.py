"""Processes frames, from pixels to memory, in tensors that stay where they are and keep their shape.

The pieces of this work can thus be captured once and replayed without the host, whose work takes longer
than the GPU's. They also run on a CPU, and compute the same as ``VideoViews.predict`` and ``commit``.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from aot_plus.networks.engines.fixed_tensors import copied, tensors_in
from aot_plus.networks.engines.frame_scores import FrameScores
from aot_plus.networks.engines.inference import Prediction
from aot_plus.networks.engines.memory_state import VideoMemory
from aot_plus.networks.engines.step_graphs import StepGraphs
from aot_plus.networks.engines.views import VideoViews
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.memory.policies import is_replayable
from aot_plus.networks.models import Features, Propagation

__all__ = ["FixedStep"]

T = TypeVar("T")


class FixedStep:
    """Processes the frames of a started video with bounded banks; a frame with a given mask runs eagerly.

    Its pieces: *encode*, *propagate* and *decode* predict a frame and its labels; *choose* asks the policies;
    *hold* makes the frame the short-term memory, and *write* also stores it in the bank. As little as
    possible depends on the number of stored frames, because such a piece is captured again for each number.
    """

    def __init__(self, video: VideoViews, graphs: StepGraphs) -> None:
        self.video = video
        self.graphs = graphs
        batches = [batch for state in video.states for batch in state.batches]
        policies = [policy for batch in batches for policy in batch.policies]
        traced = any(view.engine.trace is not None for view in video.views)
        self._choice_is_replayable = not traced and all(map(is_replayable, policies))
        for batch in batches:
            for policy in filter(is_replayable, batch.policies):
                policy.reserve(batch.memory.bank.capacity or 0, video.device)
        self._dropped = [
            torch.zeros(len(batch.groups), dtype=torch.long, device=video.device) for batch in batches
        ]
        # For each batch: its policies want the frame in the bank. Replayable ones want every frame.
        self._kept = [True] * len(batches)
        self._number = torch.zeros((), dtype=torch.long, device=video.device)  # of the frame to be written
        self._labels = torch.zeros(video.size, dtype=torch.int, device=video.device)
        self._pixels: dict[tuple[torch.dtype, ...], list[Tensor]] = {}  # by dtype, which tells if resized
        self._features: list[Features] = []
        self._propagations: list[list[Propagation]] = []
        self._logits: list[Tensor] = []
        self._predictions: list[Prediction] = []  # made of these three

    @property
    def fits(self) -> bool:
        """Returns whether the step has tensors for all of the video's groups of objects."""
        return len(self._dropped) == sum(len(state.batches) for state in self.video.states)

    def step(self, pixels: Sequence[Tensor]) -> tuple[FrameScores, Tensor]:
        """Segments the next frame, without a mask.

        ``pixels``: as for ``VideoViews.start``. Returns scores and packed labels, ``H x W`` int32, in tensors
        that the next frame overwrites.
        """
        state = self.video.states[0]
        counts = tuple(len(bank) for bank in self._banks)
        types = tuple(one.dtype for one in pixels)
        held = self._pixels[types] = self._held(list(pixels), self._pixels.get(types, []))
        self.graphs.run(("encode", types), partial(self._encode, held))
        self.graphs.run("propagate", self._propagate, counts)
        self.graphs.run(("decode", state.num_objects, tuple(sorted(state.removed))), self._decode)
        written = state.writes_next
        full = all(bank.is_full for bank in self._banks)
        if written:
            self._number.fill_(state.frame + 1)
            self._choose(counts, full=full)
        if not written or not any(self._kept):
            self.graphs.run("hold", partial(self._bind, None))
        elif full:
            self.graphs.run(("write", tuple(self._kept)), partial(self._bind, self._number), counts)
        else:  # about once in a video for each number of stored frames: a capture would take longer
            self._bind(self._number)
        self._update_host(written)
        self.graphs.prepare("propagate", self._propagate_full, tuple(bank.capacity for bank in self._banks))
        return self.video.scores(self._predictions, state.num_objects), self._labels

    @property
    def _memories(self) -> list[VideoMemory]:
        return [batch.memory for state in self.video.states for batch in state.batches]

    @property
    def _banks(self) -> list[MemoryBank]:
        """Lists all views' banks. If a policy declines frames, they may fill at different times."""
        return [memory.bank for memory in self._memories]

    def _encode(self, pixels: Sequence[Tensor]) -> None:
        self._features = self._held(self.video.encode(pixels), self._features)

    def _propagate(self) -> None:
        self._propagations = self._held(self.video.propagate(self._features), self._propagations)

    def _propagate_full(self) -> None:
        """Does what ``_propagate`` does once all banks are full."""
        with ExitStack() as stack:
            for memory in self._memories:
                stack.enter_context(memory.as_if_full())
            self._propagate()

    def _decode(self) -> None:
        predictions = self.video.decode(self._features, self._propagations)
        scores = self.video.scores(predictions, self.video.states[0].num_objects)
        self._labels.copy_(scores.labels())
        self._logits = self._held([prediction.logits for prediction in predictions], self._logits)
        self._predictions = [
            replace(prediction, logits=logits)
            for prediction, logits in zip(predictions, self._logits, strict=True)
        ]

    def _held(self, new: T, old: T) -> T:
        """Copies a piece's results to tensors that stay valid: other pieces may overwrite its own."""
        return copied(new, old, self.video.device)

    def _choose(self, counts: tuple[int, ...], *, full: bool) -> None:
        """Asks the policies: eagerly if the choice involves the host or a bank has room."""
        if full and self._choice_is_replayable:
            self.graphs.run("choose", self._ask, counts)
        else:
            self._ask()

    def _ask(self) -> None:
        kept, places = [], iter(self._dropped)
        for view, prediction in zip(self.video.views, self._predictions, strict=True):
            for batch, propagation in zip(view.state.batches, prediction.propagations, strict=True):
                stored, chosen = view.engine.ask(batch, prediction, propagation, self._number)
                place = next(places)
                kept.append(stored)
                if chosen is not None:
                    place.copy_(chosen)
        self._kept = kept

    def _bind(self, number: Tensor | None) -> None:
        """Writes the frame to the memories; without its number, only to the short-term ones."""
        places = zip(self._dropped, self._kept, strict=True)
        for view, prediction in zip(self.video.views, self._predictions, strict=True):
            labels = self.video.labels_of(view, self._labels)
            for batch, propagation in zip(view.state.batches, prediction.propagations, strict=True):
                chosen, kept = next(places)
                goes = chosen if batch.memory.bank.is_full else None
                view.engine.write(batch, propagation, labels, number if kept else None, goes)

    def _update_host(self, written: bool) -> None:
        """Updates the host's side of all memories after the device's work."""
        kept = iter(self._kept)
        for view in self.video.views:
            for batch in view.state.batches:
                if next(kept) and written:
                    batch.memory.finish_store_long(replaced=batch.memory.bank.is_full)
            view.state.move_on(written=written)

    @property
    def num_bytes(self) -> int:
        """Counts the bytes of the step's recordings and tensors."""
        kept = [*self._pixels.values(), self._features, self._propagations, self._logits]
        held = sum(tensor.nbytes for tensor in tensors_in(kept))
        return self.graphs.num_bytes + held + sum(memory.num_bytes for memory in self._memories)
