"""Checks of a dataset as a whole: its folders, its split files, and which sequences those name."""

from pathlib import Path

from aot_plus.dataloaders.dataset_check import findings as kinds
from aot_plus.dataloaders.dataset_check.findings import Finding
from aot_plus.dataloaders.eval_datasets import FRAMES, Dataset
from aot_plus.utils.errors import DataError
from evaluation.vost import ANNOTATIONS, SPLITS, name_problem, named_lines, split_path

IMAGES_5FPS = "JPEGImages"
VOST_SEQUENCES = {"train": 572, "val": 70, "test": 71}


def check_folders(dataset: Dataset) -> list[Finding]:
    """Checks the dataset's folders, apart from that of its splits."""
    found = [
        Finding(kinds.FOLDER_MISSING, folder, "there is no such folder")
        for folder in (FRAMES, ANNOTATIONS)
        if not (dataset.root / folder).is_dir()
    ]
    if not (dataset.root / IMAGES_5FPS).is_dir():
        found.append(Finding(kinds.NO_JPEGIMAGES, str(dataset.root), f"no folder {IMAGES_5FPS}"))
    return found


def check_splits(dataset: Dataset, split: str | None) -> tuple[dict[str, list[str]], list[Finding]]:
    """Checks the files of ``split`` or, with None, of every split; returns their sequences and the findings.

    Raises ``DataError`` for an unknown split.
    """
    chosen = dataset.splits() if split is None else [split]
    splits: dict[str, list[str]] = {}
    found: list[Finding] = []
    for name in chosen:
        splits[name], of_split = _check_split(dataset, name)
        found += of_split
    if not any(splits.values()):
        found.append(Finding(kinds.NOTHING_TO_CHECK, SPLITS, f"splits read: {', '.join(chosen) or 'none'}"))
    found += _overlaps(splits)
    if split is None:
        found += _unlisted(dataset, splits)
    if dataset.name == "vost":
        found += _vost_counts(splits, split)
    return splits, found


def _check_split(dataset: Dataset, split: str) -> tuple[list[str], list[Finding]]:
    """Checks a split's file; returns its possible sequence names, each once, and the findings."""
    path = split_path(dataset.root, split)
    place = f"{SPLITS}/{path.name}"
    try:
        lines = named_lines(path)
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
        elif len(name.split()) > 1 and not (dataset.root / FRAMES / name).is_dir():
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
        Finding(kinds.UNLISTED, folder.name, f"{FRAMES}/{folder.name}")
        for folder in _visible_folders(dataset.root / FRAMES)
        if folder.name not in listed
    ]


def _visible_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _vost_counts(splits: dict[str, list[str]], split: str | None) -> list[Finding]:
    found = []
    for name, expected in VOST_SEQUENCES.items():
        count = len(splits.get(name, []))
        if count != expected and split in (None, name):
            detail = f"{count} sequences, VOST has {expected}"
            found.append(Finding(kinds.VOST_COUNTS, f"{SPLITS}/{name}.txt", detail))
    return found
