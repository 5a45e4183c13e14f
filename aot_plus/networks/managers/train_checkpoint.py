"""Saves checkpoints atomically, keeps the last few of a training, and finds the newest readable one.

A checkpoint is a pair of files with the same step, ``ckpt/save_step_<k>.pth`` and
``ema_ckpt/save_step_<k>.pth``. Both hold weights under ``state_dict``, so either can be evaluated.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from aot_plus.networks.models.checkpoint_file import NETWORK, check_tensor, read_file
from aot_plus.utils.errors import CheckpointError, first_line
from evaluation.files import replacing

__all__ = [
    "BEST_FILE",
    "EMA_FOLDER",
    "TRAINING_FOLDER",
    "TrainingCheckpoint",
    "best_j",
    "drop_best_after",
    "ema_path",
    "fitting",
    "load_latest_checkpoint",
    "save_best",
    "save_checkpoint",
    "saved_steps",
    "weight_files",
]

_log = logging.getLogger(__name__)

TRAINING_FOLDER = "ckpt"
EMA_FOLDER = "ema_ckpt"
BEST_FILE = "best.pth"  # averaged weights with the highest J in a validation
_TRAINING_VALUES = {
    "state_dict": dict,
    "optimizer": dict,
    "scaler": dict,
    "random_states": list,
    "counters": dict,
}
_EMA_VALUES = {"state_dict": dict, "updates": int}
_BEST_VALUES = {"state_dict": dict, "j": float}
_FILE_NAME = re.compile(r"save_step_(\d+)\.pth")


@dataclass
class TrainingCheckpoint:
    """Holds the state that resumes a training: only tensors, numbers, strings and containers of these."""

    step: int  # number of steps done, which is the index of the next step
    state_dict: Mapping[str, Any]  # of the model
    optimizer: Mapping[str, Any]
    scaler: Mapping[str, Any]  # empty without float16
    ema: Mapping[str, Any]  # from ModelEMA.state_dict
    random_states: list[dict[str, Any]]  # from get_random_state, of each process by rank
    counters: dict[str, int] = field(default_factory=dict)  # such as the number of steps skipped so far
    network: str = ""  # MODEL_VOS, so that an evaluation without it is refused; not read to resume
    data: dict[str, Any] = field(default_factory=dict)  # from TrainDataset.contents; empty in old files


def save_checkpoint(folder: Path, checkpoint: TrainingCheckpoint, keep: int) -> Path:
    """Saves the pair of files under ``folder`` and removes all but the last ``keep`` (at least 1) pairs.

    Both are written under temporary names before either is renamed, so a full disk leaves neither of them
    alone. The training file is renamed last, so it exists only if its partner does. Returns the path of the
    training file. Only one process may call this.
    """
    content = dict(vars(checkpoint))
    content[NETWORK] = content.pop("network")
    ema = {**content.pop("ema"), "step": checkpoint.step, NETWORK: checkpoint.network}
    training_path = _path(folder, TRAINING_FOLDER, checkpoint.step)
    with replacing(training_path) as training:
        _write(content, training)
        with replacing(ema_path(folder, checkpoint.step)) as average:
            _write(ema, average)
    _remove_old(folder, checkpoint.step, keep)
    return training_path


def load_latest_checkpoint(folder: Path) -> TrainingCheckpoint | None:
    """Reads the newest readable checkpoint under ``folder``, tensors on the CPU; None if there is none.

    Logs a warning for a damaged checkpoint and tries the one before it. Raises ``CheckpointError`` if there
    are checkpoints but none can be read.
    """
    damage = []
    for step in reversed(saved_steps(folder)):
        try:
            return _load(folder, step)
        except CheckpointError as error:
            _log.warning("%s; trying the checkpoint before it", error)
            damage.append(str(error))
    if damage:
        raise CheckpointError(f"{folder}: no checkpoint can be read: {'; '.join(damage)}")
    return None


@contextmanager
def fitting(folder: Path, step: int, problem: str) -> Iterator[None]:
    """Turns errors into a ``CheckpointError``: those of PyTorch and others when they get a foreign state.

    ``problem``: what they mean, as in "does not fit".
    """
    try:
        yield
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{folder}: the checkpoint of step {step} {problem}: {_problems(error)}"
        ) from error


def _problems(error: Exception) -> str:
    """Returns an error's first problem and counts the others: PyTorch lists them below a title.

    One of them may name all tensors that are missing.
    """
    problems = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]]
    if not problems:
        return first_line(error)
    first = shorten(problems[0], 200, placeholder=" ...")
    return f"{first}{f' and {len(problems) - 1} more' if problems[1:] else ''}"


def saved_steps(folder: Path) -> list[int]:
    """Lists the steps of the complete pairs of files under ``folder``, ascending."""
    return sorted(_steps_in(folder / TRAINING_FOLDER) & _steps_in(folder / EMA_FOLDER))


def ema_path(folder: Path, step: int) -> Path:
    """Returns the path of the averaged weights of a step; the file may not exist."""
    return _path(folder, EMA_FOLDER, step)


def weight_files(folder: Path) -> list[Path]:
    """Lists all weight files of a training, including those without their partner."""
    checkpoints = [
        _path(folder, name, step)
        for name in (TRAINING_FOLDER, EMA_FOLDER)
        for step in sorted(_steps_in(folder / name))
    ]
    best = folder / BEST_FILE
    return [best, *checkpoints] if best.is_file() else checkpoints


def save_best(
    folder: Path,
    state_dict: Mapping[str, Any],
    step: int,
    j: float,
    measured: Mapping[str, Any],
    network: str = "",
) -> None:
    """Saves the averaged weights of the best validation so far, with their J (0..1).

    ``measured``: what J depends on besides the weights, as plain values by name. ``network``: as in
    ``TrainingCheckpoint``.
    """
    content = {"state_dict": dict(state_dict), "step": step, "j": j, "measured": dict(measured)}
    content[NETWORK] = network
    with replacing(folder / BEST_FILE) as temporary:
        _write(content, temporary)


def best_j(folder: Path, measured: Mapping[str, Any]) -> float:
    """Reads the J of the weights that ``save_best`` saved.

    Returns -1 if no weights can be read, or if a name in both the file and ``measured`` has another value.
    """
    content = _read_best(folder)
    if content is None:
        return -1.0
    noted = content.get("measured")
    before = noted if isinstance(noted, dict) else {}  # earlier versions recorded nothing: their J counts
    changed = [name for name in before if name in measured and before[name] != measured[name]]
    if changed:
        path, names = folder / BEST_FILE, ", ".join(changed)
        _log.warning("%s: its J was measured with other %s; it is replaced", path, names)
        return -1.0
    return float(content["j"])


def drop_best_after(folder: Path, step: int) -> None:
    """Removes the weights that ``save_best`` saved if they are from a later step."""
    content = _read_best(folder)
    if content is not None and content["step"] > step:
        (folder / BEST_FILE).unlink()


def _write(values: Mapping[str, Any], path: Path) -> None:
    """Saves values. On a full disk, raises the original ``OSError`` instead of torch's ``RuntimeError``."""
    with path.open("wb") as file:
        try:
            torch.save(values, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _load(folder: Path, step: int) -> TrainingCheckpoint:
    """Reads the pair of files of ``step``. Raises ``CheckpointError``."""
    path, of_average = _path(folder, TRAINING_FOLDER, step), ema_path(folder, step)
    training = _read(path, step, _TRAINING_VALUES)
    ema = _read(of_average, step, _EMA_VALUES)
    for file, tensors in ((path, training["state_dict"]), (of_average, ema["state_dict"])):
        for name, tensor in tensors.items():
            check_tensor(file, name, tensor)
    values = {key: training[key] for key in _TRAINING_VALUES}
    data = training.get("data")
    return TrainingCheckpoint(step=step, ema=ema, **values, data=data if isinstance(data, dict) else {})


def _read(path: Path, step: int | None, types: Mapping[str, type]) -> dict[str, Any]:
    """Reads a file; checks its step, unless ``step`` is None, and its types. Raises ``CheckpointError``."""
    content = read_file(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected a training checkpoint, found a {type(content).__name__}")
    missing = [key for key in (*types, "step") if key not in content]
    if missing:
        raise CheckpointError(f"{path}: not a training checkpoint, it has no {', '.join(missing)}")
    if type(content["step"]) is not int or step not in (None, content["step"]):
        raise CheckpointError(f"{path}: expected step {step}, found {content['step']}")
    for key, expected in types.items():
        if not isinstance(content[key], expected):
            found = type(content[key]).__name__
            raise CheckpointError(f"{path}: {key}: expected a {expected.__name__}, found a {found}")
    return content


def _read_best(folder: Path) -> dict[str, Any] | None:
    """Reads the file that ``save_best`` wrote; None if it is missing or cannot be read."""
    path = folder / BEST_FILE
    if not path.is_file():
        return None
    try:
        return _read(path, None, _BEST_VALUES)
    except CheckpointError as error:
        _log.warning("%s; the next validation replaces it", error)
        return None


def _remove_old(folder: Path, step: int, keep: int) -> None:
    """Removes all but the last ``keep`` checkpoints up to ``step``, and temporary files of killed processes.

    Later checkpoints are not counted: after falling back to an earlier one, they are the damaged ones.
    """
    kept = [saved for saved in saved_steps(folder) if saved <= step][-keep:]
    for name in (TRAINING_FOLDER, EMA_FOLDER):
        for old in _steps_in(folder / name):
            if old < kept[0]:
                _path(folder, name, old).unlink(missing_ok=True)
        for stray in (folder / name).glob(".save_step_*.pth"):
            stray.unlink(missing_ok=True)


def _steps_in(folder: Path) -> set[int]:
    """Returns the steps of the checkpoint files in a folder, which may not exist."""
    if not folder.is_dir():
        return set()
    matches = (_FILE_NAME.fullmatch(path.name) for path in folder.iterdir())
    return {int(match.group(1)) for match in matches if match}


def _path(folder: Path, name: str, step: int) -> Path:
    """Returns the path of a step's file in one of the two folders."""
    return folder / name / f"save_step_{step}.pth"
