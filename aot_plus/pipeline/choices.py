"""Fills in a model, checkpoint and dataset that were not named; falls back to the small model on MiniVOST."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.eval_datasets import find_layout, open_dataset
from aot_plus.utils.catalogue import (
    DEFAULT_MODEL,
    PAPER_DATASET,
    PAPER_STAGE,
    SMALL_MODEL,
    SMALL_STAGE,
    checkpoint_to_run,
    default_checkpoint,
    default_stage,
    find_checkpoint,
)
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.paths import stored_path
from aot_plus.utils.sources import find_source, how_to_get
from evaluation.datasets import DATASET_FOLDERS, known_folder
from evaluation.home import home

__all__ = ["Choice", "EvalRequest", "choose", "ensure_mini_vost", "find_dataset", "missing_downloads"]

_log = logging.getLogger(__name__)

MINI_VOST = "mini_vost"


@dataclass(frozen=True)
class EvalRequest:
    """Holds the model, checkpoint, dataset and config values that were named; ``choose`` replaces None."""

    model: str | None = None
    stage: str | None = None
    checkpoint: str | None = None
    dataset: str | None = None
    random_weights: bool = False
    exp_name: str = "default"
    overrides: Mapping[str, object] = field(default_factory=dict)

    def config(self, **values: object) -> Config:
        """Builds the config of the named model and stage, or of the default ones, with further values."""
        stage = self.stage or default_stage(self.model or DEFAULT_MODEL)
        named = {"TEST_DATASET": self.dataset, "TEST_CKPT_PATH": self.checkpoint}
        given = {name: value for name, value in named.items() if value is not None}
        return get_config(stage, self.model, self.exp_name, {**self.overrides, **given, **values})

    @property
    def names_stage(self) -> bool:
        """Returns whether a stage other than the paper's was named; its files must then exist."""
        return self.stage not in (None, PAPER_STAGE)


@dataclass(frozen=True)
class Choice:
    """Holds the model and data to evaluate. ``shipped``: no model was named, so the small one was chosen."""

    cfg: Config
    checkpoint: Path | None  # None: random weights
    shipped: bool = False


def choose(request: EvalRequest) -> Choice:
    """Fills in what was left open: the small model for MiniVOST, or both of these if something is missing.

    Raises ``ConfigError`` or ``DataError`` if something that was named is missing.
    """
    request = _with_dataset(request)
    cfg = request.config()
    open_model = _leaves_model_open(request, cfg)
    shipped = open_model and request.dataset == MINI_VOST
    if shipped:
        _log.info("No model was named: MiniVOST gets %s, which ships with the project.", SMALL_MODEL)
    elif missing := _missing(request, cfg):
        request, shipped = replace(request, dataset=MINI_VOST), open_model
        model = f"{SMALL_MODEL}, which ships with the project," if shipped else cfg.MODEL_NAME
        for problem in (*missing, f"Running {model} on MiniVOST instead."):
            _log.warning("%s", problem)
    if not shipped:
        _, checkpoint = _checkpoint(request, cfg)
    else:
        request, checkpoint = replace(request, model=SMALL_MODEL, stage=SMALL_STAGE), _small_checkpoint(cfg)
    chosen = request.config(
        TEST_DATASET=request.dataset or PAPER_DATASET,
        TEST_CKPT_PATH=None if checkpoint is None else stored_path(checkpoint),
    )
    return Choice(chosen, checkpoint, shipped)


def _leaves_model_open(request: EvalRequest, cfg: Config) -> bool:
    """Returns whether neither a model nor weights were named."""
    return not (request.model or request.names_stage or cfg.TEST_CKPT_PATH or request.random_weights)


def _with_dataset(request: EvalRequest) -> EvalRequest:
    """Fills in the dataset that was named, also by stage or config, and the layout of a folder.

    Raises ``DataError`` if it is missing, except for MiniVOST, which can be made.
    """
    cfg = request.config()
    if request.dataset is None and not request.names_stage and cfg.TEST_DATASET == PAPER_DATASET:
        return request
    if cfg.TEST_DATASET == MINI_VOST:
        return replace(request, dataset=MINI_VOST)
    name, dataset = find_dataset(cfg.TEST_DATASET, home() / cfg.DIR_DATA, cfg.TEST_LAYOUT)
    layout = cfg.TEST_LAYOUT or ("" if name in DATASET_FOLDERS else find_layout(dataset.root))
    if layout in ("", PAPER_DATASET):
        return replace(request, dataset=name)
    return replace(request, dataset=name, overrides={"TEST_LAYOUT": layout, **request.overrides})


def missing_downloads(request: EvalRequest) -> list[str]:
    """Lists the downloads that ``choose`` needs and will not find, checkpoints first.

    Raises ``DataError`` for a dataset that is missing and cannot be downloaded.
    """
    cfg = request.config()
    lacks_vost = cfg.TEST_DATASET == PAPER_DATASET and not _has_vost(cfg)
    if not lacks_vost:
        cfg = _with_dataset(request).config()
    if cfg.TEST_DATASET == MINI_VOST and _leaves_model_open(request, cfg):
        return []
    name, checkpoint = _checkpoint(request, cfg)
    source = find_source(Path(name).name) if checkpoint is None else None
    checkpoints = [] if source is None else [source.name]
    return [*checkpoints, PAPER_DATASET] if lacks_vost else checkpoints


def _checkpoint(request: EvalRequest, cfg: Config) -> tuple[str, Path | None]:
    return ("", None) if request.random_weights else checkpoint_to_run(cfg)


def find_dataset(name: str, data_folder: Path, layout: str = "") -> tuple[str, Dataset]:
    """Opens a known dataset or a folder; returns its name in configs and the dataset. Raises ``DataError``.

    ``layout``: as ``TEST_LAYOUT``.
    """
    dataset = open_dataset(name, data_folder, layout=layout)
    return name if name in DATASET_FOLDERS else stored_path(dataset.root), dataset


def _has_vost(cfg: Config) -> bool:
    return known_folder(home() / cfg.DIR_DATA, PAPER_DATASET).is_dir()


def _missing(request: EvalRequest, cfg: Config) -> list[str]:
    """Returns a message for each missing file that was not named. Raises ``ConfigError`` for one that was."""
    missing = []
    if request.dataset is None and not _has_vost(cfg):
        path = stored_path(home() / cfg.DIR_DATA / DATASET_FOLDERS[PAPER_DATASET])
        missing.append(f"There is no {path}; {how_to_get(PAPER_DATASET)}. Or put (or link) it there.")
    name, checkpoint = _checkpoint(request, cfg)
    if checkpoint is None and not request.random_weights:
        missing.append(_missing_checkpoint(request, cfg, name))
    return missing


def _missing_checkpoint(request: EvalRequest, cfg: Config, name: str) -> str:
    """Returns the message that no checkpoint was found. Raises ``ConfigError`` if it cannot be replaced."""
    if cfg.TEST_CKPT_PATH:
        raise ConfigError(f"there is no checkpoint {name}; {how_to_get(Path(name).name)}")
    missing = f"no {cfg.DIR_PRETRAIN}/{name}" if name else f"no checkpoint for {cfg.MODEL_NAME}"
    if request.model or request.dataset:
        raise ConfigError(
            f"there is {missing}: choose a checkpoint with --checkpoint FILE, or --random_weights to try the "
            f"pipeline without one; {how_to_get(name)}"
        )
    return f"There is {missing}; {how_to_get(name)}."


def _small_checkpoint(cfg: Config) -> Path:
    """Finds the small model's file. Raises ``ConfigError`` if it is missing."""
    file = default_checkpoint(SMALL_MODEL)
    checkpoint = find_checkpoint(file, cfg.DIR_PRETRAIN)
    if checkpoint is None:
        raise ConfigError(
            f"there is no {cfg.DIR_PRETRAIN}/{file}, which is part of the project: restore it with "
            f"git restore {cfg.DIR_PRETRAIN}"
        )
    return checkpoint


def ensure_mini_vost(data_folder: Path, val: int = 10) -> Dataset:
    """Opens MiniVOST; if its val split is empty, first makes ``val`` sequences. Raises ``DataError``."""
    from aot_plus.dataloaders.mini_vost import writer

    root = data_folder / DATASET_FOLDERS[MINI_VOST]
    if not writer.count_listed(root, "val"):
        _log.info("making MiniVOST in %s", root)
        try:
            writer.add_val(root, 0, val, None)
        except OSError as error:
            raise DataError(f"{root}: MiniVOST cannot be made there ({error})") from error
    return open_dataset(MINI_VOST, data_folder)
