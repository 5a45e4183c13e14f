"""The models and files there are: which model needs which file, where files come from, the published rows."""

from dataclasses import dataclass
from pathlib import Path

from aot_plus.configs import Config
from evaluation.home import home

__all__ = [
    "DEFAULT_MODEL",
    "PAPER_DATASET",
    "PAPER_ROWS",
    "PAPER_STAGE",
    "SHIPPED_MODELS",
    "SMALL_STAGE",
    "VOST_PAGE",
    "PaperRow",
    "Source",
    "default_checkpoint",
    "default_stage",
    "find_checkpoint",
    "source_of",
]

# Ships with the project, and lies inside an installed package: only read.
_SHIPPED = Path(__file__).resolve().parents[1] / "pretrain_models"

VOST_PAGE = "https://www.vostdataset.org"
PAPER_DATASET = "vost"
PAPER_STAGE = "pre_vost_2"

SMALL_STAGE = "mini_vost"
# MODEL_VOS -> the small model of that family
SHIPPED_MODELS = {"aot": "aot_mini", "official_aot": "aot_mini", "deaot": "deaot_mini"}


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

# What a model is evaluated with where no checkpoint is named: a file of ``DIR_PRETRAIN``.
_CHECKPOINTS = {row.model: row.checkpoint for row in PAPER_ROWS if row.policy == "emfs"} | {
    model: f"{model}.safetensors" for model in SHIPPED_MODELS.values()
}
DEFAULT_MODEL = PAPER_ROWS[0].model


def default_checkpoint(model: str) -> str | None:
    """Returns the file in ``DIR_PRETRAIN`` that the model is evaluated with, by name; None if it has none."""
    return _CHECKPOINTS.get(model)


def default_stage(model: str) -> str:
    """Returns the stage that the model is evaluated with."""
    return SMALL_STAGE if model in SHIPPED_MODELS.values() else PAPER_STAGE


def find_checkpoint(name: str, folder: str = Config.DIR_PRETRAIN) -> Path | None:
    """Gives the checkpoint file ``name`` in ``folder``, else the one that ships with the project, else None.

    ``folder``: ``DIR_PRETRAIN`` of the config, from ``home()``.
    """
    candidates = (home() / folder / name, _SHIPPED / name)
    return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class Source:
    """The source of a file: the page that lists it, and its id on Google Drive where it has one."""

    page: str
    drive_id: str = ""


_EMFS = "https://github.com/Shine-nuc/EMFS"
_ZOO = "https://github.com/yoxu515/aot-benchmark/blob/main/MODEL_ZOO.md"
_TORCHVISION = "https://download.pytorch.org/models"

_SOURCES = {
    "resnest101-22405ba7.pth": Source("https://github.com/zhanghang1989/ResNeSt"),
    "swin_base_patch4_window7_224_22k.pth": Source("https://github.com/microsoft/Swin-Transformer"),
    "R50_AOTL.pth": Source(_EMFS, "1kZgtsdZGRdWxQ4_taAS6C_NGDcn9ufYi"),
    "AOT_EMFS.pth": Source(_EMFS, "16geEhjPXVTqy0guwODaqi96JAOcgaA6Z"),
    "R50_DeAOTL.pth": Source(_EMFS, "1PY8Ns8X-V24eiklifgVcdiAC748IIWCJ"),
    "DeAOT_EMFS.pth": Source(_EMFS, "1Y16_Ef2kJIhZrUSc7tdp6mYlnVpEezVJ"),
    "R50_AOTL_PRE_YTB_DAV.pth": Source(_ZOO, "1qJDYn3Ibpquu4ffYoQmVjg1YCbr2JQep"),
    "R50_DeAOTL_PRE_YTB_DAV.pth": Source(_ZOO, "1QoChMkTVxdYZ_eBlZhK2acq9KMQZccPJ"),
}


def source_of(file: str, *, encoder: bool = False) -> Source:
    """Finds the source of a file of ``DIR_PRETRAIN`` by name; ``encoder``: weights of an encoder alone."""
    return _SOURCES.get(file, Source(f"{_TORCHVISION}/{file}" if encoder else _ZOO))
