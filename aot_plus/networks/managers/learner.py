"""Runs a training step: the losses of a batch, the gradients of all processes and the weight update."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Batch
from aot_plus.dataloaders.train_datasets import share_of_batch
from aot_plus.networks.engines.cuda_graphs import step_recorder
from aot_plus.networks.engines.fixed_pass import FixedPass
from aot_plus.networks.engines.fixed_tensors import copied
from aot_plus.networks.engines.step_graphs import StepGraphs
from aot_plus.networks.engines.training import Clips, IdShuffle, LossSchedule, TrainingEngine, TrainOutput
from aot_plus.networks.managers.ema import ModelEMA
from aot_plus.networks.managers.param_groups import (
    freeze_encoder,
    parameter_groups,
    resumed_groups,
    set_rates,
)
from aot_plus.networks.managers.processes import (
    ProcessPlace,
    average_over_processes,
    broadcast_from_first,
    sum_over_processes,
)
from aot_plus.networks.managers.schedule import learning_rate, prediction_share
from aot_plus.networks.models import AOT
from aot_plus.networks.models.prepare import compile_parts, use_convolution_format
from aot_plus.utils.device import HostCopy, tf32
from aot_plus.utils.errors import ConfigError

__all__ = ["Learner", "StepResult"]

_log = logging.getLogger(__name__)

# Random streams besides that of the data, which is seeded with (run seed, step, sample).
_SEQUENTIAL_STREAM = 1
_SHUFFLE_STREAM = 2


@dataclass(frozen=True)
class StepResult:
    """Holds a step's results, over all processes unless noted."""

    loss: float  # mean over the batch
    mean_iou: list[float]  # for each frame of the clips, 0..1; NaN if nothing was annotated
    num_objects: float  # mean over the batch
    rate: float  # learning rate; the encoder has its own
    gradient_norm: float  # before clipping
    sequential: bool  # predictions were committed, not the ground truth
    updated: bool  # False: loss or gradients were not finite, so the model did not change
    predictions: Tensor  # object ids in this process's clips: T x B x H x W uint8


class Learner:
    """Holds a model and all that trains it: losses, optimizer, loss scaler, average of its weights."""

    def __init__(self, model: AOT, cfg: Config, *, device: torch.device, place: ProcessPlace) -> None:
        """Changes ``model``: moves it to the device and freezes its encoder as configured.

        Raises ``ConfigError`` if the batch cannot be divided among the processes, or if the device does not
        support an option.
        """
        self.cfg = cfg
        self.device = device
        self.place = place
        self._share = share_of_batch(cfg, place.world_size)
        freeze_encoder(model.encoder, cfg.TRAIN_ENCODER_FREEZE_AT)
        if cfg.TRAIN_SYNC_BN and place.world_size > 1:
            if device.type != "cuda":
                raise ConfigError("TRAIN_SYNC_BN: expected CUDA devices or False, found the CPU")
            from timm.layers import convert_sync_batchnorm  # timm takes a second to import

            model = convert_sync_batchnorm(model)  # PyTorch's would drop the activations in timm's norms
        broadcast_from_first(place, model.to(device).state_dict().values())
        if cfg.TRAIN_CHANNELS_LAST:
            use_convolution_format(model, torch.channels_last)
        self.model = model.train()
        groups = parameter_groups(
            self.model,
            cfg.TRAIN_WEIGHT_DECAY,
            decay_exempt=cfg.TRAIN_WEIGHT_DECAY_EXEMPTION,
            sequential_freeze=cfg.TRAIN_SEQ_TRAINING_FREEZE_PARAMS,
        )
        fused = True if device.type == "cuda" else None  # one kernel; None: PyTorch decides
        self.optimizer = torch.optim.AdamW(groups, lr=cfg.TRAIN_LR, fused=fused)
        self.scaler = torch.amp.GradScaler(device.type, enabled=cfg.TRAIN_DTYPE == "float16")
        self.ema = ModelEMA(self.model, cfg.TRAIN_TOTAL_STEPS, cfg.TRAIN_EMA_RATIO)
        if cfg.TRAIN_COMPILE:  # does not affect the averaged and the saved weights
            compile_parts(self.model, "TRAIN_COMPILE")
        self._statistics = _statistics(self.model)
        self._engine = TrainingEngine(self.model, cfg)
        self._fixed = self._fixed_pass()

    @property
    def average(self) -> AOT:
        """Returns the model with the averaged weights."""
        return cast(AOT, self.ema.model)

    @property
    def is_recorded(self) -> bool:
        """Returns whether steps replay a captured graph, so that their parts cannot be timed or observed."""
        return self._fixed is not None and self._fixed.is_recorded

    def train_step(self, batch: Batch, step: int) -> StepResult:
        """Trains on this process's share of the batch of ``step``, counted from 0."""
        sequential = self.commits_predictions(step)
        rate = self._set_rates(step, sequential)
        self.optimizer.zero_grad(set_to_none=True)
        before = [values.clone() for values in self._statistics]
        with tf32(self.cfg.TRAIN_TF32):
            outputs = self._accumulate(batch, step, sequential)
        read = HostCopy(torch.cat([self._clip(), self._means(outputs, batch)]))
        norm, loss, num_objects, *mean_iou = read.wait().tolist()  # the step's only wait for the device
        updated = self._update(loss, norm)
        if not updated:  # NaN would stay in the moving statistics: the weights could never be evaluated
            for values, earlier in zip(self._statistics, before, strict=True):
                values.copy_(earlier)
        return StepResult(
            loss,
            mean_iou,
            num_objects,
            rate,
            norm if np.isfinite(loss) else float("nan"),
            sequential,
            updated=updated,
            predictions=torch.cat([output.predictions for output in outputs], dim=1),
        )

    def commits_predictions(self, step: int) -> bool:
        """Draws from (run seed, step) whether a step commits predictions, with the schedule's probability."""
        cfg = self.cfg
        share = prediction_share(
            step,
            cfg.TRAIN_TOTAL_STEPS,
            cfg.TRAIN_SEQ_TRAINING_START_RATIO,
            cfg.TRAIN_SEQ_TRAINING_END_RATIO,
            cfg.TRAIN_SEQ_TRAINING_FINAL_SHARE,
        )
        return bool(np.random.default_rng([cfg.TRAIN_SEED, step, 0, _SEQUENTIAL_STREAM]).random() < share)

    def state(self) -> dict[str, Any]:
        """Returns the state for ``load_state``: ``state_dict``, ``optimizer``, ``scaler`` and ``ema``."""
        return {
            "state_dict": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores ``state``. Raises ``RuntimeError``, ``ValueError`` or ``KeyError`` if it does not fit."""
        self.model.load_state_dict(state["state_dict"])
        self._check_order(state["state_dict"])
        saved = state["optimizer"]
        groups = resumed_groups(saved["param_groups"], self.optimizer.param_groups)
        self.optimizer.load_state_dict({**saved, "param_groups": groups})
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.ema.load_state_dict(state["ema"])

    def _check_order(self, saved: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` if trainable weights are in another order: the optimizer uses indices."""
        own = [name for name, weight in self.model.named_parameters() if weight.requires_grad]
        known = set(own)
        if [name for name in saved if name in known] != own:
            raise ValueError(
                "another version of the project wrote it, with the weights in another order; resume with "
                "that version, or start again from its averaged weights (PRETRAIN_MODEL)"
            )

    def _set_rates(self, step: int, sequential: bool) -> float:
        cfg = self.cfg
        rate = learning_rate(
            step,
            cfg.TRAIN_TOTAL_STEPS,
            cfg.TRAIN_LR,
            cfg.TRAIN_LR_MIN,
            cfg.TRAIN_LR_POWER,
            cfg.TRAIN_LR_WARM_UP_RATIO,
        )
        set_rates(self.optimizer, rate, cfg.TRAIN_LR_MIN, cfg.TRAIN_LR_ENCODER_RATIO, sequential=sequential)
        return rate

    def _accumulate(self, batch: Batch, step: int, sequential: bool) -> list[TrainOutput]:
        """Runs forward and backward part by part, then averages the gradients over the processes."""
        parts = self.cfg.TRAIN_ACCUMULATION_STEPS
        size = len(batch.num_objects) // parts
        schedule = LossSchedule.at(step, self.cfg, batch.labels)
        outputs = []
        for part in range(parts):
            chosen = slice(part * size, (part + 1) * size)
            clips = Clips(
                batch.images[:, chosen],
                batch.labels[:, chosen],
                batch.num_objects[chosen],
                self._permutations(step, part * size, size),
                schedule,
            )
            if self._fixed is None:
                moved = clips if self.device.type == "cpu" else copied(clips, None, self.device)
                outputs.append(self._learn(moved, sequential))
            else:
                outputs.append(self._fixed.run(clips, sequential))
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        average_over_processes(self.place, gradients)
        return outputs

    def _learn(self, clips: Clips, sequential: bool) -> TrainOutput:
        """Runs forward and backward on clips on the device; the output no longer holds the autograd graph."""
        with self._autocast():
            output = self._engine(clips, commit_predictions=sequential)
        self.scaler.scale(output.loss / self.cfg.TRAIN_ACCUMULATION_STEPS).backward()
        return replace(output, loss=output.loss.detach())

    def _fixed_pass(self) -> FixedPass | None:
        """Returns the pass that is captured and replayed; None if every pass runs eagerly.

        Three options cannot be captured: recomputed activations read the state of the random generator, the
        compiler may run in any step, and synchronised batch norms wait for other processes.
        """
        cfg = self.cfg
        waits = cfg.TRAIN_SYNC_BN and self.place.world_size > 1
        wanted = cfg.TRAIN_CUDA_GRAPH and not (cfg.TRAIN_CHECKPOINT_ACTIVATIONS or cfg.TRAIN_COMPILE or waits)
        make_recorder = step_recorder(self.device, wanted=wanted)
        if make_recorder is None:
            return None
        warn = partial(_log.warning, "TRAIN_CUDA_GRAPH: %s")
        # With ``training``, cached memory of eager steps, which a capture cannot use, is freed before it.
        graphs = StepGraphs(make_recorder(), warn=warn, training=True)
        return FixedPass(self._learn, self.model.parameters(), self.device, graphs)

    def _permutations(self, step: int, first: int, count: int) -> Tensor | None:
        """Draws new ids for some of this process's samples, from (run seed, step, sample): see IdShuffle."""
        if not self.cfg.TRAIN_ID_SHUFFLE:
            return None
        first += self.place.rank * self._share
        seeds = [
            [self.cfg.TRAIN_SEED, step, sample, _SHUFFLE_STREAM] for sample in range(first, first + count)
        ]
        return IdShuffle.draw(self.model.num_ids, seeds)

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = getattr(torch, self.cfg.TRAIN_DTYPE)
        return torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32)

    def _clip(self) -> Tensor:
        """Unscales and clips the gradients; returns their norm before clipping, float64 of shape 1."""
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg.TRAIN_CLIP_GRAD_NORM)
        return norm.double()[None]

    def _update(self, loss: float, norm: float) -> bool:
        """Updates weights and average if loss and gradient norm are finite; returns whether they are."""
        finite = bool(np.isfinite(loss) and np.isfinite(norm))
        if finite:
            self.scaler.step(self.optimizer)
            self.ema.update(self.model)
        if self.scaler.is_enabled():
            # A loss that is not finite says nothing about the scale, which stays as it is.
            self.scaler.update(None if np.isfinite(loss) else self.scaler.get_scale())
        return finite

    def _means(self, outputs: list[TrainOutput], batch: Batch) -> Tensor:
        """Averages the loss, the number of objects and each frame's IoU over the samples of all processes.

        Returns ``2 + T`` values on the device, float64.
        """
        losses = torch.stack([output.loss.detach() for output in outputs])
        iou = torch.cat([output.mean_iou for output in outputs], dim=1)  # T x B
        num_objects = batch.num_objects.float().mean()[None].to(self.device, non_blocking=True)
        here = torch.cat([losses.mean()[None], num_objects, iou.nansum(dim=1), (~iou.isnan()).sum(dim=1)])
        total = sum_over_processes(self.place, here.double())
        iou_sum, iou_count = total[2:].chunk(2)
        return torch.cat([total[:2] / self.place.world_size, iou_sum / iou_count])


def _statistics(model: nn.Module) -> list[Tensor]:
    """Returns the moving statistics of the batch norms that are trained, which every forward pass changes."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [values for norm in norms for values in norm.buffers(recurse=False)]
