"""Chooses model, checkpoint and dataset where the user has not, with small ones for a bare machine."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.dataloaders.eval_datasets import Dataset, find_layout, open_dataset
from aot_plus.utils.catalogue import (
    DEFAULT_MODEL,
    PAPER_DATASET,
    PAPER_STAGE,
    SMALL_MODEL,
    SMALL_STAGE,
    default_checkpoint,
    default_stage,
    find_checkpoint,
    find_named_checkpoint,
)
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.paths import stored_path
from aot_plus.utils.sources import find_source, how_to_get
from evaluation.datasets import DATASET_FOLDERS, known_folder
from evaluation.home import home

__all__ = ["Choice", "Wanted", "choose", "ensure_mini_vost", "find_dataset", "lacking"]

_log = logging.getLogger(__name__)

MINI_VOST = "mini_vost"


@dataclass(frozen=True)
class Wanted:
    """Names a model, a checkpoint and a dataset, and config values; None is left to ``choose``."""

    model: str | None = None
    stage: str | None = None
    checkpoint: str | None = None
    dataset: str | None = None
    random_weights: bool = False
    exp_name: str = "default"
    overrides: Mapping[str, object] = field(default_factory=dict)

    def config(self, **values: object) -> Config:
        """Builds the config of the model and stage, or of the default ones, with further values."""
        stage = self.stage or default_stage(self.model or DEFAULT_MODEL)
        return get_config(stage, self.model, self.exp_name, {**self.overrides, **values})

    @property
    def names_stage(self) -> bool:
        """Tells whether a stage other than the paper's was named, whose files must exist."""
        return self.stage not in (None, PAPER_STAGE)


@dataclass(frozen=True)
class Choice:
    """Holds the model and data to evaluate. ``shipped``: the small model was chosen, as none was named."""

    cfg: Config
    checkpoint: Path | None  # None: random weights
    shipped: bool = False


def choose(wanted: Wanted) -> Choice:
    """Fills in what was left open: the small model for MiniVOST, and both where something is missing.

    Raises ``ConfigError`` or ``DataError`` for what was named and is missing.
    """
    cfg = wanted.config()
    if wanted.dataset is None and (wanted.names_stage or cfg.TEST_DATASET != PAPER_DATASET):
        wanted = replace(wanted, dataset=cfg.TEST_DATASET)
    if wanted.dataset not in (None, MINI_VOST):  # that can be made
        wanted = _with_layout(wanted, cfg)
        cfg = wanted.config(TEST_DATASET=wanted.dataset)
    open_model = _leaves_model_open(wanted, cfg)
    if open_model and wanted.dataset == MINI_VOST:
        _log.info("No model was named: MiniVOST gets %s, which ships with the project.", SMALL_MODEL)
        return _choose_shipped(wanted, cfg)
    checkpoint = _find_checkpoint(wanted, cfg)
    missing = [*_missing_dataset(wanted, cfg), *_missing_checkpoint(wanted, cfg, checkpoint)]
    for problem in missing:
        _log.warning("%s", problem)
    if missing:
        wanted = replace(wanted, dataset=MINI_VOST)
        model = f"{SMALL_MODEL}, which ships with the project," if open_model else cfg.MODEL_NAME
        _log.warning("Running %s on MiniVOST instead.", model)
        if open_model:
            return _choose_shipped(wanted, cfg)
    return Choice(_with_files(wanted, checkpoint), checkpoint)


def _leaves_model_open(wanted: Wanted, cfg: Config) -> bool:
    """Tells whether nothing says which model or weights to run."""
    named = wanted.model or wanted.names_stage or wanted.checkpoint or cfg.TEST_CKPT_PATH
    return not (named or wanted.random_weights)


def _with_files(wanted: Wanted, checkpoint: Path | None) -> Config:
    """Builds the config with the dataset and the checkpoint."""
    return wanted.config(
        TEST_DATASET=wanted.dataset or PAPER_DATASET,
        TEST_CKPT_PATH=None if checkpoint is None else stored_path(checkpoint),
    )


def _with_layout(wanted: Wanted, cfg: Config) -> Wanted:
    """Opens the dataset, and notes the layout that a folder was found to have. Raises ``DataError``."""
    name, dataset = find_dataset(str(wanted.dataset), home() / cfg.DIR_DATA, cfg.TEST_LAYOUT)
    layout = cfg.TEST_LAYOUT or ("" if name in DATASET_FOLDERS else find_layout(dataset.root))
    if layout in ("", PAPER_DATASET):
        return replace(wanted, dataset=name)
    return replace(wanted, dataset=name, overrides={"TEST_LAYOUT": layout, **wanted.overrides})


def lacking(wanted: Wanted) -> list[str]:
    """Names the downloads that ``choose`` will look for and not find, checkpoints first."""
    cfg = wanted.config()
    if MINI_VOST in (wanted.dataset, cfg.TEST_DATASET) and _leaves_model_open(wanted, cfg):
        return []
    named = wanted.checkpoint or cfg.TEST_CKPT_PATH or default_checkpoint(cfg.MODEL_NAME) or ""
    source = None if wanted.random_weights else find_source(Path(named).name)
    names = []
    if source is not None and find_named_checkpoint(named, cfg.DIR_PRETRAIN) is None:
        names.append(source.name)
    dataset = wanted.dataset or cfg.TEST_DATASET
    if dataset == PAPER_DATASET and not known_folder(home() / cfg.DIR_DATA, dataset).is_dir():
        names.append(dataset)
    return names


def _find_checkpoint(wanted: Wanted, cfg: Config) -> Path | None:
    """Finds the named checkpoint or the model's own; None where there is none."""
    if wanted.random_weights:
        return None
    named = wanted.checkpoint or cfg.TEST_CKPT_PATH
    if not named:
        default = _default_checkpoint(cfg)
        return find_checkpoint(default, cfg.DIR_PRETRAIN) if default else None
    found = find_named_checkpoint(named, cfg.DIR_PRETRAIN)
    if found is None:
        raise ConfigError(f"there is no checkpoint {named}; {how_to_get(Path(named).name)}")
    return found


def _default_checkpoint(cfg: Config) -> str | None:
    """Names the model's own file; on other data than VOST's, the one that its VOST training starts from."""
    of_benchmark = cfg.TEST_PROTOCOL != Config.TEST_PROTOCOL and cfg.PRETRAIN_MODEL
    return cfg.PRETRAIN_MODEL if of_benchmark else default_checkpoint(cfg.MODEL_NAME)


def find_dataset(name: str, data_folder: Path, layout: str = "") -> tuple[str, Dataset]:
    """Opens a known data set or a folder; returns its name in configs, and itself. Raises ``DataError``.

    ``layout``: as ``TEST_LAYOUT``.
    """
    dataset = open_dataset(name, data_folder, layout=layout)
    return name if name in DATASET_FOLDERS else stored_path(dataset.root), dataset


def _missing_dataset(wanted: Wanted, cfg: Config) -> list[str]:
    path = home() / cfg.DIR_DATA / DATASET_FOLDERS[PAPER_DATASET]
    if wanted.dataset is not None or path.is_dir():
        return []
    return [f"There is no {stored_path(path)}; {how_to_get(PAPER_DATASET)}. Or put (or link) it there."]


def _missing_checkpoint(wanted: Wanted, cfg: Config, checkpoint: Path | None) -> list[str]:
    if checkpoint is not None or wanted.random_weights:
        return []
    default = _default_checkpoint(cfg)
    needed = f"{cfg.DIR_PRETRAIN}/{default}" if default else f"checkpoint for {cfg.MODEL_NAME}"
    asked = (wanted.stage if wanted.names_stage else None) or wanted.model or wanted.dataset
    if asked:
        raise ConfigError(
            f"no checkpoint for {asked}, there is no {needed}: choose one with --checkpoint FILE, "
            f"or --random_weights to try the pipeline without one; {how_to_get(default or '')}"
        )
    return [f"There is no {needed}; {how_to_get(default or '')}."]


def _choose_shipped(wanted: Wanted, cfg: Config) -> Choice:
    """Chooses the small model. Raises ``ConfigError`` if its file is missing."""
    file = default_checkpoint(SMALL_MODEL) or ""
    checkpoint = find_checkpoint(file, cfg.DIR_PRETRAIN)
    if checkpoint is None:
        raise ConfigError(
            f"there is no {cfg.DIR_PRETRAIN}/{file}, which is part of the project: restore it with "
            f"git restore {cfg.DIR_PRETRAIN}"
        )
    wanted = replace(wanted, model=SMALL_MODEL, stage=SMALL_STAGE)
    return Choice(_with_files(wanted, checkpoint), checkpoint, shipped=True)


def ensure_mini_vost(data_folder: Path, val: int = 10) -> Dataset:
    """Opens MiniVOST; makes it first, with ``val`` sequences, if it has none in val. Raises ``DataError``."""
    from aot_plus.dataloaders.mini_vost import writer

    root = data_folder / DATASET_FOLDERS[MINI_VOST]
    if not writer.count_listed(root, "val"):
        _log.info("making MiniVOST in %s", root)
        try:
            writer.add_val(root, 0, val, None)
        except OSError as error:
            raise DataError(f"{root}: MiniVOST cannot be made there ({error})") from error
    return open_dataset(MINI_VOST, data_folder)
