"""Runs the forward pass of training on a batch of clips: reads, decodes, scores and commits every frame."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from aot_plus.configs import Config
from aot_plus.networks.engines.memory_state import TrainingMemory
from aot_plus.networks.layers.loss import (
    auxiliary_weight,
    frame_loss,
    hard_pixel_share,
    hardest_pixels,
    mask_foreign,
)
from aot_plus.networks.layers.memory_types import LayerMemory
from aot_plus.networks.layers.processor import best_channel
from aot_plus.networks.memory.bank import DifferentiableBank
from aot_plus.networks.models import AOT, Features, Propagation
from evaluation.masks import IGNORE_ID

__all__ = ["Clips", "IdShuffle", "LossSchedule", "TrainOutput", "TrainingEngine", "mean_object_iou"]

P = ParamSpec("P")
T = TypeVar("T")

_ID_BANK = "patch_wise_id_bank.weight"


@dataclass(frozen=True)
class LossSchedule:
    """Holds what the losses of a step depend on, in tensors without dimensions."""

    hardest: Tensor  # int64: pixels of a frame in the bootstrapped cross entropy
    auxiliary: Tensor  # float32: weight of the reference frame's loss

    @staticmethod
    def at(step: int, cfg: Config, labels: Tensor) -> "LossSchedule":
        """Returns the schedule at a training step, counted from 0, for label maps ``... x H x W``."""
        hard_ramp = cfg.TRAIN_HARD_MINING_RATIO * cfg.TRAIN_TOTAL_STEPS
        share = hard_pixel_share(step, hard_ramp, cfg.TRAIN_TOP_K_PERCENT_PIXELS)
        auxiliary_ramp = cfg.TRAIN_AUX_LOSS_RATIO * cfg.TRAIN_TOTAL_STEPS
        weight = auxiliary_weight(step, auxiliary_ramp, cfg.TRAIN_AUX_LOSS_WEIGHT)
        pixels = labels.shape[-2] * labels.shape[-1]
        return LossSchedule(torch.tensor(hardest_pixels(share, pixels)), torch.tensor(weight))


@dataclass(frozen=True)
class Clips:
    """Holds B clips of T frames with all tensors that belong to them, on one device."""

    images: Tensor  # T x B x 3 x H x W, normalised, T >= 2; H and W as in ``AOT.encode``
    labels: Tensor  # T x B x H x W uint8: ids 0..num_objects, 255 ignored (everywhere: not annotated)
    num_objects: Tensor  # B, each in 0..M
    permutations: Tensor | None  # B x (M+1), of the ids (``IdShuffle``)
    schedule: LossSchedule


@dataclass(frozen=True)
class TrainOutput:
    """Holds a batch of B clips of T frames after the forward pass. Only ``loss`` carries gradients."""

    loss: Tensor  # scalar: mean over the predicted frames, plus the weighted loss of the reference frame
    frame_losses: Tensor  # T x B, the reference frame first
    predictions: Tensor  # T x B x H x W uint8 ids, 0 background
    mean_iou: Tensor  # T x B, 0..1; NaN where a frame has no annotation or shows no object


class IdShuffle:
    """Permutes the ids of each sample in its own way; the background and 255 stay as they are.

    This way the network sees every id of its identity bank on every kind of object.
    """

    def __init__(self, permutations: Tensor | None) -> None:
        """``permutations``: ``B x (M+1)`` int64, the new id of each id, 0 at 0; None shuffles nothing."""
        self._permutations = permutations
        self._table: Tensor | None = None
        if permutations is not None:
            table = torch.arange(IGNORE_ID + 1, device=permutations.device).repeat(len(permutations), 1)
            table[:, : permutations.shape[1]] = permutations
            self._table = table.to(torch.uint8)  # B x 256

    @staticmethod
    def draw(num_ids: int, seeds: Sequence[Sequence[int]]) -> Tensor:
        """Draws permutations of ``num_ids`` (M+1) ids, one for each sample, from the sample's own seed."""
        rows = [
            np.concatenate(([0], 1 + np.random.default_rng(seed).permutation(num_ids - 1))) for seed in seeds
        ]
        return torch.from_numpy(np.stack(rows))

    def shuffle(self, labels: Tensor) -> Tensor:
        """Maps ``B x H x W`` uint8 ids of the samples to the network's ids."""
        if self._table is None:
            return labels
        return self._table.gather(1, labels.flatten(1).long()).view_as(labels)

    def restore(self, logits: Tensor) -> Tensor:
        """Puts the network's logits ``B x (M+1) x h x w`` into the order of the samples' own ids."""
        if self._permutations is None:
            return logits
        return logits.gather(1, self._permutations[:, :, None, None].expand_as(logits))


@dataclass(frozen=True)
class _Shared:
    """Holds what all frames of a batch share."""

    num_objects: Tensor  # B
    shuffle: IdShuffle
    schedule: LossSchedule
    detaches_identity: bool  # no gradient to the identity embedding


class TrainingEngine:
    """Runs a model on clips and computes its losses.

    It shares propagation, binding and the memory with inference. Its bank is bounded as in inference; when it
    is full, the oldest frame after the first ``FORMER_MEM_LEN`` ones is dropped.
    """

    def __init__(self, model: AOT, cfg: Config) -> None:
        self.model = model
        self.cfg = cfg

    def __call__(self, clips: Clips, *, commit_predictions: bool) -> TrainOutput:
        """Runs B clips of T frames; the first frame of each is its reference.

        With ``commit_predictions``, every later frame is committed with its prediction, in which no pixel is
        ignored. The identity embedding is then detached if ``TRAIN_SEQ_TRAINING_FREEZE_PARAMS`` names its
        weights.
        """
        freezes = any(part in _ID_BANK for part in self.cfg.TRAIN_SEQ_TRAINING_FREEZE_PARAMS)
        shared = _Shared(
            clips.num_objects,
            IdShuffle(clips.permutations),
            clips.schedule,
            detaches_identity=commit_predictions and freezes,
        )
        capacity = self.cfg.FORMER_MEM_LEN + self.cfg.LATTER_MEM_LEN
        memory = TrainingMemory(self.model, DifferentiableBank(capacity))
        losses, predictions, labels = [], [], clips.labels
        for index, features in enumerate(self._encode(clips.images)):
            propagation, logits, identity = self._read_frame(features, labels[index], memory, shared, index)
            loss, predicted = self._recomputed(self._score, logits, labels[index], shared)
            losses.append(loss)
            predictions.append(predicted)
            if index + 1 < len(labels):
                if identity is None:
                    committed = predicted if commit_predictions else labels[index]
                    identity = self._identity(committed, shared, reference=False)
                self._write(memory, propagation, identity, index)
        return self._output(torch.stack(losses), torch.stack(predictions), labels, shared)

    def _encode(self, images: Tensor) -> list[Features]:
        """Encodes all frames in one batch, or one by one if recomputing activations saves memory that way."""
        count, batch = images.shape[:2]
        # Recomputing would show each frame twice to batch norms that track their input's statistics.
        if self.cfg.TRAIN_CHECKPOINT_ACTIVATIONS and self.cfg.MODEL_FREEZE_BN:
            return [self._recomputed(self.model.encode, image) for image in images]
        together = self.model.encode(images.flatten(0, 1))
        adapted = [level.unflatten(0, (count, batch)) for level in together.adapted]
        projected = together.projected.unflatten(0, (count, batch))
        return [
            Features([level[index] for level in adapted], projected[index], together.position)
            for index in range(count)
        ]

    def _read_frame(
        self, features: Features, labels: Tensor, memory: TrainingMemory, shared: _Shared, index: int
    ) -> tuple[Propagation, Tensor, Tensor | None]:
        """Returns a frame's propagation, its logits ``B x (M+1) x H/4 x W/4``, and a reference's identity."""
        if index == 0:
            identity = self._identity(labels, shared, reference=True)
            propagation, logits = self._recomputed(self._read_reference, features, identity)
        else:
            identity = None
            propagation, logits = self._recomputed(self._read_memory, features, memory.read())
        return propagation, shared.shuffle.restore(logits), identity

    def _read_reference(self, features: Features, identity: Tensor) -> tuple[Propagation, Tensor]:
        propagation = self.model.propagate_reference(features, identity)
        return propagation, self.model.decode(features, propagation)

    def _read_memory(self, features: Features, memory: list[LayerMemory]) -> tuple[Propagation, Tensor]:
        propagation = self.model.propagate(features, memory)
        return propagation, self.model.decode(features, propagation)

    def _recomputed(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls ``function``; if the config says so, the backward pass recomputes its activations."""
        if self.cfg.TRAIN_CHECKPOINT_ACTIVATIONS and torch.is_grad_enabled():
            result: T = checkpoint(partial(function, **kwargs), *args, use_reentrant=False)
            return result
        return function(*args, **kwargs)

    def _identity(self, labels: Tensor, shared: _Shared, *, reference: bool) -> Tensor:
        """Computes the identity embedding ``B x N x C`` of ids ``B x H x W``."""
        ids = shared.shuffle.shuffle(labels)
        identity = self._recomputed(self.model.embed_identity, ids, reference=reference)
        return identity.detach() if shared.detaches_identity else identity

    def _write(self, memory: TrainingMemory, propagation: Propagation, identity: Tensor, index: int) -> None:
        """Commits a frame: to the short-term memory, and every gap-th one to the bank."""
        memory.write_short(propagation, identity)
        if index % self.cfg.TRAIN_LONG_TERM_MEM_GAP == 0:
            memory.write_long(propagation, identity, self.cfg.FORMER_MEM_LEN)

    def _score(self, logits: Tensor, labels: Tensor, shared: _Shared) -> tuple[Tensor, Tensor]:
        """Computes a frame's losses ``B`` and predicted ids ``B x H x W`` (uint8), at the labels' size."""
        logits = F.interpolate(
            logits.to(torch.promote_types(logits.dtype, torch.float32)),
            size=labels.shape[-2:],
            mode="bilinear",
            align_corners=self.cfg.MODEL_ALIGN_CORNERS,
        )
        logits = mask_foreign(logits, shared.num_objects)
        losses = frame_loss(logits, labels, shared.schedule.hardest)
        return losses, best_channel(logits.detach(), dim=1).to(torch.uint8)

    def _output(self, losses: Tensor, predictions: Tensor, labels: Tensor, shared: _Shared) -> TrainOutput:
        """Builds the output from losses ``T x B`` and predictions ``T x B x H x W``."""
        # One frame at a time: the count takes M bytes for each pixel.
        ious = [
            mean_object_iou(*pair, self.model.num_ids - 1) for pair in zip(predictions, labels, strict=True)
        ]
        return TrainOutput(
            loss=losses[1:].mean() + shared.schedule.auxiliary * losses[0].mean(),
            frame_losses=losses.detach(),
            predictions=predictions,
            mean_iou=torch.stack(ious),
        )


def mean_object_iou(predictions: Tensor, labels: Tensor, num_objects: int) -> Tensor:
    """Computes the mean IoU of the objects that a label map or its prediction shows.

    Args:
        predictions: ``... x H x W`` integer ids, 0 background.
        labels: the same size; pixels of 255 are ignored.
        num_objects: ids 1..num_objects count.

    Returns:
        ``...`` float32, NaN where there is no object to compare.
    """
    predictions = torch.where(labels == IGNORE_ID, IGNORE_ID, predictions)
    agreed = torch.where(predictions == labels, labels, IGNORE_ID)
    predicted, true, both = (_areas(ids, num_objects) for ids in (predictions, labels, agreed))
    return (both / (predicted + true - both)).nanmean(dim=-1)  # NaN where neither shows the object


def _areas(ids: Tensor, num_objects: int) -> Tensor:
    """Counts the pixels of each object: ``... x H x W`` to ``... x M``."""
    objects = torch.arange(1, num_objects + 1, dtype=ids.dtype, device=ids.device)
    shown = ids.flatten(start_dim=-2).unsqueeze(-2) == objects[:, None]  # ... x M x H*W
    return shown.sum(dim=-1, dtype=torch.int32)
