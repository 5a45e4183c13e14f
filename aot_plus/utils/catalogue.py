"""Lists which model needs which checkpoint, and the rows of the published table."""

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

# Checkpoints that ship with the project. The folder may be in an installed package: it is only read.
_SHIPPED = Path(__file__).resolve().parents[1] / "pretrain_models"

PAPER_DATASET = "vost"
PAPER_STAGE = "pre_vost_2"

SMALL_STAGE = "mini_vost"
SMALL_MODEL = "aot_mini"
SHIPPED_MODELS = (SMALL_MODEL, "deaot_mini")


@dataclass(frozen=True)
class PaperRow:
    """Describes one row of the paper's table: how to reproduce it, and its figures in percent.

    All rows use a memory bank of 1 + 8 frames and the stage ``PAPER_STAGE``.
    """

    method: str
    model: str
    checkpoint: str  # name of the file in ``DIR_PRETRAIN``
    policy: str
    j_tr: float
    j: float


PAPER_ROWS = (
    PaperRow("AOT*", "r50_aotl", "R50_AOTL.pth", "fifo", 39.0, 50.4),
    PaperRow("AOT* + EMFS", "r50_aotl", "AOT_EMFS.pth", "emfs", 42.8, 51.6),
    PaperRow("DeAOT*", "r50_deaotl", "R50_DeAOTL.pth", "fifo", 39.5, 51.7),
    PaperRow("DeAOT* + EMFS", "r50_deaotl", "DeAOT_EMFS.pth", "emfs", 41.9, 52.6),
)

# The file in ``DIR_PRETRAIN`` that a model is evaluated with if no checkpoint is named.
_CHECKPOINTS = {row.model: row.checkpoint for row in PAPER_ROWS if row.policy == "emfs"} | {
    model: f"{model}.safetensors" for model in SHIPPED_MODELS
}
DEFAULT_MODEL = PAPER_ROWS[0].model


def default_checkpoint(model: str) -> str:
    """Returns the name of the model's default file in ``DIR_PRETRAIN``; empty if it has none."""
    return _CHECKPOINTS.get(model, "")


def default_stage(model: str) -> str:
    """Returns the stage that the model is evaluated with by default."""
    return SMALL_STAGE if model in SHIPPED_MODELS else PAPER_STAGE


def checkpoint_to_run(cfg: Config) -> tuple[str, Path | None]:
    """Returns the name of the checkpoint that a config runs with, and its file (None if it does not exist).

    It is ``TEST_CKPT_PATH``, else the model's default. Under other protocols than VOST's, the default is the
    file that the model's VOST training starts from. The name is empty if the model has no default.
    """
    if cfg.TEST_CKPT_PATH:
        return cfg.TEST_CKPT_PATH, find_named_checkpoint(cfg.TEST_CKPT_PATH, cfg.DIR_PRETRAIN)
    of_benchmark = cfg.TEST_PROTOCOL != Config.TEST_PROTOCOL and cfg.PRETRAIN_MODEL
    name = cfg.PRETRAIN_MODEL if of_benchmark else default_checkpoint(cfg.MODEL_NAME)
    return name, find_checkpoint(name, cfg.DIR_PRETRAIN) if name else None


def find_named_checkpoint(name: str, folder: str = Config.DIR_PRETRAIN) -> Path | None:
    """Finds a file named by a user with ``find_path``, also in ``folder`` and among the shipped files."""
    return find_path(name, home() / folder, _SHIPPED)


def find_checkpoint(name: str, folder: str = Config.DIR_PRETRAIN) -> Path | None:
    """Finds the checkpoint ``name`` in ``folder``, else among the shipped files; None if it is in neither.

    ``folder``: the config's ``DIR_PRETRAIN``, relative to ``home()``.
    """
    candidates = (home() / folder / name, _SHIPPED / name)
    return next((path for path in candidates if path.is_file()), None)
