"""Checks a dataset as a whole: its folders, its split files, and the sequences that they name."""

from collections.abc import Callable, Collection, Sequence

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.dataset_check import findings as kinds
from aot_plus.dataloaders.dataset_check.findings import Finding
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.utils.errors import DataError
from aot_plus.utils.words import format_list
from evaluation.vost import SPLITS, name_problem, read_numbered_names, split_path, visible_folders

_NAMED = 5  # a finding names at most this many sequences
VOST_SEQUENCES = {"train": 572, "val": 70, "test": 71}


def check_folders(dataset: Dataset) -> list[Finding]:
    """Checks the folders of the dataset's split, except for the folder of its lists."""
    found = [Finding(kinds.FOLDER_MISSING, dataset.name, text) for text in dataset.missing()]
    if isinstance(dataset, VOSTDataset) and not (dataset.root / dataset.frames_at_5fps).is_dir():
        found.append(Finding(kinds.NO_JPEGIMAGES, str(dataset.root), f"no folder {dataset.frames_at_5fps}"))
    return found


def withheld_masks(dataset: Dataset, names: Sequence[str]) -> list[Finding]:
    """Returns a finding if no sequence of VOST's test split has a mask, as in VOST's archive."""
    if dataset.name != "vost" or dataset.split != "test" or not names:
        return []
    if any(dataset.list_masks(name) for name in names):
        return []
    return [Finding(kinds.MASKS_WITHHELD, dataset.split, f"{len(names)} sequences")]


def check_sequence_folders(dataset: Dataset, names: Sequence[str]) -> tuple[list[Finding], set[str]]:
    """Finds sequences of a split without a folder of images or of masks, if there are several.

    Returns one finding for each of the two kinds, and the names of the sequences.
    """
    found, all_missing = [], set()
    for folder, files in (
        (dataset.frames_folder, dataset.list_images),
        (dataset.masks_folder, dataset.list_masks),
    ):
        missing = [name for name in names if not (folder / name).is_dir() and not _lists(files, name)]
        if len(missing) > 1:
            detail = f"{len(missing)} of {len(names)} in {folder}: {format_list(missing, _NAMED)}"
            found.append(Finding(kinds.SEQUENCES_MISSING, dataset.split, detail))
            all_missing |= set(missing)
    return found, all_missing


def _lists(files: Callable[[str], Collection[object]], name: str) -> bool:
    """Returns whether a sequence has files elsewhere, in a layout with other folders."""
    try:
        return bool(files(name))
    except (DataError, OSError):
        return False


def check_splits(dataset: Dataset, split: str | None) -> tuple[dict[str, list[str]], list[Finding]]:
    """Checks the list of ``split``, or of every split if it is None.

    Returns the sequences of each split, and the findings. Raises ``DataError`` for an unknown split.
    """
    chosen = dataset.splits() if split is None else [dataset.of_split(split).split]
    splits: dict[str, list[str]] = {}
    found: list[Finding] = []
    for name in chosen:
        splits[name], of_split = _check_split(dataset, name)
        found += of_split
    if not any(splits.values()):
        place = SPLITS if dataset.split_folders is not None else dataset.root.name
        found.append(Finding(kinds.NOTHING_TO_CHECK, place, f"splits read: {', '.join(chosen) or 'none'}"))
    found += _overlaps(splits)
    if split is None and dataset.split_folders is not None:
        found += _unlisted(dataset, splits)
    if dataset.name == "vost":
        found += _vost_counts(splits, split)
    return splits, found


def _check_split(dataset: Dataset, split: str) -> tuple[list[str], list[Finding]]:
    """Checks a split's list; returns its valid sequence names, each once, and the findings."""
    if dataset.split_folders is None:
        opened = dataset.of_split(split)
        if opened.missing():  # reported by check_folders
            return [], []
        try:
            return opened.sequences(), []
        except DataError as error:
            return [], [Finding(kinds.SPLIT_UNREADABLE, split, str(error))]
    path = split_path(dataset.root, split, dataset.split_folders)
    place = str(path.relative_to(dataset.root))
    try:
        lines = read_numbered_names(path)
    except DataError as error:
        return [], [Finding(kinds.SPLIT_UNREADABLE, place, str(error))]
    if not lines:
        return [], [Finding(kinds.SPLIT_EMPTY, place, "names no sequence")]
    names: dict[str, None] = {}
    found = []
    for number, name in lines:
        if problem := name_problem(name):
            found.append(Finding(kinds.SPLIT_BAD_NAME, place, f"line {number}: {problem}"))
            continue
        if name in names:
            found.append(Finding(kinds.SPLIT_TWICE, place, f"line {number}: {name}"))
        elif len(name.split()) > 1 and not (dataset.frames_folder / name).is_dir():
            found.append(Finding(kinds.SPLIT_WORDS, place, f"line {number}: {name!r}"))
        names[name] = None
    return list(names), found


def _overlaps(splits: dict[str, list[str]]) -> list[Finding]:
    homes: dict[str, list[str]] = {}
    for split, names in splits.items():
        for name in names:
            homes.setdefault(name, []).append(split)
    return [
        Finding(kinds.SPLITS_OVERLAP, name, f"in {', '.join(of)}")
        for name, of in homes.items()
        if len(of) > 1
    ]


def _unlisted(dataset: Dataset, splits: dict[str, list[str]]) -> list[Finding]:
    listed = {name for names in splits.values() for name in names}
    return [
        Finding(kinds.UNLISTED, name, f"{dataset.frames_folder.name}/{name}")
        for name in visible_folders(dataset.frames_folder)
        if name not in listed
    ]


def _vost_counts(splits: dict[str, list[str]], split: str | None) -> list[Finding]:
    found = []
    for name, expected in VOST_SEQUENCES.items():
        count = len(splits.get(name, []))
        if count != expected and split in (None, name):
            detail = f"{count} sequences, VOST has {expected}"
            found.append(Finding(kinds.VOST_COUNTS, f"{SPLITS}/{name}.txt", detail))
    return found
