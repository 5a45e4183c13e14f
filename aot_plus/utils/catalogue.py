"""Lists the models and files: which model needs which file, and the published rows."""

from dataclasses import dataclass
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.utils.paths import find_path
from evaluation.home import home

__all__ = [
    "DEFAULT_MODEL",
    "PAPER_DATASET",
    "PAPER_ROWS",
    "PAPER_STAGE",
    "SHIPPED_MODELS",
    "SMALL_MODEL",
    "SMALL_STAGE",
    "PaperRow",
    "checkpoint_to_run",
    "default_checkpoint",
    "default_stage",
    "find_checkpoint",
    "find_named_checkpoint",
]

# Ships with the project, and lies inside an installed package: only read.
_SHIPPED = Path(__file__).resolve().parents[1] / "pretrain_models"

PAPER_DATASET = "vost"
PAPER_STAGE = "pre_vost_2"

SMALL_STAGE = "mini_vost"
SMALL_MODEL = "aot_mini"
SHIPPED_MODELS = (SMALL_MODEL, "deaot_mini")


@dataclass(frozen=True)
class PaperRow:
    """Describes one row of the paper's table: how it is made here, and its figures in percent.

    All have a memory bank of 1 + 8 frames and are evaluated with the stage ``PAPER_STAGE``.
    """

    method: str
    model: str
    checkpoint: str  # a file's name in ``DIR_PRETRAIN``
    policy: str
    j_tr: float
    j: float


PAPER_ROWS = (
    PaperRow("AOT*", "r50_aotl", "R50_AOTL.pth", "fifo", 39.0, 50.4),
    PaperRow("AOT* + EMFS", "r50_aotl", "AOT_EMFS.pth", "emfs", 42.8, 51.6),
    PaperRow("DeAOT*", "r50_deaotl", "R50_DeAOTL.pth", "fifo", 39.5, 51.7),
    PaperRow("DeAOT* + EMFS", "r50_deaotl", "DeAOT_EMFS.pth", "emfs", 41.9, 52.6),
)

# What a model is evaluated with where no checkpoint is named: a file of ``DIR_PRETRAIN``.
_CHECKPOINTS = {row.model: row.checkpoint for row in PAPER_ROWS if row.policy == "emfs"} | {
    model: f"{model}.safetensors" for model in SHIPPED_MODELS
}
DEFAULT_MODEL = PAPER_ROWS[0].model


def default_checkpoint(model: str) -> str | None:
    """Returns the file in ``DIR_PRETRAIN`` that the model is evaluated with, by name; None if it has none."""
    return _CHECKPOINTS.get(model)


def default_stage(model: str) -> str:
    """Returns the stage that the model is evaluated with."""
    return SMALL_STAGE if model in SHIPPED_MODELS else PAPER_STAGE


def checkpoint_to_run(cfg: Config) -> tuple[str, Path | None]:
    """Returns the name of the checkpoint that a config runs with, and its file; None if it is not there.

    It is ``TEST_CKPT_PATH``, else the model's own: on other data than VOST's, the file that its VOST training
    starts from. The name is empty where the model has none.
    """
    if cfg.TEST_CKPT_PATH:
        return cfg.TEST_CKPT_PATH, find_named_checkpoint(cfg.TEST_CKPT_PATH, cfg.DIR_PRETRAIN)
    of_benchmark = cfg.TEST_PROTOCOL != Config.TEST_PROTOCOL and cfg.PRETRAIN_MODEL
    name = cfg.PRETRAIN_MODEL if of_benchmark else default_checkpoint(cfg.MODEL_NAME) or ""
    return name, find_checkpoint(name, cfg.DIR_PRETRAIN) if name else None


def find_named_checkpoint(name: str, folder: str = Config.DIR_PRETRAIN) -> Path | None:
    """Finds a file that a user named, as ``find_path`` does, else as ``find_checkpoint``."""
    return find_path(name, home() / folder, _SHIPPED)


def find_checkpoint(name: str, folder: str = Config.DIR_PRETRAIN) -> Path | None:
    """Finds the checkpoint file ``name`` in ``folder``, else the one that ships with the project, else None.

    ``folder``: ``DIR_PRETRAIN`` of the config, from ``home()``.
    """
    candidates = (home() / folder / name, _SHIPPED / name)
    return next((path for path in candidates if path.is_file()), None)
