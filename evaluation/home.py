"""The folder that relative paths of data, checkpoints and results start at."""

import os
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1]


def home() -> Path:
    """Gives ``AOT_PLUS_HOME`` if that is set, else the checkout with this file, else the working folder.

    So nothing is ever looked for, or written, inside an installed package.
    """
    named = os.environ.get("AOT_PLUS_HOME")
    if named:
        return Path(named).resolve()
    return _CHECKOUT if (_CHECKOUT / "eval_vost.sh").is_file() else Path.cwd()
