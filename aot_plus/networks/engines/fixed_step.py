"""Processes frames, from pixels to memory, in tensors that stay where they are and keep their shape.

The pieces of this work can thus be captured once and replayed without the host, whose work takes longer
than the GPU's. They also run on a CPU, and compute the same as ``VideoViews.predict`` and ``commit``.
"""

import logging
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
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
from aot_plus.networks.engines.step_graphs import GRAPH_BYTES, Recorder, StepGraphs
from aot_plus.networks.engines.views import VideoViews
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.memory.policies import is_replayable
from aot_plus.networks.models import Features, Propagation

__all__ = ["FixedStep", "StepStore"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_EAGERLY = "such videos run without CUDA graphs"


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
            self.graphs.run("hold", self._hold)
        elif full:
            self.graphs.run(("write", tuple(self._kept)), self._write, counts)
        else:  # about once in a video for each number of stored frames: a capture would take longer
            self._write()
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
        kept, dropped = [], iter(self._dropped)
        for view, prediction in zip(self.video.views, self._predictions, strict=True):
            for index, batch in enumerate(view.state.batches):
                appends = view.engine.offer(view.state, index, prediction, self._number, given=False)
                chosen, place = view.engine.choose(batch, appends), next(dropped)
                kept.append(bool(appends))
                if chosen is not None:
                    place.copy_(chosen)
        self._kept = kept

    def _hold(self) -> None:
        self._bind(None)

    def _write(self) -> None:
        self._bind(self._number)

    def _bind(self, number: Tensor | None) -> None:
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
            view.engine.move_on(view.state, written=written)

    @property
    def num_bytes(self) -> int:
        """Counts the bytes of the step's recordings and tensors."""
        kept = [*self._pixels.values(), self._features, self._propagations, self._logits]
        held = sum(tensor.nbytes for tensor in tensors_in(kept))
        return self.graphs.num_bytes + held + sum(memory.num_bytes for memory in self._memories)


class StepStore:
    """Keeps a segmenter's fixed steps: the current video's, and those waiting for a video of their shape.

    The memory of all recordings together is bounded: waiting steps are evicted first, in the order of their
    last use.
    """

    def __init__(self, make_recorder: Callable[[], Recorder] | None) -> None:
        """``make_recorder``: None if every video runs eagerly."""
        self._make_recorder = make_recorder
        self._waiting: OrderedDict[Hashable, FixedStep] = OrderedDict()
        self._present: tuple[Hashable, FixedStep] | None = None
        self._said: set[str] = set()

    def take(self, shape: Hashable) -> FixedStep | None:
        """Ends the current video; returns an earlier video's step of ``shape`` for the next, or None."""
        self.put_back()
        step = self._waiting.pop(shape, None)
        self._present = None if step is None else (shape, step)
        self._has_room()
        return step

    def make(self, shape: Hashable, video: VideoViews) -> FixedStep | None:
        """Makes a step for a video that has been started; returns None if the video runs eagerly."""
        self.put_back()
        if self._make_recorder is None:
            return None
        capacities = [batch.memory.bank.capacity for state in video.states for batch in state.batches]
        if None in capacities:
            _say(self._said, logging.INFO, f"an unbounded bank has no fixed shape: {_EAGERLY}")
            return None
        # The store's bound methods would make a cycle, which Python frees late, and with it GPU memory.
        own = weakref.ref(self)
        graphs = StepGraphs(
            self._make_recorder(),
            lambda: (store := own()) is None or store._has_room(),
            partial(_say, self._said, logging.WARNING),
            counts=max(filter(None, capacities)),
        )
        step = FixedStep(video, graphs)
        self._present = (shape, step)
        self._has_room()
        return step

    def put_back(self) -> None:
        """Ends the current video: its step waits for another."""
        if self._present is not None and self._present[1].fits:
            shape, step = self._present
            self._remove(shape)  # one may wait already if the current video's state was loaded
            self._waiting[shape] = step
        self._present = None

    def discard(self) -> None:
        """Discards the current step: its video has more groups of objects than it began with."""
        _say(self._said, logging.INFO, f"more groups of objects than the video began with: {_EAGERLY}")
        self._end()

    def clear(self) -> None:
        """Discards all steps: the model's weights are elsewhere. The current video goes on eagerly."""
        self._end()
        for shape in list(self._waiting):
            self._remove(shape)

    def _end(self) -> None:
        """Discards the current step, and frees its memory."""
        if self._present is not None:
            recorder = self._present[1].graphs.recorder
            self._present = None
            recorder.free()

    def _remove(self, shape: Hashable) -> None:
        """Discards a waiting step, and frees its memory."""
        step = self._waiting.pop(shape, None)
        if step is not None:
            recorder = step.graphs.recorder
            del step
            recorder.free()

    def _has_room(self) -> bool:
        """Evicts waiting steps if need be; returns whether another recording may be made."""
        while self._waiting and self._total() > GRAPH_BYTES:
            self._remove(next(iter(self._waiting)))
        return self._total() <= GRAPH_BYTES

    def _total(self) -> int:
        """Counts the bytes of all recordings, and of the waiting steps' tensors."""
        present = 0 if self._present is None else self._present[1].graphs.num_bytes
        return present + sum(step.num_bytes for step in self._waiting.values())


def _say(said: set[str], level: int, message: str) -> None:
    """Logs a message that has not been ``said`` yet."""
    if message not in said:
        said.add(message)
        _log.log(level, "TEST_CUDA_GRAPH: %s", message)
