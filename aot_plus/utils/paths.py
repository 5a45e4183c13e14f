"""Finds paths as users give them, and writes them as configs and results store them."""

import os
from pathlib import Path

from aot_plus.configs import Config
from evaluation.home import home

__all__ = ["file_name", "find_path", "run_folder", "stored_path"]


def find_path(name: str | Path, *more: Path) -> Path | None:
    """Looks for ``name`` in the working folder, ``home()``, its ``aot_plus``, then in ``more``.

    Returns the absolute path of the first that exists, else None.
    """
    for folder in (Path.cwd(), home(), home() / "aot_plus", *more):
        path = Path(os.path.abspath(folder / name))
        if path.exists():
            return path
    return None


def stored_path(path: Path) -> str:
    """Returns a path's text, the same wherever a command was started: from ``home()`` if it lies there."""
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(home()) if absolute.is_relative_to(home()) else absolute)


def run_folder(cfg: Config, stage: str | None = None) -> Path:
    """Names the folder of a training, of the config's stage by default: ``results/<exp>_<model>/<stage>``.

    An own model or stage is in it as ``file_name`` has it.
    """
    experiment = f"{cfg.EXP_NAME}_{file_name(cfg.MODEL_NAME)}"
    return home() / cfg.DIR_RESULT / experiment / file_name(stage or cfg.STAGE_NAME)


def file_name(name: str) -> str:
    """Returns ``package.module:ClassName`` without the colon, which some systems refuse in folders."""
    return name.replace(":", ".")


def leads_out(name: str) -> bool:
    """Tells whether a folder of that name, in parts or not, may lie outside the one that it is meant for."""
    path = Path(name)
    return path.is_absolute() or ".." in path.parts
