"""Processes frames, from pixels to memory, in tensors that stay where they are and keep their shape.

The pieces of this work can thus be captured once and replayed without the host, whose work takes longer
than the GPU's. They also run on a CPU, and compute the same as ``VideoViews.predict`` and ``commit``.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from aot_plus.networks.engines.fixed_tensors import copied, tensors_in
from aot_plus.networks.engines.frame_scores import FrameScores
from aot_plus.networks.engines.inference import Prediction
from aot_plus.networks.engines.step_graphs import StepGraphs
from aot_plus.networks.engines.views import VideoViews
from aot_plus.networks.memory.policies import is_replayable, policy_errors
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
        """Raises ``ConfigError`` if a user's own policy cannot reserve its tensors."""
        self.video = video
        self.graphs = graphs
        policies = [policy for batch in self.video.batches for policy in batch.policies]
        traced = any(view.engine.trace is not None for view in video.views)
        self._choice_is_replayable = not traced and all(map(is_replayable, policies))
        with policy_errors(video.cfg.MEM_POLICY):
            for batch in self.video.batches:
                for policy in filter(is_replayable, batch.policies):
                    policy.reserve(batch.memory.bank.capacity or 0, video.device)
        self._num_batches = len(self.video.batches)
        self._number = torch.zeros((), dtype=torch.long, device=video.device)  # of the frame to be written
        self._labels = torch.zeros(video.size, dtype=torch.int, device=video.device)
        self._pixels: dict[tuple[torch.dtype, ...], list[Tensor]] = {}  # by dtype, which tells if resized
        self._features: list[Features] = []
        self._propagations: list[list[Propagation]] = []
        self._logits: list[Tensor] = []

    @property
    def fits(self) -> bool:
        """Returns whether the step has tensors for all of the video's groups of objects."""
        return len(self.video.batches) == self._num_batches

    def step(self, pixels: Sequence[Tensor]) -> tuple[FrameScores, Tensor]:
        """Segments the next frame, without a mask.

        ``pixels``: as for ``VideoViews.start``. Returns scores and packed labels, ``H x W`` int32, in tensors
        that the next frame overwrites.
        """
        state = self.video.state
        banks = [batch.memory.bank for batch in self.video.batches]
        counts = tuple(map(len, banks))
        types = tuple(one.dtype for one in pixels)
        held = self._pixels[types] = self._held(list(pixels), self._pixels.get(types, []))
        self.graphs.run(("encode", types), partial(self._encode, held))
        self.graphs.run("propagate", self._propagate, counts)
        self.graphs.run(("decode", state.num_objects, tuple(sorted(state.removed))), self._decode)
        offered = state.writes_next
        full = all(bank.is_full for bank in banks)  # a policy may decline frames in one view alone
        if offered:
            self._number.fill_(state.frame + 1)
            self._choose(counts, full=full)
        kept = tuple(batch.kept for batch in self.video.batches)
        if not offered or not any(kept):
            self.graphs.run("hold", partial(self._bind, None))
        elif full:
            self.graphs.run(("write", kept), partial(self._bind, self._number), counts)
        else:  # about once in a video for each number of stored frames: a capture would take longer
            self._bind(self._number)
        if offered:
            for view in self.video.views:
                view.engine.finish_store()
        state.move_on(offered=offered)
        self.graphs.prepare("propagate", self._propagate_full, tuple(bank.capacity for bank in banks))
        return self._scores(self._logits), self._labels

    @property
    def _predictions(self) -> list[Prediction]:
        parts = zip(self._features, self._propagations, self._logits, strict=True)
        return [Prediction(*own) for own in parts]

    def _encode(self, pixels: Sequence[Tensor]) -> None:
        self._features = self._held(self.video.encode(pixels), self._features)

    def _propagate(self) -> None:
        self._propagations = self._held(self.video.propagate(self._features), self._propagations)

    def _propagate_full(self) -> None:
        """Does what ``_propagate`` does once all banks are full."""
        with ExitStack() as stack:
            for batch in self.video.batches:
                stack.enter_context(batch.memory.bank.as_if_full())
            self._propagate()

    def _decode(self) -> None:
        predictions = self.video.decode(self._features, self._propagations)
        logits = [prediction.logits for prediction in predictions]
        self._labels.copy_(self._scores(logits).labels())
        self._logits = self._held(logits, self._logits)

    def _scores(self, logits: Sequence[Tensor]) -> FrameScores:
        return self.video.scores(logits, self.video.state.num_objects)

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
        for view, prediction in zip(self.video.views, self._predictions, strict=True):
            view.engine.ask(prediction, self._number)

    def _bind(self, number: Tensor | None) -> None:
        """Writes the frame to the memories; without its number, only to the short-term ones."""
        for view, prediction in zip(self.video.views, self._predictions, strict=True):
            labels = self.video.labels_of(view, self._labels)
            view.engine.write(prediction, labels, number)

    @property
    def num_bytes(self) -> int:
        """Counts the bytes of the step's recordings and tensors."""
        kept = [*self._pixels.values(), self._features, self._propagations, self._logits]
        held = sum(tensor.nbytes for tensor in tensors_in(kept))
        return self.graphs.num_bytes + held + sum(batch.memory.num_bytes for batch in self.video.batches)
