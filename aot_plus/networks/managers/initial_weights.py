"""Loads a training's initial weights: an earlier stage's, a checkpoint's, an ImageNet encoder's, or none."""

import logging
from collections.abc import Iterable
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.networks.managers.train_checkpoint import ema_path, saved_steps
from aot_plus.networks.models import AOT
from aot_plus.networks.models.checkpoint import LoadReport, load_encoder, load_into
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.networks.models.loading import encoder_in
from aot_plus.utils.catalogue import find_named_checkpoint
from aot_plus.utils.config import CONFIG_FILE, read_saved_config, stage_names, unknown_name
from aot_plus.utils.errors import CheckpointError, ConfigError
from aot_plus.utils.paths import run_folder
from aot_plus.utils.sources import how_to_get
from evaluation.home import home

__all__ = ["encoder_file", "initialise", "pretrained_file"]

_log = logging.getLogger(__name__)

_UNFROZEN = "TRAIN_ENCODER_FREEZE_AT=0 MODEL_FREEZE_BN=False"


def initialise(model: AOT, cfg: Config) -> Path | None:
    """Loads the weights of ``PRETRAIN_STAGE`` or ``PRETRAIN_MODEL``, or else those of ``PRETRAIN_ENCODER``.

    ``PRETRAIN_ENCODER`` is loaded as well if the other file holds another encoder than the model's; its path
    is then returned. The log accounts for every tensor. Raises ``CheckpointError`` if a file is missing (and
    says how to get it), damaged or of another model, or if no file has the encoder, and ``ConfigError`` for
    an unknown ``PRETRAIN_STAGE``.
    """
    path = pretrained_file(cfg)
    if path is None:
        _log.info("PRETRAIN_MODEL and PRETRAIN_ENCODER are empty: training starts from random weights")
        if cfg.TRAIN_ENCODER_FREEZE_AT > 0 or cfg.MODEL_FREEZE_BN:
            _log.warning(
                "stages of the encoder (TRAIN_ENCODER_FREEZE_AT=%d) or its batch norms (MODEL_FREEZE_BN=%s) "
                "are frozen as they are, untrained; --overrides %s trains them",
                *(cfg.TRAIN_ENCODER_FREEZE_AT, cfg.MODEL_FREEZE_BN, _UNFROZEN),
            )
    elif cfg.PRETRAIN_STAGE or cfg.PRETRAIN_MODEL:
        report = load_into(model, path, strict=False)
        if not _has_encoder(report, cfg):
            return _load_other_encoder(model, path, cfg)
    else:
        load_encoder(model.encoder, path)
    return None


def _has_encoder(report: LoadReport, cfg: Config) -> bool:
    """Returns whether a file contained the encoder: all of a known one, at least a part of a user's own."""
    kind, colon, _ = cfg.MODEL_ENCODER.partition(":")
    if colon and kind != "timm" and _of_encoder(report.loaded):  # it may add layers to a known one
        return True
    return not _of_encoder(report.missing) and not _of_encoder(report.misshapen)


def _of_encoder(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("encoder.")]


def _load_other_encoder(model: AOT, path: Path, cfg: Config) -> Path:
    """Loads ``PRETRAIN_ENCODER``, since the file of the initial weights has another encoder than the model.

    Returns its path. Raises ``CheckpointError`` if it is empty or does not fit either: the encoder would stay
    random.
    """
    try:
        if not cfg.PRETRAIN_ENCODER:
            raise CheckpointError("PRETRAIN_ENCODER: expected a file, found none")
        file = encoder_file(cfg)
        load_encoder(model.encoder, file)
    except CheckpointError as error:
        found = encoder_in(read_state_dict(path), cfg) or "another one"
        raise CheckpointError(
            f"{path}: expected the encoder {cfg.MODEL_ENCODER} (MODEL_ENCODER), found {found}, and "
            f"PRETRAIN_ENCODER does not provide it: {error}. Name a file of the encoder, without other "
            "weights: --overrides PRETRAIN_STAGE= PRETRAIN_MODEL= PRETRAIN_ENCODER=FILE"
        ) from error
    return file


def pretrained_file(cfg: Config) -> Path | None:
    """Finds the file to start a training from, if any.

    Raises ``CheckpointError`` if it does not exist, and ``ConfigError`` for an unknown ``PRETRAIN_STAGE``.
    """
    if cfg.PRETRAIN_STAGE:
        return _of_stage(cfg)
    if cfg.PRETRAIN_MODEL:
        return _named_file("PRETRAIN_MODEL", cfg)
    return encoder_file(cfg) if cfg.PRETRAIN_ENCODER else None


def encoder_file(cfg: Config) -> Path:
    """Finds the file ``PRETRAIN_ENCODER``. Raises ``CheckpointError`` if it does not exist."""
    return _named_file("PRETRAIN_ENCODER", cfg)


def _named_file(key: str, cfg: Config) -> Path:
    """Finds the file that a key of the config names. Raises ``CheckpointError`` if it does not exist."""
    name = str(getattr(cfg, key))
    path = home() / cfg.DIR_PRETRAIN / name
    if not path.is_file():
        path = find_named_checkpoint(name, cfg.DIR_PRETRAIN) or path
    if not path.is_file():
        source = how_to_get(path.name)
        if ":" in cfg.MODEL_ENCODER and key == "PRETRAIN_ENCODER":  # timm's, or a user's own
            source = "docs/encoders.md says where it comes from"
        raise CheckpointError(
            f"{path}: there is no such file ({key}); {source}. "
            f"Or start from random weights with --overrides PRETRAIN_MODEL= PRETRAIN_ENCODER= {_UNFROZEN}"
        )
    return path


def _of_stage(cfg: Config) -> Path:
    """Finds the last averaged weights of the stage ``PRETRAIN_STAGE``.

    Raises ``ConfigError`` if there is no such stage, and ``CheckpointError`` if it has not been trained to
    its end.
    """
    folder = run_folder(cfg, cfg.PRETRAIN_STAGE)
    steps = saved_steps(folder)
    if not steps:
        if ":" not in cfg.PRETRAIN_STAGE and cfg.PRETRAIN_STAGE not in stage_names():
            raise ConfigError(f"PRETRAIN_STAGE: {unknown_name('stage', cfg.PRETRAIN_STAGE, stage_names())}")
        own = f"--stage {cfg.PRETRAIN_STAGE} --model {cfg.MODEL_NAME} --exp_name {cfg.EXP_NAME}"
        raise CheckpointError(
            f"{folder}: there are no weights of the stage to start from (PRETRAIN_STAGE). Train it first, "
            f"python -m aot_plus train {own}, or start from a file of {cfg.DIR_PRETRAIN} with "
            f"--overrides PRETRAIN_STAGE= PRETRAIN_MODEL=FILE"
        )
    path = ema_path(folder, steps[-1])
    expected = _planned_steps(folder)
    if expected is not None and steps[-1] < expected:
        raise CheckpointError(
            f"{path}: expected {expected} steps (TRAIN_TOTAL_STEPS) of the stage to start from "
            f"(PRETRAIN_STAGE), found {steps[-1]}; finish that training, or name the file with --overrides "
            f"PRETRAIN_STAGE= PRETRAIN_MODEL={path}"
        )
    return path


def _planned_steps(folder: Path) -> int | None:
    """Reads ``TRAIN_TOTAL_STEPS`` of the training in a folder; None if its config does not say."""
    try:
        steps = read_saved_config(folder / CONFIG_FILE).get("TRAIN_TOTAL_STEPS")
    except ConfigError:  # the weights are usable without a readable config
        return None
    return steps if isinstance(steps, int) else None
