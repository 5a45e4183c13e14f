"""Finds the folder that relative paths of data, checkpoints and results are resolved against."""

import os
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """Returns the root of the checkout that contains this file; None for an installed package."""
    return _ROOT if (_ROOT / "eval_vost.sh").is_file() else None


def home() -> Path:
    """Returns ``AOT_PLUS_HOME`` if it is set, else the checkout with this file, else the working directory.

    So nothing is ever looked for, or written, inside an installed package.
    """
    named = os.environ.get("AOT_PLUS_HOME")
    return Path(named).resolve() if named else checkout() or Path.cwd()
