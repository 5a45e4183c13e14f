"""Checks for missing files, trains in several processes, and prepares the evaluation."""

import logging
from collections.abc import Callable
from copy import copy
from functools import partial
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from aot_plus.configs import Config
from aot_plus.dataloaders.eval_datasets import open_configured
from aot_plus.dataloaders.train_datasets import build_train_dataset
from aot_plus.networks.managers.initial_weights import pretrained_file
from aot_plus.networks.managers.processes import ProcessPlace, share_cores
from aot_plus.networks.managers.train_checkpoint import saved_steps
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.memory.policies import build_policy
from aot_plus.pipeline.choices import MINI_VOST, ensure_mini_vost, find_dataset
from aot_plus.pipeline.launch import launch
from aot_plus.pipeline.run import Job
from aot_plus.pipeline.truth import check_truth
from aot_plus.utils.catalogue import SMALL_STAGE
from aot_plus.utils.errors import CheckpointError, DataError
from aot_plus.utils.paths import run_folder, stored_path
from aot_plus.utils.words import format_count
from evaluation.home import home
from evaluation.protocols import get_protocol

__all__ = ["check_files", "evaluation_job", "train"]

_log = logging.getLogger(__name__)


def check_files(cfg: Config, *, overwrite: bool, evaluated: bool) -> None:
    """Raises a ``DataError`` that lists all missing datasets and weights.

    ``evaluated``: the trained weights are to be evaluated on ``TEST_DATASET``. Anything that would then stop
    the evaluation is an error too, ``ConfigError`` for an unknown policy. MiniVOST is made if the validation
    needs it. Of several processes, only the first one validates.
    """
    validated = bool(cfg.TRAIN_EVAL_STEPS) and ProcessPlace.from_environment().rank == 0
    checks: list[Callable[[], object]] = [partial(build_train_dataset, cfg)]
    if overwrite or not saved_steps(run_folder(cfg)):
        checks.append(partial(pretrained_file, cfg))
    if validated or evaluated:
        checks.append(partial(build_policy, cfg))
    if validated and cfg.TEST_DATASET == MINI_VOST:
        checks.append(partial(ensure_mini_vost, home() / cfg.DIR_DATA))
    if validated:
        checks.append(partial(find_dataset, cfg.TEST_DATASET, home() / cfg.DIR_DATA, cfg.TEST_LAYOUT))
    if evaluated:
        checks.append(partial(_check_evaluation, cfg))
    problems: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except (DataError, CheckpointError) as error:
            problems |= dict.fromkeys(str(error).splitlines())
    if problems:
        hint = f"Training that needs no download: python -m aot_plus train --stage {SMALL_STAGE}"
        raise DataError("\n".join([*problems, hint]))


def _check_evaluation(cfg: Config) -> None:
    """Raises ``DataError`` if something that the metric needs is missing. MiniVOST can be made later."""
    protocol = get_protocol(cfg.TEST_PROTOCOL)
    if cfg.TEST_DATASET == MINI_VOST:
        return
    dataset = open_configured(cfg)
    try:
        check_truth(dataset, protocol)
    except DataError as error:
        why = f"{cfg.TEST_DATASET} is evaluated after the training; --no_eval leaves that out"
        raise DataError(f"{error}\n{why}") from error


def train(cfg: Config, *, resume: bool | None, overwrite: bool, processes: int) -> Path:
    """Trains in ``processes`` processes and returns the path of the averaged weights.

    ``resume``, ``overwrite``: see ``decide_resume``. Raises the errors of ``Trainer.run``.
    """
    place = ProcessPlace.from_environment()
    if place.rank == 0:
        started = max(processes, place.world_size)  # torchrun sets the latter
        number = format_count(started, "process", "processes")
        _log.info("== Training: %s, %s, %s", cfg.MODEL_NAME, cfg.STAGE_NAME, number)
    return launch(_train, cfg, resume, overwrite, processes=processes)


def _train(cfg: Config, resume: bool | None, overwrite: bool) -> Path:
    """Trains in this process."""
    place = ProcessPlace.from_environment()
    share_cores(place)
    trainer = Trainer(cfg, run_folder(cfg), place=place, resume=resume, overwrite=overwrite)
    if place.rank > 0:
        logging.getLogger().setLevel(logging.WARNING)  # the first process logs what concerns all
    with logging_redirect_tqdm():
        return trainer.run()


def evaluation_job(cfg: Config, weights: Path, processes: int) -> Job:
    """Returns the job that evaluates trained weights with the training's config; makes a missing MiniVOST.

    It replaces earlier results of other weights of that name, another config, other code or other data.
    """
    cfg = copy(cfg)
    data_folder = home() / cfg.DIR_DATA
    if cfg.TEST_DATASET == MINI_VOST:
        ensure_mini_vost(data_folder)
    cfg.TEST_DATASET, _ = find_dataset(cfg.TEST_DATASET, data_folder, cfg.TEST_LAYOUT)
    cfg.TEST_CKPT_PATH = stored_path(weights)
    return Job(cfg, weights, processes=processes).renewed()
