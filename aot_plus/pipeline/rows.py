"""The rows of the tables that are reproduced: the paper's, and the small models on MiniVOST."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aot_plus.utils.catalogue import PAPER_ROWS, PAPER_STAGE
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError

SMALL_MODELS = ("aot_mini", "deaot_mini")
SMALL_POLICIES = ("fifo", "emfs", "rmem", "uniform", "random", "unbounded")
_SMALL_STAGE = "mini_vost"


@dataclass(frozen=True)
class Figures:
    """Means over all objects, in percent."""

    j_tr: float
    j: float


@dataclass(frozen=True)
class Run:
    """One model with one policy. The runs of a row share its name, model and checkpoint."""

    row: str
    model: str
    stage: str
    checkpoint: str  # its path from the repository's root
    policy: str
    published: Figures | None = None


def paper_runs() -> list[Run]:
    """The rows of the paper's table, one run each."""
    return [
        Run(
            row.method,
            row.model,
            PAPER_STAGE,
            _checkpoint(PAPER_STAGE, row.model, row.checkpoint),
            row.policy,
            Figures(row.j_tr, row.j),
        )
        for row in PAPER_ROWS
    ]


def small_runs() -> list[Run]:
    """The small models, a row each, with every policy."""
    return [
        Run(model, model, _SMALL_STAGE, _checkpoint(_SMALL_STAGE, model, f"{model}.safetensors"), policy)
        for model in SMALL_MODELS
        for policy in SMALL_POLICIES
    ]


def _checkpoint(stage: str, model: str, file: str) -> str:
    return f"{get_config(stage, model).DIR_PRETRAIN}/{file}"


def choose_rows(runs: Iterable[Run], wanted: Sequence[str] | None) -> list[str]:
    """The names of the wanted rows, given by name or by number from 1; all for None.

    In names, case and everything but letters and digits does not count. Raises ``ConfigError`` for an unknown
    row; the message lists the nearest ones and all.
    """
    rows = _names(runs)
    keys = {_key(row): row for row in rows} | {str(number): row for number, row in enumerate(rows, start=1)}
    for text in wanted or ():
        if _key(text) not in keys:
            near = dict.fromkeys(keys[key] for key in difflib.get_close_matches(_key(text), keys))
            raise ConfigError(
                f"--rows: unknown row {text!r}; the nearest: {', '.join(near) or 'none'}; "
                f"there are: {', '.join(numbered_rows(runs))}"
            )
    return rows if wanted is None else [keys[_key(text)] for text in wanted]


def numbered_rows(runs: Iterable[Run]) -> list[str]:
    """The names of the rows after their numbers."""
    return [f"{number} {row}" for number, row in enumerate(_names(runs), start=1)]


def _names(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.row for run in runs))


def _key(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())
