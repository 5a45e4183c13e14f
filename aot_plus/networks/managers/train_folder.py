"""Decides whether to resume or replace an earlier run in a training's folder, or to leave it alone."""

import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.networks.managers.initial_weights import encoder_file, pretrained_file
from aot_plus.networks.managers.origin import (
    INITIAL_ENCODER,
    INITIAL_WEIGHTS,
    differences,
    origin_of_weights,
    resumptions,
)
from aot_plus.networks.managers.processes import ProcessPlace, gather
from aot_plus.networks.managers.train_checkpoint import (
    EMA_FOLDER,
    TRAINING_FOLDER,
    TrainingCheckpoint,
    saved_steps,
    weight_files,
)
from aot_plus.utils.config import CONFIG_FILE, config_differences, read_saved_config, read_saved_content
from aot_plus.utils.errors import CheckpointError, ConfigError, DataError
from aot_plus.utils.words import format_count
from evaluation.files import require_place_of_folder

__all__ = [
    "LOG_FOLDER",
    "clear_run",
    "decide_resume",
    "require_places",
    "require_same_start",
    "resumed_origin",
    "warn_of_changes",
]

_log = logging.getLogger(__name__)

LOG_FOLDER = "log"
_FOLDERS = (TRAINING_FOLDER, EMA_FOLDER, LOG_FOLDER)

# Config values that do not affect the final weights: names and prefixes of names.
_IRRELEVANT = frozenset(
    {
        "DATA_WORKERS",
        "TRAIN_CHECKPOINT_ACTIVATIONS",
        "TRAIN_DEVICE",
        "TRAIN_EVAL_SEQUENCES",
        "TRAIN_EVAL_STEPS",
        "TRAIN_IMG_LOG",
        "TRAIN_LOG_STEP",
        "TRAIN_MAX_BAD_STEPS",
        "TRAIN_MAX_KEEP_CKPT",
        "TRAIN_SAVE_STEP",
        "TRAIN_TBLOG",
        *("TEST_", "DIR_", "MEM_"),
    }
)


def decide_resume(cfg: Config, folder: Path, *, resume: bool | None, overwrite: bool) -> bool:
    """Returns True to resume the training in ``folder``, False to start a new one. Changes nothing.

    Args:
        cfg: config of the new run.
        folder: may be missing.
        resume: True: there must be a training; values that differ from its config only cause a warning.
            None: if there is a training, it is resumed and must have the same config. False: there must be
            none.
        overwrite: start from the beginning in any case (``clear_run`` then removes the old training).

    Raises:
        ConfigError: the folder's contents do not allow what is asked for.
    """
    if overwrite:
        return False
    steps = saved_steps(folder)
    if not steps:
        if resume:
            raise ConfigError(f"{folder}: nothing to resume: there is no checkpoint")
        _require_no_weights(folder)
        return False
    length = format_count(steps[-1], "step")
    if resume is False:
        raise ConfigError(
            f"{folder}: holds a training of {length}; resume it, overwrite it (--overwrite), or "
            "choose another --exp_name"
        )
    changed = _changed_values(folder / CONFIG_FILE, cfg)
    if changed and resume is None:
        raise ConfigError(
            f"{folder}: holds a training of {length} with another config: {'; '.join(changed)}. "
            "Resume with the new values (--resume), overwrite it (--overwrite), or choose another --exp_name"
        )
    if changed:
        _log.warning("%s: resuming with changed values: %s", folder, "; ".join(changed))
    return True


def _require_no_weights(folder: Path) -> None:
    """Raises ``ConfigError`` if there are weights, though no checkpoint: a new training would remove them."""
    kept = weight_files(folder)
    if kept:
        names = ", ".join(str(path.relative_to(folder)) for path in kept[:3])
        raise ConfigError(
            f"{folder}: holds weights of an earlier training ({names}{', ...' if kept[3:] else ''}), but no "
            f"checkpoint to resume from, which has a file in both {TRAINING_FOLDER} and {EMA_FOLDER}. Move "
            "them away, remove them (--overwrite), or choose another --exp_name"
        )


def resumed_origin(cfg: Config, folder: Path) -> dict[str, Any]:
    """Returns what a resumed training saves with its config about the origin of its weights.

    Changed code, encoder files or initial weights do not stop the training: they are logged and saved.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    content = read_saved_content(path)
    saved = content.get("origin") or {}
    initial = _still_there(pretrained_file, cfg)
    encoder = _still_there(encoder_file, cfg) if INITIAL_ENCODER in saved else None
    of_files = {name: saved[name] for name in (INITIAL_WEIGHTS, INITIAL_ENCODER) if name in saved}
    origin = {**of_files, **origin_of_weights(cfg, initial, encoder)}  # a file that is gone stays as recorded
    changes = differences(saved, origin)
    if changes:
        _log.warning("%s: resuming, although since its start %s", folder, "; ".join(changes))
    resumed = resumptions(content, [*_changed_values(path, cfg), *changes])
    return {"origin": origin, **({"resumed": resumed} if resumed else {})}


def warn_of_changes(
    cfg: Config, folder: Path, checkpoint: TrainingCheckpoint, data: Mapping[str, Any], processes: int
) -> None:
    """Says how a resumed training will differ from an uninterrupted one: other data, or other processes.

    ``data``: from ``TrainDataset.contents``; ``processes``: how many there are now.
    """
    if checkpoint.data not in ({}, data):
        before, now = checkpoint.data.get("items"), data["items"]
        _log.warning(
            "%s: resuming, although the training data changed since step %d: %s videos or images were found "
            "then, %s now. The samples from here on are not those of an uninterrupted training",
            *(folder, checkpoint.step, before, now if now != before else f"{now} others"),
        )
    if len(checkpoint.random_states) != processes:
        apart = not cfg.MODEL_FREEZE_BN and not cfg.TRAIN_SYNC_BN
        _log.warning(
            "%s: the training ran in %s and resumes in %d: the clips stay the same, dropped paths are drawn "
            "anew%s",
            *(folder, format_count(len(checkpoint.random_states), "process", "processes"), processes),
            ", and batch norms normalise each process's part of a batch" if apart else "",
        )


def require_same_start(place: ProcessPlace, folder: Path, start: int) -> None:
    """Raises ``ConfigError`` in all processes if they would resume from different steps."""
    steps = gather(place, start)
    if len(set(steps)) > 1:
        found = ", ".join(f"{step} in process {rank}" for rank, step in enumerate(steps))
        raise ConfigError(
            f"{folder}: expected the same last checkpoint in all processes, found step {found} "
            "(0: none). All machines must share this folder"
        )


def _still_there(find: Callable[[Config], Path | None], cfg: Config) -> Path | None:
    """Returns the file of initial weights, or None: a resumed training no longer needs it."""
    try:
        return find(cfg)
    except CheckpointError:
        return None


def require_places(folder: Path) -> None:
    """Raises ``DataError`` if a file is in the place of one of a training's folders."""
    for name in _FOLDERS:
        require_place_of_folder(folder / name)


def clear_run(folder: Path) -> None:
    """Removes an earlier training's files; other contents of the folder, such as evaluations, stay.

    Raises ``DataError`` if weights or the config cannot be removed: the next run would resume from them.
    """
    for path in [*weight_files(folder), folder / CONFIG_FILE]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{path}: cannot be removed ({error.strerror or error})") from error
    for name in _FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)


def _changed_values(path: Path, cfg: Config) -> list[str]:
    """Describes the values of ``cfg`` that would lead to other weights than those saved at ``path``."""
    if not path.is_file():
        return [f"{path.name} is missing"]
    # Batch norms that are trained normalise each part of a batch separately.
    parts = {"TRAIN_ACCUMULATION_STEPS"} if cfg.MODEL_FREEZE_BN else set()
    return config_differences(read_saved_config(path), cfg, _IRRELEVANT | parts)
