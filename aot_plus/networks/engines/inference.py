"""One video, one frame at a time, on tensors at the network's input size."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.memory_state import GroupMemory
from aot_plus.networks.layers.memory_types import add_embedding
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.memory.policies import Append, MemoryPolicy, ReadStatistics, build_policy
from aot_plus.networks.memory.scores import (
    attention_per_frame,
    class_probabilities,
    foreground_probability,
)
from aot_plus.networks.memory.trace import TraceEntry, TraceSink
from aot_plus.networks.models import AOT, Features, Propagation
from aot_plus.utils.config_ranges import check_value
from aot_plus.utils.device import on_device

UNLIKELY = -1e10  # logit of an id that no object has
IGNORED = -1  # label of an ignored pixel among packed ids


@dataclass
class GroupBatch:
    """Groups of objects that started at the same frame and so go through the transformer together."""

    groups: list[int]  # their numbers
    memory: GroupMemory
    policies: list[MemoryPolicy]  # of each group
    references: list[list[int]]  # frames of each group that came with a mask


@dataclass
class VideoState:
    """The state of a video between two frames."""

    num_objects: int
    memory_gap: int  # frames between two writes to the bank
    frame: int = 0  # number of the last frame
    last_write: int = 0
    batches: list[GroupBatch] = field(default_factory=list)
    removed: set[int] = field(default_factory=set)  # packed ids of objects that are no longer predicted

    @property
    def banks(self) -> list[list[int]]:
        """The stored frame numbers of every group, oldest first."""
        return [frames for batch in self.batches for frames in batch.memory.bank.frames]


@dataclass(frozen=True)
class Prediction:
    """A frame that has been read but whose mask is not committed yet."""

    features: Features  # without what is for the decoder
    propagations: list[Propagation]  # of each batch of groups
    logits: Tensor  # groups x (M+1) x H/4 x W/4


class InferenceEngine:
    """Runs videos through a model. It holds no state of a video, so one engine serves many."""

    def __init__(self, model: AOT, cfg: Config, *, trace: TraceSink | None = None) -> None:
        """``trace`` gets a dictionary for every frame that is appended to a bank: what the policy saw and
        did.
        """
        for name in ("FORMER_MEM_LEN", "LATTER_MEM_LEN"):  # the first frame, and one to drop
            check_value(name, getattr(cfg, name))
        self.model = model
        self.cfg = cfg
        self.trace = trace

    def start(self, images: Tensor, labels: Tensor, num_objects: int, memory_gap: int) -> VideoState:
        """Begins a video with a reference frame.

        Args:
            images: ``1 x 3 x H x W``, normalised.
            labels: ``H x W`` integers, 0 background, 1..num_objects, ``IGNORED``.
            num_objects: K; ids that the mask does not show count as well.
            memory_gap: frames between two writes to the long-term memory.
        """
        state = VideoState(num_objects, memory_gap)
        features = self.model.encode(images)
        self._add_groups(state, features, labels)
        return state

    def predict(self, state: VideoState, images: Tensor) -> Prediction:
        """Reads the next frame (``1 x 3 x H x W``). Changes nothing: ``commit`` does."""
        features = self.model.encode(images)
        propagations = [self.model.propagate(features, batch.memory.read()) for batch in state.batches]
        logits = torch.cat([self.model.decode(features, propagation) for propagation in propagations])
        decoded = replace(features, adapted=[])  # only decoding reads them; they are large
        return Prediction(decoded, propagations, self._without_unused_ids(logits, state))

    def commit(
        self, state: VideoState, prediction: Prediction, labels: Tensor, *, num_objects: int | None = None
    ) -> None:
        """Writes the frame to the memories with its mask.

        Args:
            state: the video's; it moves on to this frame.
            prediction: of this frame.
            labels: ``H x W`` integers as in ``start``, predicted or given.
            num_objects: when the mask was given: the number of objects from now on. The frame then is a
                reference for all groups, and ids beyond the groups so far start new groups.
        """
        given = num_objects is not None
        state.frame += 1
        append = given or state.frame - state.last_write >= state.memory_gap
        if num_objects is not None:
            state.num_objects = num_objects
        for batch, propagation in zip(state.batches, prediction.propagations, strict=True):
            identity = self._identity(labels, batch.groups, reference=given)
            appends = self._offer(state, batch, prediction, propagation, given=given) if append else []
            dropped = self._run_policies(batch, appends, labels.device) if appends else None
            batch.memory.write_short(propagation, identity, state.frame)
            if appends:
                batch.memory.write_long(propagation, identity, state.frame, dropped)
            if given:
                for references in batch.references:
                    references.append(state.frame)
        if append:
            state.last_write = state.frame
        self._add_groups(state, prediction.features, labels)

    def new_memory(self, groups: int) -> tuple[GroupMemory, list[MemoryPolicy]]:
        """Makes an empty memory for groups that start together, and the policy of each."""
        policies = [build_policy(self.cfg) for _ in range(groups)]
        capacity = self.cfg.FORMER_MEM_LEN + self.cfg.LATTER_MEM_LEN if policies[0].bounded else None
        return GroupMemory(self.model, MemoryBank(capacity)), policies

    def _add_groups(self, state: VideoState, features: Features, labels: Tensor) -> None:
        """Starts, with a reference, the groups that the number of objects asks for and that are missing."""
        have = sum(len(batch.groups) for batch in state.batches)
        need = -(-state.num_objects // self.cfg.MODEL_MAX_OBJ_NUM)
        if need <= have:
            return
        groups = list(range(have, need))
        memory, policies = self.new_memory(len(groups))
        identity = self._identity(labels, groups, reference=True)
        propagation = self.model.propagate_reference(features, identity)
        memory.write_short(propagation, identity, state.frame)
        memory.write_long(propagation, identity, state.frame, None)
        state.batches.append(GroupBatch(groups, memory, policies, [[state.frame] for _ in groups]))

    def _identity(self, labels: Tensor, groups: Sequence[int], *, reference: bool) -> Tensor:
        """Embeds ``H x W`` labels, ``G x N x C``: a group's ids become 1..M, others 0."""
        size = self.cfg.MODEL_MAX_OBJ_NUM
        first = on_device(list(groups), labels.device)[:, None, None] * size
        own = labels - first  # G x H x W
        own = torch.where((own >= 1) & (own <= size), own, 0)
        return self.model.embed_identity(torch.where(labels == IGNORED, 255, own), reference=reference)

    def _without_unused_ids(self, logits: Tensor, state: VideoState) -> Tensor:
        """Logits ``G x (M+1) x . x .`` of all groups, ids of no object or a removed one masked out."""
        size = self.cfg.MODEL_MAX_OBJ_NUM
        used = state.num_objects - size * (logits.shape[0] - 1)  # by the last group
        if used < size:
            logits[-1, used + 1 :] = UNLIKELY
        for number in state.removed:
            group, place = divmod(number - 1, size)
            logits[group, place + 1] = UNLIKELY
        return logits

    def _offer(
        self,
        state: VideoState,
        batch: GroupBatch,
        prediction: Prediction,
        propagation: Propagation,
        *,
        given: bool,
    ) -> list[Append]:
        """Offers the frame to each group's policy; no appends if none keeps it. A given mask is kept."""
        appends = [
            Append(
                frames=batch.memory.bank.frames[index],
                new_frame=state.frame,
                droppable=self._droppable(batch, index),
                overflows=batch.memory.bank.is_full,
                read_statistics=partial(self._statistics, batch, index, prediction, propagation),
                read_probabilities=partial(
                    class_probabilities, prediction.logits[group], prediction.features.size
                ),
            )
            for index, group in enumerate(batch.groups)
        ]
        asked = zip(batch.policies, appends, strict=True)
        kept = [given or not policy.may_decline or policy.keep(append) for policy, append in asked]
        if any(kept):
            return appends
        for index, append in enumerate(appends):
            self._note(batch, index, append, None, declined=True)
        return []

    def _run_policies(
        self, batch: GroupBatch, appends: Sequence[Append], device: torch.device
    ) -> list[int] | Tensor | None:
        """Shows each group's policy the frame about to be appended; what to drop if the bank is full.

        The host waits for a choice made on the device only where it is traced.
        """
        overflows = batch.memory.bank.is_full
        dropped: list[int | Tensor] = []
        for index, (policy, append) in enumerate(zip(batch.policies, appends, strict=True)):
            policy.observe(append)
            position = policy.drop(append) if overflows else None
            if position is not None:
                dropped.append(position)
            self._note(batch, index, append, position)
        return _as_positions(dropped, device) if overflows else None

    def _note(
        self,
        batch: GroupBatch,
        index: int,
        append: Append,
        position: int | Tensor | None,
        *,
        declined: bool = False,
    ) -> None:
        """Traces what a group's policy has decided, if that is wanted."""
        if self.trace is not None:
            policy, group = batch.policies[index], batch.groups[index]
            left = None if position is None else append.frames[int(position)]
            scores, facts = policy.explain(), policy.last_facts
            entry = TraceEntry(append.new_frame, group, append.frames, scores, left, facts, declined)
            self.trace(entry.as_dict())

    def _droppable(self, batch: GroupBatch, index: int) -> list[int]:
        """Positions in a group's bank that may be dropped: not the first, and no later reference while
        others remain.

        A video with very many given masks would fill its bank with references; the oldest after the first
        then go.
        """
        frames = batch.memory.bank.frames[index]
        references = set(batch.references[index])
        free = [position for position, frame in enumerate(frames) if position > 0 and frame not in references]
        return free or list(range(1, len(frames)))

    def _statistics(
        self, batch: GroupBatch, index: int, prediction: Prediction, propagation: Propagation
    ) -> ReadStatistics:
        """Computes the attention of a group's first layer when it read this frame."""
        keys = batch.memory.chronological_keys(index)  # T x N x D
        queries = add_embedding(propagation.first_keys[index], self.model.cur_pos_emb)  # N x D
        attention = attention_per_frame(queries[None], keys[None], self.model.attention_heads)[0]
        logits = prediction.logits[batch.groups[index]]
        foreground = foreground_probability(logits, prediction.features.size)
        return ReadStatistics(attention, keys, foreground, queries)


def _as_positions(dropped: Sequence[int | Tensor], device: torch.device) -> list[int] | Tensor:
    """Makes one tensor of choices on the device, if there are any; integers stay as they are."""
    known = [position for position in dropped if isinstance(position, int)]
    if len(known) == len(dropped):
        return known
    return torch.stack([torch.as_tensor(position).to(device, non_blocking=True) for position in dropped])


def merge_groups(logits: Sequence[Tensor]) -> Tensor:
    """Merges the logits of all objects from those of their groups (AOT's soft aggregation).

    Args:
        logits: of each group, ``(1 + its objects) x H x W``, background first.

    Returns:
        ``(1 + all objects) x H x W``. One group's logits stay as they are.
    """
    if len(logits) == 1:
        return logits[0]
    probabilities = [torch.softmax(group, dim=0) for group in logits]
    background = torch.stack([group[0] for group in probabilities]).prod(dim=0, keepdim=True)
    merged = torch.cat([background, *(group[1:] for group in probabilities)])
    return torch.logit(merged.clamp(1e-5, 1 - 1e-5))
