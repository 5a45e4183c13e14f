"""Finds paths given by users, and formats paths for configs and results."""

import os
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.utils.errors import ConfigError
from evaluation.home import home

__all__ = ["file_name", "find_path", "run_folder", "stored_path"]


def find_path(name: str | Path, *more: Path) -> Path | None:
    """Looks for ``name`` in the working folder, ``home()``, its ``aot_plus``, then in ``more``.

    Returns the absolute path of the first one that exists, else None. Raises ``ConfigError`` if the system
    refuses to look, for example because the name is too long.
    """
    for folder in (Path.cwd(), home(), home() / "aot_plus", *more):
        path = Path(os.path.abspath(folder / name))
        try:
            if path.exists():
                return path
        except OSError as error:
            raise ConfigError(f"{path}: cannot be opened ({error.strerror or error})") from error
    return None


def stored_path(path: Path) -> str:
    """Returns a path as text, independent of the working folder: relative to ``home()`` if it is inside."""
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(home()) if absolute.is_relative_to(home()) else absolute)


def run_folder(cfg: Config, stage: str | None = None) -> Path:
    """Returns the folder of a training, by default of the config's stage: ``results/<exp>_<model>/<stage>``.

    ``file_name`` converts the names of a user's own model or stage.
    """
    experiment = f"{cfg.EXP_NAME}_{file_name(cfg.MODEL_NAME)}"
    return home() / cfg.DIR_RESULT / experiment / file_name(stage or cfg.STAGE_NAME)


def file_name(name: str) -> str:
    """Replaces the colon in ``package.module:ClassName``, which some systems do not allow in folder names."""
    return name.replace(":", ".")


def leads_outside(name: str) -> bool:
    """Returns whether a path joined to a folder may lead out of it: it is absolute or contains ``..``."""
    path = Path(name)
    return path.is_absolute() or ".." in path.parts
