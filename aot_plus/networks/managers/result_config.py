"""Keeps the config beside a result folder's masks, so that results of two configs never mix unnoticed."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.dataloaders.dataset import ALL_FRAMES
from aot_plus.networks.managers.origin import Origin, differences, resumptions
from aot_plus.networks.managers.sequence_folder import SequenceFolder
from aot_plus.utils.config import (
    CONFIG_FILE,
    SUMMARY_FILE,
    config_differences,
    config_to_dict,
    git_commit,
    library_versions,
    read_saved_content,
    save_config,
)
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.paths import find_path
from aot_plus.utils.words import format_list
from evaluation.datasets import DATASET_FOLDERS, known_folder
from evaluation.files import require_place_of_folder
from evaluation.home import home
from evaluation.results import remove_results
from evaluation.sequences import predicted_names
from evaluation.vost import TRACES

__all__ = ["claim_result_folder", "folder_differences", "mask_values", "remove_figures"]

_log = logging.getLogger(__name__)

# Config values that cannot change a mask: names and prefixes of names.
_IRRELEVANT = frozenset(
    {
        "EXP_NAME",
        "STAGE_NAME",
        "DATASETS",
        "TEST_DATASET_SPLIT",
        "TEST_SAVE_ALL_FRAMES",
        "TEST_PROTOCOL",
        "TEST_DEVICE",
        "TEST_CUDA_GRAPH",
        "TEST_READERS",
        "TEST_WRITERS",
        "TEST_MEM_TRACE",
        *("DATA_", "DIR_", "PRETRAIN_", "TRAIN_"),
    }
)
_IN_MASKS = ("torch", "torchvision", "opencv-python", "pillow")  # libraries that compute, resize and read
_LISTED = 5  # a message names at most this many sequences


def mask_values(cfg: Config) -> dict[str, Any]:
    """Returns the values that a sequence's masks depend on."""
    return config_to_dict(cfg, _IRRELEVANT)


def _is_other_dataset(old: str, new: str) -> bool:
    """Returns whether two values of ``TEST_DATASET`` name different datasets."""
    if old == new or old in DATASET_FOLDERS or new in DATASET_FOLDERS:
        return old != new
    return _are_two_folders(find_path(old), find_path(new))


def _are_two_folders(old: Path | None, new: Path | None) -> bool:
    """Returns whether both folders exist and differ: one that is gone may have been moved."""
    if old is None or new is None or not (old.is_dir() and new.is_dir()):
        return False
    return not old.samefile(new)


def folder_differences(
    result_dir: Path, cfg: Config, origin: Origin, ignored: frozenset[str] = frozenset()
) -> list[str]:
    """Lists the differences from the config and origin of a folder's masks. Raises ``ConfigError``.

    ``ignored``: names of config values to leave out.
    """
    return _differences(read_saved_content(result_dir / CONFIG_FILE), cfg, origin, ignored)


def _differences(
    saved: Mapping[str, Any], cfg: Config, origin: Origin, ignored: frozenset[str] = frozenset()
) -> list[str]:
    """Lists the differences that affect a sequence's masks. ``saved``: the content of a saved config."""
    old, split = saved["config"], cfg.TEST_DATASET_SPLIT
    old_split = str(old.get("TEST_DATASET_SPLIT", split))
    found = config_differences(old, cfg, _IRRELEVANT | ignored)
    if old_split.endswith(ALL_FRAMES) != split.endswith(ALL_FRAMES):
        found.append(f"TEST_DATASET_SPLIT was {old_split!r}, is {split!r}")
    if old.get("TEST_DATASET") == cfg.TEST_DATASET in DATASET_FOLDERS:
        folders = (str(old.get("DIR_DATA", cfg.DIR_DATA)), cfg.DIR_DATA)
        before, now = (known_folder(home() / folder, cfg.TEST_DATASET) for folder in folders)
        if _are_two_folders(before, now):
            found.append(f"the folder of {cfg.TEST_DATASET} was {before}, is {now}")
    return [*found, *differences(saved.get("origin") or {}, origin)]


def claim_result_folder(
    cfg: Config,
    origin: Origin,
    result_dir: Path,
    sequences: Collection[str],
    *,
    changed: Sequence[str] = (),
    computes: bool = True,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Saves config and origin in the folder; with ``overwrite`` removes the sequences, figures and summary.

    Raises a ``ConfigError`` that lists the differences if results of another config or origin would stay
    in the folder: those of any sequence, or with ``overwrite`` of a sequence that is not in ``sequences``.
    With ``resume`` such results stay, unless they are of another dataset; the differences are logged and
    saved with the config. ``changed`` describes the sequences that would stay but were made from other files.

    Raises ``DataError`` if a file is in the place of a sequence's folder or the traces'.

    ``computes``: whether masks will be made. If not, the saved commit and versions stay.
    """
    for name in (TRACES, *sequences):
        require_place_of_folder(result_dir / name)
    path = result_dir / CONFIG_FILE
    replaced = frozenset(sequences) if overwrite else frozenset()
    finished = predicted_names(result_dir)
    if finished and not path.is_file():  # it may be a dataset: remove nothing
        raise ConfigError(
            f"{result_dir}: not a result folder: it holds {finished[0]}, ... but no {CONFIG_FILE}"
        )
    facts: dict[str, Any] = {"origin": dict(origin)}
    if kept := [name for name in finished if name not in replaced]:
        saved, masks = read_saved_content(path), f"{path}: masks there ({format_list(kept, 1)})"
        _refuse_other_dataset(masks, saved, cfg)
        changes = _differences(saved, cfg, origin)
        if changes or changed:
            _accept(masks, changes, changed, resume=resume)
        facts |= _history(masks, saved, [*changes, *changed], computes=computes)
    if overwrite:
        remove_figures(result_dir)
        (result_dir / SUMMARY_FILE).unlink(missing_ok=True)
        for name in sequences:  # before saving the new config, which does not describe them
            SequenceFolder(result_dir, name).discard()
    save_config(cfg, path, facts)


def remove_figures(result_dir: Path) -> None:
    """Removes what was made from masks that are about to change: figures and zip files."""
    remove_results(result_dir)
    for packed in result_dir.glob("*.zip"):
        packed.unlink(missing_ok=True)


def _refuse_other_dataset(masks: str, saved: Mapping[str, Any], cfg: Config) -> None:
    """Raises ``ConfigError`` for masks of another dataset. ``masks``: describes them, for messages."""
    old = str(saved["config"].get("TEST_DATASET", cfg.TEST_DATASET))
    if _is_other_dataset(old, cfg.TEST_DATASET):
        raise ConfigError(
            f"{masks} are of another dataset: TEST_DATASET was {old!r}, is {cfg.TEST_DATASET!r}. Choose "
            "another result folder (--result_name), or remove them"
        )


def _accept(masks: str, changes: Sequence[str], changed: Sequence[str], *, resume: bool) -> None:
    """Logs the differences from kept masks; without ``resume`` raises them as a ``ConfigError``."""
    more = [f"{len(changed) - _LISTED} more sequences"] if len(changed) > _LISTED else []
    found = "; ".join([*changes, *changed[:_LISTED], *more])
    if not resume:
        raise ConfigError(
            f"{masks} were made differently: {found}. Choose another result folder, make all of them again "
            "(--overwrite), or keep them (--resume)"
        )
    _log.warning("%s were made differently, and are kept: %s", masks, found)


def _history(
    masks: str, saved: Mapping[str, Any], changes: Sequence[str], *, computes: bool
) -> dict[str, Any]:
    """Returns the record of how kept masks were made; warns if other versions of libraries made them."""
    versions = _other_versions(saved)
    telling = [versions[name] for name in _IN_MASKS if name in versions]
    if telling:
        made = "are kept, but other versions made them"
        _log.warning("%s %s: %s. --overwrite makes them again", masks, made, "; ".join(telling))
    resumed = resumptions(saved, [*changes, *(versions.values() if computes else ())])
    facts: dict[str, Any] = {"resumed": resumed} if resumed else {}
    if not computes:
        facts |= {name: saved.get(name) for name in ("commit", "versions")}
    return facts


def _other_versions(saved: Mapping[str, Any]) -> dict[str, str]:
    """Describes, by name, how commit and libraries differ from those of a saved config."""
    versions = saved.get("versions")
    old = {"commit": saved.get("commit"), **(versions if isinstance(versions, Mapping) else {})}
    new = {"commit": git_commit(), **library_versions()}
    return {
        name: f"{name} was {old[name]}, is {new[name]}"
        for name in new
        if name in old and old[name] != new[name]
    }
