"""Result folders as runs: what made them, how fast, and which sequences they hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aot_plus.utils.errors import DataError

__all__ = ["Run", "chosen_dataset", "read_runs"]

_NOT_SEQUENCES = ("traces",)


@dataclass(frozen=True)
class Run:
    """A result folder.

    Attributes:
        name: the folder's, made longer where two runs share it.
        config: the resolved config, empty where there is none.
        summary: of the last inference into this folder, empty where there is none.
        sequences: names of the folders with masks, in alphabetical order.
        notes: what is missing, in words.
    """

    folder: Path
    name: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    sequences: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def policy(self) -> str | None:
        """``MEM_POLICY``."""
        return None if "MEM_POLICY" not in self.config else str(self.config["MEM_POLICY"])

    @property
    def capacity(self) -> str | None:
        """Capacity of the memory bank, like ``1 + 8``."""
        if self.policy == "unbounded":
            return "unbounded"
        sizes = [self.config.get(name) for name in ("FORMER_MEM_LEN", "LATTER_MEM_LEN")]
        return None if None in sizes else " + ".join(map(str, sizes))

    @property
    def model(self) -> str | None:
        """``MODEL_NAME``."""
        return None if "MODEL_NAME" not in self.config else str(self.config["MODEL_NAME"])

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint's file name."""
        path = self.config.get("TEST_CKPT_PATH")
        return Path(str(path)).name if path else None

    def trace(self, sequence: str) -> Path:
        """Where the memory's decisions of a sequence are, if inference wrote them."""
        return self.folder / "traces" / f"{sequence}.jsonl"

    def mask(self, sequence: str, frame: str) -> Path:
        """The prediction of a frame (name without suffix)."""
        return self.folder / sequence / f"{frame}.png"


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Reads result folders.

    Raises ``DataError`` for a folder that is not there, holds no sequence, or is given twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if not path.is_dir():
            raise DataError(f"{folder}: there is no such result folder")
        if resolved.count(path) > 1:
            raise DataError(f"{folder}: this result folder is given more than once")
    return [_read_run(path, name) for path, name in zip(resolved, _distinct_names(resolved), strict=True)]


def chosen_dataset(runs: Sequence[Run], dataset: str | None, split: str | None) -> tuple[str, str]:
    """Name or path of the dataset, and the split: the given ones, else those of the runs' configs.

    Raises ``DataError`` where the runs do not agree, or none says it.
    """
    return (
        dataset or _agreed(runs, "TEST_DATASET", "--dataset"),
        split or _agreed(runs, "TEST_DATASET_SPLIT", "--split"),
    )


def _agreed(runs: Sequence[Run], key: str, flag: str) -> str:
    values = {str(run.config[key]): run for run in runs if key in run.config}
    if not values:
        raise DataError(f"{runs[0].folder}: no config says {key}: give {flag}")
    if len(values) > 1:
        said = ", ".join(f"{value} ({run.folder})" for value, run in values.items())
        raise DataError(f"runs over different data cannot be compared: {key} is {said}")
    return next(iter(values))


def _read_run(folder: Path, name: str) -> Run:
    sequences = tuple(sorted(path.name for path in folder.iterdir() if _is_sequence(path)))
    if not sequences:
        raise DataError(f"{folder}: not a result folder: it holds no <sequence>/<frame>.png")
    notes: list[str] = []
    config = _read_mapping(folder / "config.yaml", notes, "policy, capacity and model are not known")
    summary = _read_mapping(folder / "summary.json", notes, "speed and memory are not known")
    values = config.get("config", {})
    return Run(folder, name, values if isinstance(values, dict) else {}, summary, sequences, tuple(notes))


def _is_sequence(path: Path) -> bool:
    named = path.is_dir() and not path.name.startswith(".") and path.name not in _NOT_SEQUENCES
    return named and any(path.glob("*.png"))


def _read_mapping(path: Path, notes: list[str], consequence: str) -> dict[str, Any]:
    """A YAML or JSON file's values; where there are none, empty, and a note."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        if not isinstance(values, dict):
            raise ValueError("it holds no names and values")
    except FileNotFoundError:
        notes.append(f"There is no {path.name}: {consequence}.")
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        notes.append(f"{path.name} cannot be read ({reason}): {consequence}.")
        return {}
    return values


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names; those that are the same with the parts of their paths that differ before them."""
    names = []
    for folder in folders:
        same = [other for other in folders if other.name == folder.name]
        parts = [other.parts[::-1] for other in same]  # from the name upwards
        depth = min(map(len, parts))
        differing = [i for i in range(1, depth) if len({part[i] for part in parts}) > 1]
        path = folder.parts[::-1]
        names.append("/".join([*(path[i] for i in reversed(differing)), folder.name]))
    return names
