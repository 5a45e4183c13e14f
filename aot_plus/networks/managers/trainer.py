"""Trains a model on a stage's data, from its initial weights or from where an earlier run stopped."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Batch
from aot_plus.dataloaders.train_datasets import ClipStream, build_train_loader
from aot_plus.networks.managers.batch_reading import deaths_of_workers, read_batches
from aot_plus.networks.managers.claimed_folder import claim_folder
from aot_plus.networks.managers.initial_weights import initialise, pretrained_file
from aot_plus.networks.managers.learner import Learner, StepResult
from aot_plus.networks.managers.origin import origin_of_weights
from aot_plus.networks.managers.processes import (
    ProcessPlace,
    any_process,
    choose_device,
    gather,
    patient_group,
    process_group,
)
from aot_plus.networks.managers.random_state import get_random_state, seed_generators, set_random_state
from aot_plus.networks.managers.stop_request import StopRequest
from aot_plus.networks.managers.train_checkpoint import (
    TrainingCheckpoint,
    ema_path,
    fitting,
    load_latest_checkpoint,
    save_checkpoint,
)
from aot_plus.networks.managers.train_folder import (
    LOG_FOLDER,
    clear_run,
    decide_resume,
    require_places,
    require_same_start,
    resumed_origin,
    warn_of_changes,
)
from aot_plus.networks.managers.train_log import TrainLog, tensorboard_writer
from aot_plus.networks.managers.validation import Validation, validation_is_due
from aot_plus.networks.models import build_model
from aot_plus.utils.config import CONFIG_FILE, save_config
from aot_plus.utils.cores import Pace
from aot_plus.utils.errors import ConfigError, VOSError, first_line
from aot_plus.utils.words import format_count
from evaluation.signals import interruption

__all__ = ["Trainer"]

_log = logging.getLogger(__name__)


class Trainer:
    """Trains the model of a config on its ``TRAIN_DEVICE`` and writes all files to ``folder``.

    ``ckpt/`` and ``ema_ckpt/`` hold checkpoints, ``log/`` the log files, ``config.yaml`` the config. With
    ``TRAIN_EVAL_STEPS``, the first process validates while the others wait for it (``Validation``). A run
    that was killed resumes from its last checkpoint when it is started again; on the CPU, with the same
    number of processes and threads, it ends with the same weights as an uninterrupted run.
    """

    def __init__(
        self,
        cfg: Config,
        folder: Path,
        *,
        place: ProcessPlace | None = None,
        resume: bool | None = None,
        overwrite: bool = False,
    ) -> None:
        """Chooses the device. Raises ``ConfigError`` if it cannot be used here, or would be shared.

        ``resume``, ``overwrite``: see ``decide_resume``; ``place``: this process's place among all.
        """
        self.cfg = cfg
        self.folder = folder
        self.place = place or ProcessPlace()
        self.device = _own_device(cfg.TRAIN_DEVICE, self.place)
        self.resume = resume
        self.overwrite = overwrite
        self._validation: Validation | None = None  # only in the first process, and only if configured
        self._patient: distributed.ProcessGroup | None = None  # where the others wait for a validation
        self._origin: dict[str, Any] = {}  # of the weights; the first process saves it
        self._data: dict[str, Any] = {}  # TrainDataset.contents
        self._bad_in_a_row = 0
        self._skipped = 0

    def run(self) -> Path:
        """Trains up to ``TRAIN_TOTAL_STEPS`` and returns the path of the averaged weights.

        Raises:
            VOSError: config, data or checkpoints cannot be used; another run uses the folder; a GPU's memory
                does not suffice; or ``TRAIN_MAX_BAD_STEPS`` steps in a row had a loss or gradients that are
                not finite.
            KeyboardInterrupt: after Ctrl-C or SIGTERM, once everything is saved.
        """
        with (
            process_group(self.place, self.device),
            claim_folder(self.folder, self.place, self._prepare_folder),
            _lack_of_memory(),
        ):
            return self._run()

    def _prepare_folder(self) -> None:
        """Decides whether to resume, and finds the origin of the weights. Removes nothing."""
        require_places(self.folder)
        if self.cfg.TRAIN_TBLOG:
            tensorboard_writer()
        if self.cfg.TRAIN_EVAL_STEPS:
            self._validation = Validation(self.cfg, self.folder, self.device)
        if decide_resume(self.cfg, self.folder, resume=self.resume, overwrite=self.overwrite):
            self._origin = resumed_origin(self.cfg, self.folder)
        else:
            self._origin = {"origin": origin_of_weights(self.cfg, pretrained_file(self.cfg))}
            loader = build_train_loader(self.cfg, 0, self.place.rank, self.place.world_size)
            if self.overwrite:
                loader.dataset[0]  # data without a usable clip must not cost the old training

    def _run(self) -> Path:
        checkpoint = None if self.overwrite else load_latest_checkpoint(self.folder)
        start = checkpoint.step if checkpoint else 0
        learner = self._build_learner(checkpoint)
        require_same_start(self.place, self.folder, start)  # a barrier: old files stay if any cannot load
        complete = start >= self.cfg.TRAIN_TOTAL_STEPS
        if self.place.rank == 0 and not complete:  # values that no step used are not saved
            if checkpoint is None:
                clear_run(self.folder)
            save_config(self.cfg, self.folder / CONFIG_FILE, self._origin)
        self._resume_validation(learner, start)
        if complete:
            _log.info("%s: the training is complete", self.folder)
        else:
            self._train(learner, start, checkpoint)
        return ema_path(self.folder, max(start, self.cfg.TRAIN_TOTAL_STEPS))

    def _build_learner(self, checkpoint: TrainingCheckpoint | None) -> Learner:
        torch.manual_seed(self.cfg.TRAIN_SEED)  # the same weights in all processes
        model = build_model(self.cfg)
        if checkpoint is None:
            encoder = initialise(model, self.cfg)
            if encoder is not None and self.place.rank == 0:  # known only now
                self._origin = {"origin": origin_of_weights(self.cfg, pretrained_file(self.cfg), encoder)}
        learner = Learner(model, self.cfg, device=self.device, place=self.place)
        if checkpoint is not None:
            with fitting(self.folder, checkpoint.step, "does not fit"):
                learner.load_state(vars(checkpoint))
            self._skipped = checkpoint.counters.get("skipped", 0)
            self._bad_in_a_row = checkpoint.counters.get("bad_in_a_row", 0)
            _log.info("%s: resuming from step %d", self.folder, checkpoint.step)
        return learner

    def _train(self, learner: Learner, start: int, checkpoint: TrainingCheckpoint | None) -> None:
        active = self.place.rank == 0
        with (
            deaths_of_workers(self.cfg.DATA_WORKERS),
            StopRequest() as stop,  # first: an exception raised while a worker forks is lost
            closing(self._batches(start, checkpoint)) as batches,
            TrainLog(self.cfg, self.folder / LOG_FOLDER, start, active=active) as log,
        ):
            self._seed(start, checkpoint)
            began, pace = time.perf_counter(), Pace(unit="steps")
            for step, batch in enumerate(batches, start):
                done = step + 1
                loaded = time.perf_counter()
                result = learner.train_step(batch, step)
                self._count(result, batch, step)
                now = time.perf_counter()
                log.add(step, batch, result, now - began, loaded - began, self._skipped)
                began = now
                if active:
                    pace.tick()
                due = done % self.cfg.TRAIN_SAVE_STEP == 0 or done == self.cfg.TRAIN_TOTAL_STEPS
                if due:
                    self._save(learner, done)
                self._validate(learner, done, stop, log)
                if self._is_stopping(stop, done):
                    if not due:
                        self._save(learner, done)
                    saved = f"Stopped and saved after {format_count(done, 'step')}."
                    raise interruption(stop.signal, f"{saved} Rerun the same command to resume.")
        if stop.signal is not None:  # the signal came after the last check
            raise interruption(stop.signal, "Stopped after the last step. Rerun the same command to resume.")

    def _batches(self, start: int, checkpoint: TrainingCheckpoint | None) -> Generator[Batch, None, None]:
        """Returns a generator of this process's batches from ``start`` on. Closing it ends the workers."""
        loader = build_train_loader(self.cfg, start, self.place.rank, self.place.world_size)
        self._data = cast(ClipStream, loader.dataset).dataset.contents()
        if checkpoint is not None and self.place.rank == 0:
            warn_of_changes(self.cfg, self.folder, checkpoint, self._data, self.place.world_size)
        # Creating the iterator draws from torch's random generator, so create it before ``_seed`` sets that.
        return read_batches(iter(loader))

    def _seed(self, start: int, checkpoint: TrainingCheckpoint | None) -> None:
        """Seeds or restores this process's random generators, used by dropout and drop path only."""
        # In any case, since a training on the CPU has saved no state of CUDA's generator.
        seed_generators(self.cfg.TRAIN_SEED, start, self.place.rank)
        if checkpoint is not None and len(checkpoint.random_states) == self.place.world_size:
            with fitting(self.folder, checkpoint.step, "has no usable random states"):
                set_random_state(checkpoint.random_states[self.place.rank])

    def _count(self, result: StepResult, batch: Batch, step: int) -> None:
        """Counts steps without an update. Raises ``VOSError`` when there are too many in a row."""
        if result.updated:
            self._bad_in_a_row = 0
            return
        self._skipped += 1
        self._bad_in_a_row += 1
        if self._bad_in_a_row < self.cfg.TRAIN_MAX_BAD_STEPS:
            return
        names = [name for share in gather(self.place, batch.names) for name in share]
        raise VOSError(
            f"step {step}: {self._bad_in_a_row} steps in a row without finite loss and gradients "
            f"(loss {result.loss}, gradient norm {result.gradient_norm}); the last batch: "
            f"{', '.join(names)}. Lower TRAIN_LR, or look at these clips"
        )

    def _resume_validation(self, learner: Learner, start: int) -> None:
        """Repeats the validation of step ``start`` if a killed run did not finish it; the others wait."""
        if self.cfg.TRAIN_EVAL_STEPS:
            self._patient = patient_group(self.place, self.device)
        if self._validation is not None:
            self._validation.resume(learner.average, start)
        if self._patient is not None:
            any_process(self.place, False, self.device, self._patient)

    def _validate(self, learner: Learner, done: int, stop: StopRequest, log: TrainLog) -> None:
        """Validates after ``done`` steps if a validation is due and the run is not being stopped."""
        if self._validation is not None:
            j = self._validation.run_if_due(learner.average, done, lambda: stop.signal is not None)
            if j is not None:
                log.add_validation(done, j)

    def _is_stopping(self, stop: StopRequest, done: int) -> bool:
        """Returns in every process whether any is to stop. A validation in the first one may take long."""
        group = self._patient if validation_is_due(self.cfg, done) else None
        return any_process(self.place, stop.signal is not None, self.device, group)

    def _save(self, learner: Learner, done: int) -> None:
        """Saves the state after ``done`` steps."""
        random_states = gather(self.place, get_random_state())
        if self.place.rank > 0:
            return
        checkpoint = TrainingCheckpoint(
            step=done,
            random_states=random_states,
            counters={"skipped": self._skipped, "bad_in_a_row": self._bad_in_a_row},
            network=self.cfg.MODEL_VOS,
            data=self._data,
            **learner.state(),
        )
        save_checkpoint(self.folder, checkpoint, self.cfg.TRAIN_MAX_KEEP_CKPT)


def _own_device(name: str, place: ProcessPlace) -> torch.device:
    """Returns this process's device. Raises ``ConfigError`` if several would share a GPU."""
    if name.startswith("cuda:") and place.local_world_size > 1:  # NCCL's own error is less clear
        raise ConfigError(
            f"TRAIN_DEVICE {name}: expected one process on this machine, as processes cannot "
            f"share a GPU, found {place.local_world_size}; cuda gives each a GPU of its own"
        )
    return choose_device(name, place, "TRAIN_DEVICE")


@contextmanager
def _lack_of_memory() -> Iterator[None]:
    """Says how to train with less memory if that of a GPU does not suffice."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise VOSError(
            f"{first_line(error)}\nLess memory suffices for smaller parts of a batch (on more GPUs: "
            "--processes; one after another: --overrides TRAIN_ACCUMULATION_STEPS=2) or with "
            "--overrides TRAIN_CHECKPOINT_ACTIVATIONS=True"
        ) from error
