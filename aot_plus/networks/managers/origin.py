"""Describes the origin of masks and weights besides the config: checkpoints, files of users' classes, code.

An origin maps names, as messages show them, to the SHA-256 of contents. The project's code is represented by
the source files that masks, or weights, depend on; a changed comment counts as a change.
"""

import inspect
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.utils.errors import CheckpointError
from aot_plus.utils.own_classes import import_class
from evaluation.digests import digest_file, digest_files

__all__ = [
    "INITIAL_ENCODER",
    "INITIAL_WEIGHTS",
    "Origin",
    "differences",
    "origin_of_masks",
    "origin_of_weights",
    "resumptions",
]

Origin = Mapping[str, str]

CODE = "the project's code"
INITIAL_WEIGHTS = "the initial weights' content"
INITIAL_ENCODER = "the initial encoder's content"
_PACKAGE = Path(__file__).resolve().parents[2]
_NETWORKS = tuple(
    f"aot_plus/networks/{room}" for room in ("encoders", "decoders", "layers", "memory", "models", "engines")
)
_BOTH = (
    *_NETWORKS,
    "aot_plus/utils/device.py",
    "aot_plus/utils/images.py",
    "aot_plus/utils/tensor_cache.py",
    "aot_plus/utils/masks.py",
    "evaluation/datasets.py",
    "evaluation/layouts.py",
    "evaluation/masks.py",
    "evaluation/vost.py",
)
_MASKS = (
    *_BOTH,
    "aot_plus/dataloaders/dataset.py",
    "aot_plus/dataloaders/layouts.py",
    "aot_plus/dataloaders/video_sequence.py",
    "aot_plus/networks/managers/evaluator.py",
    "aot_plus/networks/managers/frame_reading.py",
    "aot_plus/networks/managers/video_pass.py",
    "aot_plus/networks/managers/writer.py",
)
_WEIGHTS = (
    *_BOTH,
    "aot_plus/dataloaders",
    "aot_plus/networks/managers/ema.py",
    "aot_plus/networks/managers/initial_weights.py",
    "aot_plus/networks/managers/learner.py",
    "aot_plus/networks/managers/param_groups.py",
    "aot_plus/networks/managers/random_state.py",
    "aot_plus/networks/managers/schedule.py",
    "aot_plus/networks/managers/trainer.py",
)


def origin_of_masks(cfg: Config, checkpoint: Path | None) -> Origin:
    """Returns the origin of masks. ``checkpoint``: None for random weights.

    Raises ``CheckpointError`` if the checkpoint cannot be read.
    """
    own = _own_files(cfg.MEM_POLICY, "MEM_POLICY", "policy file") | _own_model(cfg)
    own |= _own_files(cfg.TEST_LAYOUT, "TEST_LAYOUT", "layout file")
    return _content("the checkpoint's content", checkpoint) | own | {CODE: _digest_code(_MASKS)}


def origin_of_weights(cfg: Config, initial: Path | None, encoder: Path | None = None) -> Origin:
    """Returns the origin of trained weights.

    ``initial``: the file of the initial weights, if any; ``encoder``: the one of the encoder, if another one.
    """
    files = _content(INITIAL_WEIGHTS, initial) | _content(INITIAL_ENCODER, encoder)
    own = _own_model(cfg) | _own_files(cfg.DATA_LAYOUT, "DATA_LAYOUT", "layout file")
    return files | own | {CODE: _digest_code(_WEIGHTS)}


def differences(old: Mapping[str, Any], new: Mapping[str, str]) -> list[str]:
    """Describes how two mappings from names to contents differ."""
    changed = [f"{name} changed" for name in new if name in old and old[name] != new[name]]
    added = [f"{name} is not recorded there" for name in new if name not in old]
    return [*changed, *added, *(f"{name} is no longer used" for name in old if name not in new)]


def resumptions(saved: Mapping[str, Any], changes: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the changes that earlier runs accepted, from a saved config's file, and those of this run."""
    before = list(saved.get("resumed") or [])
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return [*before, {"at": now, "changed": list(changes)}] if changes else before


def _content(name: str, path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        return {name: digest_file(path)}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def _digest_code(places: Iterable[str]) -> str:
    """Computes a SHA-256 of the project's Python files; ``places``: in the package's parent folder."""
    root = _PACKAGE.parent
    files = [
        file
        for place in places
        for file in ([root / place] if place.endswith(".py") else (root / place).rglob("*.py"))
    ]
    return digest_files(root, files)


def _own_model(cfg: Config) -> dict[str, str]:
    """Returns digests of the files of a user's own network and encoder."""
    is_own = not cfg.MODEL_ENCODER.startswith("timm:")
    encoder = _own_files(cfg.MODEL_ENCODER, "MODEL_ENCODER", "encoder file") if is_own else {}
    return _own_files(cfg.MODEL_VOS, "MODEL_VOS", "network file") | encoder


def _own_files(name: str, key: str, kind: str) -> dict[str, str]:
    """Returns digests of a user's files that define a class, ``package.module:ClassName``, and its bases.

    Raises ``ConfigError`` if there is no such class.
    """
    if ":" not in name:
        return {}
    own = import_class(name, key)
    files = {_source_file(own): None} | {_source_file(base): None for base in inspect.getmro(own)[1:]}
    digests: dict[str, str] = {}
    for index, file in enumerate(files):
        if file is not None and (index == 0 or not _is_installed(file)):
            label = f"{kind} {file.name}"
            # Files of two folders may share a name.
            digests[label] = digests.get(label, "") + digest_file(file)
    return digests


def _source_file(own: type) -> Path | None:
    """Returns the file that defines a class; None if there is none."""
    try:
        file = inspect.getsourcefile(own)
    except (TypeError, OSError):
        return None
    return Path(file).resolve() if file else None


def _is_installed(file: Path) -> bool:
    """Returns whether a file belongs to the project, a library or Python, not to a user."""
    folders = {Path(path).resolve() for name, path in sysconfig.get_paths().items() if "lib" in name}
    return any(file.is_relative_to(folder) for folder in (_PACKAGE, *folders))
