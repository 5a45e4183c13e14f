"""Reads result folders: their config, speed and sequences."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.configs.datasets import DATASETS
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.eval_datasets import find_layout, open_dataset
from aot_plus.dataloaders.layouts import LAYOUTS
from aot_plus.networks.memory.trace import trace_path
from aot_plus.utils.config import CONFIG_FILE, SUMMARY_FILE, read_saved_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.json_text import parse_json
from evaluation.datasets import DATASET_FOLDERS
from evaluation.files import is_folder, require_regular
from evaluation.home import home
from evaluation.vost import TRACES

__all__ = ["ChosenData", "ResultFolder", "chosen_data", "read_folders"]


@dataclass(frozen=True)
class ResultFolder:
    """Describes a folder with the masks of a run.

    Attributes:
        path: the resolved path.
        name: the folder's name, with parts of its path in front if two folders have the same name.
        config: the resolved config; empty if there is none.
        summary: the summary of the last inference into this folder; empty if there is none.
        sequences: names of the folders with masks, in alphabetical order.
        notes: remarks on missing or damaged files.
    """

    path: Path
    name: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    sequences: tuple[str, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, str | None]:
        """Returns model, checkpoint (a file name), policy and capacity (like ``1 + 8``); None if unknown."""
        checkpoint = self.config.get("TEST_CKPT_PATH")
        policy = self.config.get("MEM_POLICY")
        sizes = [self.config.get(name) for name in ("FORMER_MEM_LEN", "LATTER_MEM_LEN")]
        capacity = None if None in sizes else " + ".join(map(str, sizes))
        return {
            "model": self.config.get("MODEL_NAME"),
            "checkpoint": Path(str(checkpoint)).name if checkpoint else None,
            "policy": policy,
            "capacity": policy if policy == "unbounded" else capacity,
        }

    def trace(self, sequence: str) -> Path:
        """Returns the path of the memory's decisions in a sequence; it exists if inference wrote them."""
        return trace_path(self.path, sequence)


@dataclass(frozen=True)
class ChosenData:
    """Describes the data of runs. ``data_folder``: the folder of known datasets, relative to ``home()``."""

    dataset: str
    split: str
    layout: str
    images: str | None
    protocol: str
    data_folder: str

    def open(self) -> Dataset:
        """Opens the dataset. Raises ``DataError``."""
        return open_dataset(self.dataset, home() / self.data_folder, self.images, self.split, self.layout)


def read_folders(paths: Sequence[Path]) -> list[ResultFolder]:
    """Reads result folders.

    Raises ``DataError`` for a folder that does not exist, holds no sequence, or is given twice.
    """
    resolved = [path.resolve() for path in paths]
    for given, path in zip(paths, resolved, strict=True):
        if not is_folder(path):
            raise DataError(f"{given}: there is no such result folder")
        if resolved.count(path) > 1:
            raise DataError(f"{given}: this result folder is given more than once")
    return [_read_folder(path, name) for path, name in zip(resolved, _distinct_names(resolved), strict=True)]


def chosen_data(
    folders: Sequence[ResultFolder],
    dataset: str | None,
    split: str | None,
    data_folder: str | None = None,
) -> ChosenData:
    """Determines the data of the runs from the arguments, or else from the folders' configs.

    Raises ``DataError`` if the configs disagree, or none names the dataset or the split.
    """
    name = dataset or _named(folders, "TEST_DATASET", "--dataset")
    if data_folder is None and name in DATASET_FOLDERS:  # a path does not need it
        data_folder = _agreed(folders, "DIR_DATA", _absolute)
    data_folder = data_folder or Config.DIR_DATA
    opened = partial(open_dataset, name, home() / data_folder)

    def usual_layout() -> str:
        return name if name in LAYOUTS else find_layout(opened().root)

    protocol = _agreed(folders, "TEST_PROTOCOL")
    split = split or _named_split(folders, opened)
    layout = _agreed_or_default(folders, "TEST_LAYOUT", usual_layout) or ""
    if not protocol:  # as for an evaluation of the same dataset or path
        of_layout = DATASETS.get(layout or usual_layout())
        protocol = str(getattr(of_layout, "TEST_PROTOCOL", Config.TEST_PROTOCOL))
    # Frame numbers in traces refer to the images.
    images = _agreed_or_default(folders, "TEST_IMAGES", lambda: opened(split=split, layout=layout).images)
    return ChosenData(name, split, layout, images, protocol, data_folder)


def _agreed_or_default(folders: Sequence[ResultFolder], key: str, default: Callable[[], str]) -> str | None:
    """Returns the value that the configs share; None if none has one.

    Where only some name a value, the ``default`` is looked up for the others. Raises ``DataError`` if they
    disagree.
    """
    values = {_text(folder.config[key] or None) for folder in folders if key in folder.config}
    if len(values) < 2 or None not in values:
        return _agreed(folders, key)
    usual = default()
    return _agreed(folders, key, lambda value: str(value or usual))


def _named(folders: Sequence[ResultFolder], key: str, flag: str) -> str:
    value = _agreed(folders, key)
    if value is None:
        raise DataError(f"{folders[0].path}: no config names {key}: give {flag}")
    return value


def _named_split(folders: Sequence[ResultFolder], opened: Callable[..., Dataset]) -> str:
    """Returns the split that the configs name. Raises ``DataError`` if they disagree, or none names it.

    Two names may stand for one split: ``val`` and ``valid``, in a dataset that has only one of them.
    ``opened``: opens the dataset with a layout and a split.
    """
    key = "TEST_DATASET_SPLIT"
    named = {str(folder.config[key]) for folder in folders if key in folder.config}
    if len(named) > 1:
        layout = next(filter(None, (folder.config.get("TEST_LAYOUT") for folder in folders)), "")
        found = {opened(layout=layout, split=one).split for one in named}
        if len(found) == 1:
            return found.pop()
    return _named(folders, key, "--split")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _absolute(value: object) -> str:
    """Returns a folder's absolute path, so that different spellings compare equal."""
    return str((home() / str(value)).resolve())


def _agreed(
    folders: Sequence[ResultFolder], key: str, read: Callable[[object], str | None] = _text
) -> str | None:
    """Returns the value that the configs share, converted by ``read``; None if none has one.

    Raises ``DataError`` if they disagree.
    """
    values = {read(folder.config[key]): folder.path for folder in folders if key in folder.config}
    if len(values) > 1:
        said = ", ".join(f"{value!r} ({path})" for value, path in values.items())
        raise DataError(f"runs with different data or metrics cannot be compared: {key} is {said}")
    return next(iter(values), None)


def _read_folder(path: Path, name: str) -> ResultFolder:
    sequences = tuple(sorted(folder.name for folder in path.iterdir() if _is_sequence(folder)))
    if not sequences:
        raise DataError(
            f"{path}: not a result folder: it holds no <sequence>/<frame>.png. Expected the folder that eval "
            "names after Results:, such as results/<exp>_<model>/<stage>/eval/<dataset>/<policy>"
        )
    config: Mapping[str, Any] = {}
    summary: Mapping[str, Any] = {}
    notes = []
    try:
        config = read_saved_config(path / CONFIG_FILE)
    except ConfigError as error:
        notes.append(f"Policy, capacity and model are not known: {error}.")
    file = path / SUMMARY_FILE
    require_regular(file)
    try:
        summary = dict(parse_json(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        notes.append(f"Speed and memory are not known: there is no {file}, which a run writes at its end.")
    except (OSError, ValueError, TypeError) as error:
        notes.append(f"Speed and memory are not known: {file} cannot be read ({error}).")
    return ResultFolder(path, name, config, summary, sequences, tuple(notes))


def _is_sequence(path: Path) -> bool:
    """Returns whether a folder holds a sequence's masks, or a folder of masks for each object.

    Other runs' result folders are not sequences.
    """
    named = path.is_dir() and not path.name.startswith(".") and path.name != TRACES
    if not named or (path / CONFIG_FILE).exists():
        return False
    return any(path.glob("*.png")) or any(path.glob("*/*.png"))


def _distinct_names(folders: Sequence[Path]) -> list[str]:
    """Names the folders. Equal names are prefixed with the lowest parts of their paths that differ."""
    names = [folder.name for folder in folders]
    upwards = [str(folder).split("/")[::-1] for folder in folders]
    for parts in list(zip_longest(*upwards, fillvalue=""))[1:]:
        same = Counter(name for name, _ in set(zip(names, parts, strict=True)))
        named = zip(names, parts, strict=True)
        names = [f"{part}/{name}" if same[name] > 1 else name for name, part in named]
    return names
