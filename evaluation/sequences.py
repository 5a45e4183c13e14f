"""Describes the sequences to score: their annotated frames, and the predictions that belong to them.

Predictions are ``<results>/<sequence>/<frame>.png``. Masks are indexed, 8-bit grey or 1-bit PNG files of ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from evaluation.errors import DataError
from evaluation.masks import Mask, read_mask
from evaluation.metrics import count_objects
from evaluation.vost import TRACES, is_utf8, mask_paths, nested_copy, require_lower_case, visible_folders
from evaluation.words import format_list

_BINARY_VALUES = 2


@dataclass(frozen=True)
class ListedObject:
    """Holds an object of a meta file: its id, the frames that count for it (None: all), and its group.

    Figures are computed separately for each group, such as seen and unseen; empty if there are no groups.
    """

    number: int
    frames: frozenset[str] | None = None
    group: str = ""


@dataclass(frozen=True)
class AnnotatedSequence:
    """Describes a sequence to score.

    Attributes:
        name: its folder in the result folder.
        annotations: the folder of its annotations.
        frames: all annotated frames (file names) in order.
        ends: how many frames at the start and at the end do not count; usually the first, which is given,
            and the last.
        objects: the objects that a meta file lists, if there is one.
        binary: the masks show a single object: all pixels that are not 0.
    """

    name: str
    annotations: Path
    frames: tuple[str, ...]
    ends: tuple[int, int]
    objects: tuple[ListedObject, ...]
    binary: bool = False

    @property
    def scored_frames(self) -> tuple[str, ...]:
        """Returns the frames that count."""
        return self.frames[self.ends[0] : len(self.frames) - self.ends[1]]


def predicted_names(results: Path) -> list[str]:
    """Lists the sequences that have a folder of predictions; none if the folder ``results`` is missing."""
    return [name for name in visible_folders(results) if name != TRACES]


def find_sequence(
    name: str,
    folder: Path,
    ends: tuple[int, int],
    objects: tuple[ListedObject, ...] = (),
    *,
    binary: bool = False,
) -> AnnotatedSequence:
    """Describes the sequence in an annotation folder. Raises ``DataError`` if none of its frames counts."""
    if not folder.is_dir():
        raise DataError(f"{name}: the annotation folder {folder} is missing")
    require_lower_case(folder)
    frames = tuple(path.name for path in mask_paths(folder))
    needed = sum(ends) + 1
    if len(frames) < needed:
        needs = f"at least {needed} annotated frame{'s (.png) are' if needed > 1 else ' (.png) is'} needed"
        raise DataError(f"{name}: {needs}, {folder} has {len(frames)}")
    if foreign := [frame for frame in frames if not is_utf8(frame)]:
        raise DataError(f"{folder}: {foreign[0]!r} is not in UTF-8")
    return AnnotatedSequence(name, folder, frames, ends, objects, binary)


def check_predictions(results: Path, sequences: list[AnnotatedSequence]) -> None:
    """Raises ``DataError`` if predictions of scored frames are missing.

    It lists each, as sequence/frame.png, but a sequence that has none in one line.
    """
    count, lines, nested = 0, [], ""
    for sequence in sequences:
        missing = missing_predictions(results, sequence)
        count += len(missing)
        if len(missing) < len(sequence.scored_frames):
            lines += [f"  {sequence.name}/{frame}" for frame in missing]
        else:
            lines.append(f"  {sequence.name}: all {len(missing)}; {_instead(results, sequence)}")
            nested = nested or nested_predictions(results, sequence.name)
    if lines:
        raise DataError("\n".join([f"predictions missing in {results}: {count}{nested}", *lines]))


def nested_predictions(results: Path, name: str) -> str:
    """Returns where a sequence's folder is if it lies one folder too deep, for a message; else empty."""
    folder = results / name
    hint = "" if folder.is_dir() else nested_copy(results, folder)
    return f"; there is no folder {folder}{hint}" if hint else ""


def _instead(results: Path, sequence: AnnotatedSequence) -> str:
    """Returns what the folder of a sequence without any prediction holds, for a message."""
    folder = results / sequence.name
    if not folder.is_dir():
        return "there is no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return f"expected {sequence.scored_frames[0]} and so on, found {format_list(names, 1) or 'nothing'}"


def missing_predictions(results: Path, sequence: AnnotatedSequence) -> list[str]:
    """Lists the scored frames of a sequence that have no prediction."""
    there = {path.name for path in (results / sequence.name).glob("*.png")}
    return [frame for frame in sequence.scored_frames if frame not in there]


def num_objects(sequence: AnnotatedSequence, first: Mask) -> int:
    """Counts the scored objects in the first annotation's mask. Raises ``DataError`` that names its file."""
    try:
        return count_objects(first)
    except DataError as error:
        raise DataError(f"{sequence.annotations / sequence.frames[0]}: {error}") from error


def mask_pairs(sequence: AnnotatedSequence, results: Path) -> Iterator[tuple[Mask, Mask]]:
    """Yields (annotation, prediction) of each scored frame, read one at a time (uint8, H x W).

    In masks of a single object, it has id 1.
    Raises ``DataError`` that names the file: an unreadable mask, or a prediction of another size.
    """
    read = _read_binary if sequence.binary else read_mask
    for frame in sequence.scored_frames:
        path = results / sequence.name / frame
        annotation = read(sequence.annotations / frame)
        try:
            prediction = read(path)
        except DataError as error:
            raise DataError(f"{error}; if inference wrote it, remove it and rerun inference") from error
        if annotation.shape != prediction.shape:
            sizes = f"{_size(prediction)} pixels, its annotation is {_size(annotation)}"
            raise DataError(f"{path}: the prediction is {sizes}")
        yield annotation, prediction


def _size(mask: Mask) -> str:
    """Formats width x height, as image tools show it."""
    return f"{mask.shape[1]} x {mask.shape[0]}"


def _read_binary(path: Path) -> Mask:
    """Reads the mask of one object, which gets id 1. Raises ``DataError`` if it has more than two values."""
    mask = read_mask(path, binary=True)
    values = cv2.countNonZero(cv2.calcHist([mask], [0], None, [256], [0, 256]))
    if values > _BINARY_VALUES:
        raise DataError(f"{path}: the mask of one object has at most 2 values, found {values}")
    return np.minimum(mask, 1)
