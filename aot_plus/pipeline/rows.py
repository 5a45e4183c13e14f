"""Lists the rows of the reproduced tables: the paper's, the model zoo's, the small models on MiniVOST."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.utils.catalogue import (
    PAPER_ROWS,
    PAPER_STAGE,
    SHIPPED_MODELS,
    SMALL_STAGE,
    PaperRow,
    default_checkpoint,
    find_checkpoint,
)
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, nearest
from evaluation.home import home

__all__ = [
    "SMALL_POLICIES",
    "ZOO_DATASETS",
    "Row",
    "choose_rows",
    "numbered_rows",
    "paper_rows",
    "small_rows",
    "zoo_rows",
]

ZOO_DATASETS = ("davis2017", "youtubevos2019")
_ZOO_STAGE = "pre_ytb_dav"
_ZOO_MODELS = (
    *("aott", "aots", "aotb", "aotl", "r50_aotl", "swinb_aotl"),
    *("deaott", "deaots", "deaotb", "deaotl", "r50_deaotl", "swinb_deaotl"),
)
SMALL_POLICIES = ("fifo", "emfs", "rmem", "uniform", "random", "unbounded")


@dataclass(frozen=True)
class Row:
    """Describes one model with one policy. A small model's rows, one for each policy, share a name."""

    name: str
    model: str
    stage: str
    file: str  # the checkpoint's name in DIR_PRETRAIN
    policy: str
    published: PaperRow | None = None
    figures: tuple[str, ...] = ("J_tr", "J")

    @property
    def checkpoint(self) -> Path:
        """Returns the path of the file, which may be missing."""
        return find_checkpoint(self.file, Config.DIR_PRETRAIN) or home() / Config.DIR_PRETRAIN / self.file


def paper_rows() -> list[Row]:
    """Returns the rows of the paper's table."""
    return [
        Row(row.method, row.model, PAPER_STAGE, row.checkpoint, row.policy, published=row)
        for row in PAPER_ROWS
    ]


def zoo_rows() -> list[Row]:
    """Returns rows of the AOT benchmark's published models, with the memory that they were published with."""
    files = {model: get_config(_ZOO_STAGE, model).PRETRAIN_MODEL for model in _ZOO_MODELS}
    figures = ("J&F", "J", "F")
    return [
        Row(file.removesuffix("_PRE_YTB_DAV.pth"), model, _ZOO_STAGE, file, "unbounded", figures=figures)
        for model, file in files.items()
    ]


def small_rows(policies: Sequence[str] = SMALL_POLICIES) -> list[Row]:
    """Returns rows of the small models, each with these policies, which may be a user's own."""
    return [
        Row(model, model, SMALL_STAGE, default_checkpoint(model), policy)
        for model in SHIPPED_MODELS
        for policy in policies
    ]


def choose_rows(rows: Iterable[Row], wanted: Sequence[str] | None, flag: str = "--rows") -> list[str]:
    """Returns the names of the wanted rows, given by name or by number from 1; all for None.

    Names match if their letters and digits do, ignoring case. Raises ``ConfigError`` for an unknown row; the
    message names the ``flag`` and lists the nearest rows and all rows.
    """
    names = _names(rows)
    keys = {_key(name): name for name in names} | {str(number): name for number, name in enumerate(names, 1)}
    for text in wanted or ():
        if _key(text) not in keys:
            there_are = f"there are: {', '.join(numbered_rows(rows))}"
            raise ConfigError(f"{flag}: unknown row {text!r}{nearest(text, names)}; {there_are}")
    return names if wanted is None else [keys[_key(text)] for text in wanted]


def numbered_rows(rows: Iterable[Row]) -> list[str]:
    """Returns the names of the rows, each after its number."""
    return [f"{number} {name}" for number, name in enumerate(_names(rows), start=1)]


def _names(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(row.name for row in rows))


def _key(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
