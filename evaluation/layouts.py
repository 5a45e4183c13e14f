"""Finds the sequences of a dataset that a protocol scores, in every supported layout on disk."""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.datasets import OTHER_SPLIT, SPLIT_FOLDERS, dataset_folder
from evaluation.errors import DataError
from evaluation.files import is_folder, require_regular
from evaluation.protocols import Protocol
from evaluation.sequences import (
    AnnotatedSequence,
    ListedObject,
    find_sequence,
    nested_predictions,
    predicted_names,
)
from evaluation.vost import (
    ANNOTATIONS,
    check_names,
    check_split_name,
    find_all,
    read_names,
    read_split,
    visible_folders,
)

__all__ = [
    "Finders",
    "Truth",
    "annotations_folder",
    "ground_truth",
    "known_truth",
    "meta_path",
    "read_videos",
    "scored_sequences",
    "sequence_finders",
]

_log = logging.getLogger(__name__)

_SAV_ANNOTATIONS = "Annotations_6fps"
_LVOS_STEP = 5  # frame numbers between two annotations

# By the name of the folder of predictions: a function that returns its sequences (SA-V: one per object).
Finders = dict[str, Callable[[], list[AnnotatedSequence]]]


def scored_sequences(
    dataset: Path, results: Path, split: str | None, protocol: Protocol
) -> list[AnnotatedSequence]:
    """Finds the sequences that the protocol scores, in the order of the split or of their names.

    Args:
        dataset: the folder of the ground truth.
        results: the folder of the predictions.
        split: None for the protocol's default.
    Raises:
        DataError: naming every sequence with too few annotated frames, or everything wrong with the split.
    """
    finders = sequence_finders(dataset, results, split, protocol)
    found = find_all(lambda name: finders[name](), finders)
    return [sequence for sequences in found for sequence in sequences]


def sequence_finders(dataset: Path, results: Path, split: str | None, protocol: Protocol) -> Finders:
    """Returns a function for each name that finds its sequences, so that each can fail separately.

    Takes the same arguments as ``scored_sequences``. Raises ``DataError`` if the dataset is no folder.
    """
    if not is_folder(dataset):
        raise DataError(f"{dataset}: there is no such dataset folder")
    split = protocol.split if split is None else split
    if protocol.layout == "folders" or split is None:
        return _of_folders(dataset, results, split, protocol)
    if protocol.layout == "splits":
        return _of_split(dataset, split, protocol)
    return _of_meta(dataset, split, protocol)


class Truth(NamedTuple):
    """Says where the ground truth is, in the terms of ``scored_sequences``."""

    root: Path
    split: str | None  # None for all sequences there
    protocol: Protocol  # adapted to the layout


def known_truth(name: str, split: str | None, protocol: Protocol) -> Truth:
    """Finds the ground truth of a known dataset.

    Args:
        name: a key of ``DATASET_FOLDERS``, or a path, which is used as it is.
        split: None for the protocol's default, or val if it has none.
    Raises:
        DataError: there is no such folder, or no such split in it.
    """
    root, part = dataset_folder(name), SPLIT_FOLDERS.get(name)
    if part is None:
        return Truth(root, split, protocol)
    wanted = (split or protocol.split or "val").removeprefix(part.partition("{split}")[0])
    check_split_name(wanted)
    for one in (wanted, OTHER_SPLIT.get(wanted, wanted)):
        for folder in (root / part.format(split=one), root / ANNOTATIONS / one):
            if folder.is_dir():
                return ground_truth(root, folder, one, protocol)
    raise DataError(f"{root / part.format(split=wanted)}: there is no such folder; it should hold the split")


def ground_truth(root: Path, folder: Path, split: str, protocol: Protocol) -> Truth:
    """Finds the ground truth of a dataset without ``ImageSets``. ``folder``: the split's, or the root."""
    if protocol.layout not in ("splits", "folders"):
        return Truth(root, split, protocol)
    listed = folder != root and (folder / f"{folder.name}.txt").is_file()
    return Truth(folder, folder.name if listed else None, replace(protocol, layout="folders", split=None))


def _of_split(dataset: Path, split: str, protocol: Protocol) -> Finders:
    """Reads ``ImageSets/[<year>/]<split>.txt`` and ``Annotations/[480p/]<sequence>/<frame>.png``."""
    masks = annotations_folder(dataset)
    names = read_split(dataset, split, protocol.split_folders)
    return {name: partial(_of_masks, masks / name, protocol) for name in names}


def annotations_folder(folder: Path) -> Path:
    """Returns the folder that holds a folder of masks for each sequence."""
    for name in (f"{ANNOTATIONS}/480p", _SAV_ANNOTATIONS, ANNOTATIONS):
        if (folder / name).is_dir():
            return folder / name
    return folder


def _of_folders(dataset: Path, results: Path, split: str | None, protocol: Protocol) -> Finders:
    """Uses the folders in both ground truth and results, or the folders that ``<split>.txt`` names."""
    masks = annotations_folder(dataset)
    if split is not None:
        names = _listed_names(dataset, split, protocol)
    else:
        names = _common_names(masks, results, protocol)
    return {name: partial(_of_folder, masks / name, protocol) for name in names}


def _common_names(masks: Path, results: Path, protocol: Protocol) -> list[str]:
    if not results.is_dir():
        raise DataError(f"{results}: there is no such folder of masks")
    annotated = visible_folders(masks)
    predicted = predicted_names(results)
    names = [name for name in annotated if name in predicted]
    check_names(names, masks)
    if not names:
        nested = nested_predictions(results, annotated[0]) if annotated else ""
        raise DataError(f"{masks} and {results} have no sequence in common{nested}")
    if alone := sorted({*annotated} ^ {*predicted}):
        problem = f"only one of {masks} and {results} has {', '.join(alone)}"
        if protocol.strict:
            raise DataError(problem)
        _log.warning("%s: not scored", problem)
    return names


def _listed_names(dataset: Path, split: str, protocol: Protocol) -> list[str]:
    path = dataset / f"{split}.txt"
    return read_names(path) if path.is_file() else read_split(dataset, split, protocol.split_folders)


def _of_folder(folder: Path, protocol: Protocol) -> list[AnnotatedSequence]:
    """Finds one sequence, or, in a folder of folders (SA-V), one for each object."""
    objects = visible_folders(folder)
    if not objects:
        return _of_masks(folder, protocol)
    return [
        find_sequence(f"{folder.name}/{one}", folder / one, protocol.ends, binary=True) for one in objects
    ]


def _of_masks(folder: Path, protocol: Protocol) -> list[AnnotatedSequence]:
    return [find_sequence(folder.name, folder, protocol.ends)]


def _of_meta(dataset: Path, split: str, protocol: Protocol) -> Finders:
    """Reads ``<split>/Annotations/<video>/<frame>.png``, and the objects in the file of ``meta_path``."""
    path = meta_path(dataset, split)
    videos = read_videos(path)
    objects = _META_OBJECTS[protocol.layout](dataset, protocol)
    return {name: partial(_of_video, path, name, video, objects, protocol) for name, video in videos.items()}


def meta_path(dataset: Path, split: str) -> Path:
    """Returns the path of the file that lists a split's videos and objects; it may be missing."""
    folder = dataset / split
    paths = [folder / f"{split}_meta.json", folder / "meta.json", dataset / "meta.json"]
    return next((path for path in paths if path.is_file()), paths[0])


ObjectsOf = Callable[[str, Mapping[str, Any]], list[ListedObject]]


def _of_video(
    path: Path, name: str, video: Mapping[str, Any], objects: ObjectsOf, protocol: Protocol
) -> list[AnnotatedSequence]:
    """Finds the sequence of a video in a meta file. Raises ``DataError`` if its entry is malformed."""
    try:
        listed = tuple(sorted(objects(name, video), key=lambda one: one.number))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: {name}: its objects cannot be read ({error!r})") from error
    if not listed or not all(1 <= one.number <= 255 for one in listed):
        raise DataError(f"{path}: {name}: expected objects with ids in 1..255")
    folder = annotations_folder(path.parent) / name
    frames = [one.frames for one in listed]
    if None in frames:
        return [find_sequence(name, folder, protocol.ends, listed)]
    empty = [str(one.number) for one in listed if not one.frames]
    if empty:
        raise DataError(f"{path}: {name}: no frame counts for object {', '.join(empty)}")
    of_any = sorted(frozenset[str]().union(*(one for one in frames if one)))
    return [AnnotatedSequence(name, folder, tuple(of_any), (0, 0), listed)]


def read_videos(path: Path) -> dict[str, Any]:
    """Reads the entries of all videos from a meta file.

    Raises ``DataError`` if it is missing or damaged, or names a video that cannot have a folder.
    """
    require_regular(path)
    try:
        videos = dict[str, Any](json.loads(path.read_text(encoding="utf-8"))["videos"])
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file, nor meta.json, with the objects to score") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path}: expected a JSON file with "videos" ({error!r})') from error
    check_names(videos, path)
    return videos


def _lvos_objects(dataset: Path, protocol: Protocol) -> ObjectsOf:
    """Reads each object's range of frames (its ends do not count), and if its video is seen or unseen."""
    path = dataset / "unseen_videos.txt"
    if not path.exists():
        raise DataError(
            f"{path}: there is no such file; it lists the videos of unseen categories, one per line"
        )
    unseen = {*read_names(path)}

    def objects(name: str, video: Mapping[str, Any]) -> list[ListedObject]:
        group = "unseen" if name in unseen else "seen"
        return [
            ListedObject(int(number), _counted(_lvos_frames(one["frame_range"]), protocol), group)
            for number, one in video["objects"].items()
        ]

    return objects


def _lvos_frames(frames: Mapping[str, Any]) -> list[str]:
    start = str(frames["start"])
    numbers = (int(start) + _LVOS_STEP * index for index in range(int(frames["frame_nums"])))
    return [f"{number:0{len(start)}d}" for number in numbers]


def _counted(frames: list[str], protocol: Protocol) -> frozenset[str]:
    before, after = protocol.ends
    return frozenset(f"{frame}.png" for frame in frames[before : len(frames) - after])


def _mosev2_objects(dataset: Path, protocol: Protocol) -> ObjectsOf:
    return lambda name, video: [ListedObject(int(number)) for number in video["objects"]]


def _youtube_vos_objects(dataset: Path, protocol: Protocol) -> ObjectsOf:
    """Reads each object's list of frames; an object is seen if the training set has its category."""
    path = dataset / "train" / "meta.json"
    training = read_videos(path).values() if path.is_file() else []
    try:
        seen = {one.get("category") for video in training for one in video["objects"].values()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected videos with objects that have a category ({error!r})") from error

    def objects(name: str, video: Mapping[str, Any]) -> list[ListedObject]:
        return [
            ListedObject(int(number), _counted(sorted(one["frames"]), protocol), _group(one, seen))
            for number, one in video["objects"].items()
        ]

    return objects


def _group(one: Mapping[str, Any], seen: set[str | None]) -> str:
    category = one.get("category")
    return "" if category is None or not seen else "seen" if category in seen else "unseen"


_META_OBJECTS: dict[str, Callable[[Path, Protocol], ObjectsOf]] = {
    "lvos": _lvos_objects,
    "mosev2": _mosev2_objects,
    "youtube-vos": _youtube_vos_objects,
}
