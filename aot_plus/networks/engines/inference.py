"""Segments a view of a video, one frame at a time, on tensors at the network's input size."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.memory_state import VideoMemory
from aot_plus.networks.layers.memory_types import add_embedding
from aot_plus.networks.memory.bank import MemoryBank
from aot_plus.networks.memory.policies import (
    Append,
    MemoryPolicy,
    ReadStatistics,
    ask_to_drop,
    ask_to_keep,
    build_policy,
    is_replayable,
    policy_errors,
)
from aot_plus.networks.memory.scores import (
    attention_per_frame,
    class_probabilities,
    foreground_probability,
)
from aot_plus.networks.memory.trace import TraceEntry, TraceSink
from aot_plus.networks.models import AOT, Features, Propagation
from aot_plus.utils.config_ranges import check_value
from aot_plus.utils.device import on_device
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.tensor_cache import cached_int32
from evaluation.masks import IGNORE_ID

UNLIKELY = -1e10  # logit of an id that no object has
IGNORED = -1  # label of an ignored pixel among packed ids


@dataclass
class GroupBatch:
    """Holds groups of objects that started at the same frame and so go through the transformer together."""

    groups: list[int]  # their numbers
    memory: VideoMemory
    policies: list[MemoryPolicy]  # one for each group
    dropped: Tensor  # int64 (G), always this tensor: what the next frame replaces in a full bank
    kept: bool = True  # the next frame goes to the bank, if it is offered


@dataclass
class VideoState:
    """Holds what all views of a video have in common between two frames."""

    num_objects: int
    memory_gap: int  # frames between two writes to the bank
    frame: int = 0  # number of the last frame
    last_write: int = 0
    removed: set[int] = field(default_factory=set)  # packed ids of objects that are no longer predicted

    @property
    def writes_next(self) -> bool:
        """Returns whether the next frame is offered to the bank even without a mask."""
        return self.frame + 1 - self.last_write >= self.memory_gap

    def move_on(self, *, offered: bool) -> None:
        """Moves on to the next frame. ``offered``: the policies were asked."""
        self.frame += 1
        if offered:
            self.last_write = self.frame


@dataclass(frozen=True)
class Prediction:
    """Holds a frame that has been predicted, but whose mask is not committed yet."""

    features: Features  # may lack the maps for the decoder
    propagations: list[Propagation]  # one for each batch of groups
    logits: Tensor  # groups x (M+1) x H/4 x W/4


class InferenceEngine:
    """Runs a view of a video through a model, and holds its memory."""

    def __init__(self, model: AOT, cfg: Config) -> None:
        for name in ("FORMER_MEM_LEN", "LATTER_MEM_LEN"):  # room for the first frame, and for one to drop
            check_value(name, getattr(cfg, name))
        self.model = model
        self.cfg = cfg
        self.batches: list[GroupBatch] = []
        self.trace: TraceSink | None = None  # called for every frame that is appended to a bank or declined

    @property
    def banks(self) -> list[list[int]]:
        """Lists the stored frame numbers of every group, oldest first."""
        return [frames for batch in self.batches for frames in batch.memory.bank.frames]

    def start(self, images: Tensor, labels: Tensor, num_objects: int) -> None:
        """Begins a video with a reference frame.

        The tensors of the engine's last video are reused: it must have had no more groups of objects.

        Args:
            images: ``1 x 3 x H x W``, normalised.
            labels: ``H x W`` integers, 0 background, 1..num_objects, ``IGNORED``.
            num_objects: K; ids that the mask does not show count as well.
        """
        features = self.model.encode(images)
        number = on_device([0], labels.device)[0]
        for batch in self.batches:
            batch.memory.bank.clear()
            batch.policies = [self._fresh(policy) for policy in batch.policies]
            self._begin(batch, features, labels, number)
        self._add_groups(num_objects, features, labels, number)

    def predict(self, state: VideoState, images: Tensor) -> Prediction:
        """Predicts the next frame (``1 x 3 x H x W``). Nothing changes until ``commit``."""
        features = self.model.encode(images)
        return self.decode(state, features, self.propagate(features))

    def propagate(self, features: Features) -> list[Propagation]:
        """Reads the memory of each batch of groups for an encoded frame."""
        return [self.model.propagate(features, batch.memory.read()) for batch in self.batches]

    def decode(
        self, state: VideoState, features: Features, propagations: Sequence[Propagation]
    ) -> Prediction:
        """Predicts the objects of a frame from the results of ``propagate``."""
        logits = torch.cat([self.model.decode(features, propagation) for propagation in propagations])
        logits = logits.float().contiguous()  # they are resized plane by plane, for every group
        decoded = replace(features, adapted=[])  # large, and read by nothing but the decoder
        return Prediction(decoded, list(propagations), self._without_unused_ids(logits, state))

    def commit(self, prediction: Prediction, labels: Tensor, number: Tensor | None) -> None:
        """Writes a predicted frame to the memories with its mask, ``H x W``; ``number`` as for ``write``."""
        if number is not None:
            self.ask(prediction, number)
        self.write(prediction, labels, number)
        if number is not None:
            self.finish_store()

    def commit_reference(
        self, prediction: Prediction, labels: Tensor, number: Tensor, num_objects: int
    ) -> None:
        """Writes a frame with a given mask, ``H x W`` as in ``start``, to the memories.

        It is a reference for all groups: its stored entries come from reading this frame alone. Ids up to
        ``num_objects`` that are beyond the existing groups start new groups.
        """
        self.ask(prediction, number, given=True)
        for batch in self.batches:
            self._write_reference(batch, prediction.features, labels, number)
        self.finish_store()
        self._add_groups(num_objects, prediction.features, labels, number)

    def finish_store(self) -> None:
        """Counts a frame that the policies kept as stored, after the device's work."""
        for batch in self.batches:
            if batch.kept:
                batch.memory.bank.finish_store()

    def write(self, prediction: Prediction, labels: Tensor, number: Tensor | None) -> None:
        """Writes a predicted frame to the memories, on the device only; ``finish_store`` must follow.

        ``labels``: ``H x W``, predicted. ``number``: the frame's, a tensor without dimensions, if ``ask`` was
        called for it; None: the frame goes to the short-term memories only.
        """
        for batch, propagation in zip(self.batches, prediction.propagations, strict=True):
            identity = self._identity(labels, batch.groups, reference=False)
            batch.memory.write_short(propagation, identity)
            if number is not None and batch.kept:
                batch.memory.store_long(propagation, identity, number, batch.dropped, reference=False)

    def _write_reference(self, batch: GroupBatch, features: Features, labels: Tensor, number: Tensor) -> None:
        """Writes a frame with a given mask as ``write`` does a predicted one; the frame reads only itself."""
        identity = self._identity(labels, batch.groups, reference=True)
        propagation = self.model.propagate_reference(features, identity)
        batch.memory.write_short(propagation, identity)
        batch.memory.store_long(propagation, identity, number, batch.dropped, reference=True)

    def new_batch(self, groups: list[int]) -> GroupBatch:
        """Makes an empty memory for groups that start together, and a policy for each group."""
        policies = [build_policy(self.cfg) for _ in groups]
        capacity = self.cfg.FORMER_MEM_LEN + self.cfg.LATTER_MEM_LEN if policies[0].bounded else None
        dropped = torch.zeros(len(groups), dtype=torch.long, device=next(self.model.parameters()).device)
        return GroupBatch(groups, VideoMemory(self.model, MemoryBank(capacity)), policies, dropped)

    def _fresh(self, policy: MemoryPolicy) -> MemoryPolicy:
        """Returns the policy for a new video: the same object, cleared, if it keeps its tensors in place."""
        if not is_replayable(policy):
            return build_policy(self.cfg)
        with policy_errors(self.cfg.MEM_POLICY):
            policy.forget()
        return policy

    def _add_groups(self, num_objects: int, features: Features, labels: Tensor, number: Tensor) -> None:
        """Starts the groups that the number of objects still needs, with a frame as their reference."""
        have = sum(len(batch.groups) for batch in self.batches)
        need = -(-num_objects // self.cfg.MODEL_MAX_OBJ_NUM)
        if need <= have:
            return
        batch = self.new_batch(list(range(have, need)))
        self._begin(batch, features, labels, number)
        self.batches.append(batch)

    def _begin(self, batch: GroupBatch, features: Features, labels: Tensor, number: Tensor) -> None:
        """Writes a frame to the empty memory of a batch, as its reference."""
        self._write_reference(batch, features, labels, number)
        batch.memory.bank.finish_store()

    def _identity(self, labels: Tensor, groups: Sequence[int], *, reference: bool) -> Tensor:
        """Embeds ``H x W`` labels as ``G x N x C``: each group maps its own ids to 1..M, and others to 0."""
        size = self.cfg.MODEL_MAX_OBJ_NUM
        own = labels - cached_int32(tuple(groups), labels.device)[:, None, None] * size  # G x H x W
        own = torch.where((own >= 1) & (own <= size), own, 0)
        return self.model.embed_identity(torch.where(labels == IGNORED, IGNORE_ID, own), reference=reference)

    def _without_unused_ids(self, logits: Tensor, state: VideoState) -> Tensor:
        """Masks out, in all groups' logits ``G x (M+1) x . x .``, the ids of no object or a removed one."""
        size = self.cfg.MODEL_MAX_OBJ_NUM
        used = state.num_objects - size * (logits.shape[0] - 1)  # by the last group
        if used < size:
            logits[-1, used + 1 :].fill_(UNLIKELY)
        for number in state.removed:
            group, place = divmod(number - 1, size)
            logits[group, place + 1].fill_(UNLIKELY)
        return logits

    def ask(self, prediction: Prediction, number: Tensor, *, given: bool = False) -> None:
        """Asks the policies whether to store the frame and, where a bank is full, what to drop.

        The answers are in each batch's ``kept``, for which one policy suffices, and ``dropped``.

        ``number`` is the frame's, a tensor without dimensions. A frame that came with a mask (``given``) is
        stored in any case. The host waits for a choice made on the device only if it is traced. Raises
        ``ConfigError`` for an answer that is not a droppable position.
        """
        for batch, propagation in zip(self.batches, prediction.propagations, strict=True):
            self._ask_batch(batch, prediction, propagation, number, given=given)

    def _ask_batch(
        self,
        batch: GroupBatch,
        prediction: Prediction,
        propagation: Propagation,
        number: Tensor,
        *,
        given: bool,
    ) -> None:
        groups = range(len(batch.groups))
        appends = [self._append(batch, group, prediction, propagation, number) for group in groups]
        asked = list(zip(batch.policies, appends, strict=True))
        for policy in batch.policies:
            policy.clear_explanation()
        kept = [given or ask_to_keep(policy, append, self.cfg.MEM_POLICY) for policy, append in asked]
        batch.kept = any(kept)
        dropped: list[int | Tensor] = []
        for group, (policy, append) in enumerate(asked):
            position = ask_to_drop(policy, append, self.cfg.MEM_POLICY) if batch.kept else None
            if position is not None:
                dropped.append(position)
            self._trace_decision(batch, group, append, position, given=given)
        if dropped:
            _stack_positions(dropped, batch.dropped)

    def _append(
        self, batch: GroupBatch, group: int, prediction: Prediction, propagation: Propagation, number: Tensor
    ) -> Append:
        """Describes the frame to a group's policy."""
        bank, logits = batch.memory.bank, prediction.logits[batch.groups[group]]
        size = prediction.features.size
        return Append(
            numbers=bank.numbers[group],
            new_number=number,
            may_drop=droppable(bank.references[group]),
            overflows=bank.is_full,
            read_statistics=partial(self._statistics, batch.memory, group, propagation, logits, size),
            read_probabilities=partial(class_probabilities, logits, size),
        )

    def _trace_decision(
        self,
        batch: GroupBatch,
        group: int,
        append: Append,
        position: int | Tensor | None,
        *,
        given: bool,
    ) -> None:
        """Passes the decision of a group's policy to the trace, if there is one.

        Raises ``ConfigError`` for scores or facts that cannot be traced.
        """
        if self.trace is None:
            return
        policy, name = batch.policies[group], self.cfg.MEM_POLICY
        left = None if position is None else append.frames[int(position)]
        with policy_errors(name):
            scores = policy.explain()
            facts = {fact: float(value) for fact, value in policy.last_facts.items()}
        place = append.new_frame, batch.groups[group], append.frames
        entry = TraceEntry(*place, scores, left, facts, declined=not batch.kept, given=given)
        try:
            line = entry.as_dict()
            TraceEntry.from_dict(line)
        except (ValueError, TypeError, KeyError) as error:  # the trace could not be read afterwards
            raise ConfigError(
                f"MEM_POLICY {name!r}: last_scores or last_facts cannot be traced ({error})"
            ) from error
        self.trace(line)

    def _statistics(
        self, memory: VideoMemory, group: int, propagation: Propagation, logits: Tensor, size: tuple[int, int]
    ) -> ReadStatistics:
        """Computes how a group's first layer attended to its memory for a frame.

        ``logits``: the group's; ``size``: (h, w) of the feature map.
        """
        keys = memory.chronological_keys(group)  # T x N x D
        queries = add_embedding(propagation.first_keys[group], self.model.cur_pos_emb)  # N x D
        attention = attention_per_frame(queries[None], keys[None], self.model.attention_heads)[0]
        return ReadStatistics(attention, keys, foreground_probability(logits, size), queries)


def droppable(references: Tensor) -> Tensor:
    """Returns which frames may be dropped: not the first, and no later reference while others remain.

    A video with very many given masks fills its bank with references; all after the first may then be
    dropped. ``references`` and the result are T bool, oldest frame first.
    """
    later = torch.arange(len(references), device=references.device) > 0
    free = later & ~references
    return torch.where(free.any(), free, later)


def _stack_positions(chosen: Sequence[int | Tensor], into: Tensor) -> None:
    """Stacks choices in ``into`` (G), on the device; only those made on the host are copied there."""
    tensors = (
        position if isinstance(position, Tensor) else on_device([position], into.device)[0]
        for position in chosen
    )
    torch.stack([position.to(into.device, torch.long, non_blocking=True) for position in tensors], out=into)
