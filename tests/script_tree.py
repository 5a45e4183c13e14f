"""A copy of what the shell scripts need, as on a fresh machine: nothing downloaded, no results."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def bare_tree(folder: Path, *scripts: str) -> Path:
    """Copies the two packages and ``scripts`` to a new folder, and returns it."""
    ignored = shutil.ignore_patterns("VOST", "MiniVOST*", "*.pth", "*.safetensors")
    for package in ("aot_plus", "evaluation"):
        shutil.copytree(ROOT / package, folder / package, ignore=ignored, copy_function=shutil.copyfile)
    for script in (*scripts, "requirements.txt"):
        shutil.copy(ROOT / script, folder / script)
    return folder
