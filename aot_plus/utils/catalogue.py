"""Checkpoints and where they lie, and the published rows: VOST val, from the paper of EMFS."""

from dataclasses import dataclass
from pathlib import Path

from aot_plus.configs import Config
from evaluation.home import home

__all__ = ["PAPER_DATASET", "PAPER_ROWS", "PAPER_STAGE", "PaperRow", "find_checkpoint"]

# Ships with the project, and lies inside an installed package: only read.
_SHIPPED = Path(__file__).resolve().parents[1] / "pretrain_models"

PAPER_DATASET = "vost"
PAPER_STAGE = "pre_vost_2"


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper's table: how it is made here, and its figures in percent.

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


def find_checkpoint(name: str, folder: str = Config.DIR_PRETRAIN) -> Path | None:
    """Gives the checkpoint file ``name`` in ``folder``, else the one that ships with the project, else None.

    ``folder``: ``DIR_PRETRAIN`` of the config, from ``home()``.
    """
    candidates = (home() / folder / name, _SHIPPED / name)
    return next((path for path in candidates if path.is_file()), None)
