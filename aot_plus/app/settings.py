"""Holds the settings of a run (model, checkpoint, memory), and describes the models."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from aot_plus.configs import Config
from aot_plus.configs.default import DType
from aot_plus.networks.memory.policies import POLICIES
from aot_plus.utils.catalogue import (
    PAPER_ROWS,
    SHIPPED_MODELS,
    SMALL_MODEL,
    default_checkpoint,
    default_stage,
    find_checkpoint,
    find_named_checkpoint,
)
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import CheckpointError, ConfigError, DataError
from evaluation.home import home

__all__ = ["DTYPES", "Settings", "about_model", "checkpoint_files"]

DTYPES: tuple[str, ...] = get_args(DType)
_SUFFIXES = (".pth", ".pt", ".safetensors")
_SMALL_EDGE = 480  # pixels: the small models were trained on frames of 256 x 192


@dataclass(frozen=True)
class Settings:
    """Holds the choices made on the page. Equal settings give equal masks."""

    model: str = SMALL_MODEL
    checkpoint: str = ""  # a file, or "" for the model's own
    policy: str = Config.MEM_POLICY
    capacity: int = Config.FORMER_MEM_LEN + Config.LATTER_MEM_LEN  # frames in the memory, including the first
    gap: int = 0  # every ``gap``-th frame is stored; 0: depends on the video's length
    dtype: str = Config.TEST_DTYPE
    long_edge: int = 0  # pixels: the network input's longest side; 0: the model's default

    @classmethod
    def parsed(cls, values: object) -> "Settings":
        """Creates settings from values by name; ignores other names. Raises ``DataError`` for wrong types."""
        if not isinstance(values, Mapping):
            raise DataError(f"settings: expected names and values, found {type(values).__name__}")
        defaults = asdict(cls())
        given = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        for name, value in given.items():
            if type(value) is not type(defaults[name]):
                expected = type(defaults[name]).__name__
                raise DataError(f"settings: {name}: expected {expected}, found {value!r:.60}")
        return cls(**given)

    def changed(self, **values: Any) -> "Settings":
        """Returns a checked copy with other values. Raises ``ConfigError`` or ``DataError``."""
        settings = self.parsed(asdict(replace(self, **values)))
        settings.config("auto")
        return settings

    def config(self, device: str) -> Config:
        """Resolves the config. Raises ``ConfigError`` for names that do not exist and values out of range."""
        if self.policy not in POLICIES and ":" not in self.policy:
            raise ConfigError(f"policy: expected one of {', '.join(POLICIES)}, found {self.policy!r}")
        values: dict[str, object] = {
            "MEM_POLICY": self.policy,
            "TEST_DTYPE": self.dtype,
            "TEST_DEVICE": device,
            "TEST_MAX_LONG_EDGE": float(self.edge),
            "TEST_TRACK_IGNORED": False,
        }
        if self.gap:
            values |= {"TEST_MEM_GAP_BY_LENGTH": False, "TEST_LONG_TERM_MEM_GAP": self.gap}
        stage = default_stage(self.model)
        first = get_config(stage, self.model).FORMER_MEM_LEN
        if self.capacity <= first:
            raise ConfigError(f"capacity: expected {first + 1} or more, found {self.capacity}")
        return get_config(stage, self.model, overrides={**values, "LATTER_MEM_LEN": self.capacity - first})

    @property
    def edge(self) -> int:
        """Returns the longest side of the network's input, in pixels."""
        small = self.model in SHIPPED_MODELS
        return self.long_edge or (_SMALL_EDGE if small else int(Config.TEST_MAX_LONG_EDGE))

    def checkpoint_path(self) -> Path:
        """Finds the checkpoint. If it is missing, raises a ``CheckpointError`` that says how to get it."""
        named = self.checkpoint or default_checkpoint(self.model)
        folder = home() / Config.DIR_PRETRAIN
        if not named:
            raise CheckpointError(
                f"{self.model} has no checkpoint of its own: put one into {folder} and choose it"
            )
        found = find_named_checkpoint(named) if self.checkpoint else find_checkpoint(named)
        if found is None:
            raise CheckpointError(
                f"there is no checkpoint {named}: put it into {folder} (its README.md says where to get it)"
            )
        return found


def checkpoint_files() -> list[str]:
    """Lists the file names of the checkpoints in ``DIR_PRETRAIN``."""
    folder = home() / Config.DIR_PRETRAIN
    return sorted(path.name for path in folder.glob("*") if path.suffix in _SUFFIXES and path.is_file())


def about_model(model: str) -> str:
    """Describes in a few sentences what a model is good for, and whether its checkpoint is there."""
    if model in SHIPPED_MODELS:
        return (
            "A small model that ships with the project, trained on synthetic videos of 256 x 192 pixels. "
            "It is fast on a CPU, and good for trying the page or tracking objects with distinct colours. "
            "For real videos, get a published checkpoint."
        )
    rows = [row for row in PAPER_ROWS if row.model == model]
    file = default_checkpoint(model)
    if not rows or not file:
        return "This model has no checkpoint of its own: choose one that was trained for it."
    there = "It is installed." if find_checkpoint(file) else "It is not installed yet."
    best = max(row.j for row in rows)
    return (
        f"The paper's model: J {best} on VOST val. For real videos with changing objects, on a GPU: "
        f"on a CPU, each frame takes seconds. It needs {file}. {there}"
    )
