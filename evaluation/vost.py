"""Reads VOST's layout on disk: splits, annotated frames, masks, and the predictions that belong to them.

A dataset holds ``ImageSets/<split>.txt`` (one sequence per line) and ``Annotations/<sequence>/<frame>.png``;
predictions are ``<results>/<sequence>/<frame>.png``. Masks are indexed, 8-bit grey or 1-bit PNG files of
object ids.
"""

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from evaluation.errors import DataError
from evaluation.files import require_regular
from evaluation.masks import Mask, read_mask
from evaluation.metrics import count_objects
from evaluation.words import format_list

SPLITS = "ImageSets"
ANNOTATIONS = "Annotations"
TRACES = "traces"  # beside the sequences of a result folder
_MAC_FILES = "__MACOSX"
_LONGEST_NAME = 255  # bytes; longer ones cannot be folders
_LONGEST_SPLIT = 200  # bytes; names of files of figures contain it
_BINARY_VALUES = 2

Found = TypeVar("Found")


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


def check_split_name(split: str) -> None:
    """Raises ``DataError`` for a name that cannot be a file name."""
    if Path(split).name != split or "\0" in split or len(os.fsencode(split)) > _LONGEST_SPLIT:
        raise DataError(f"{split!r} cannot be the name of a split")


def split_path(dataset: Path, split: str, folders: Sequence[str] = ("",)) -> Path:
    """Returns the path of a split's file, in the first of the ``folders`` of ``ImageSets`` that has it.

    Raises ``DataError`` if there is no such file; it lists the existing splits.
    """
    check_split_name(split)
    paths = [dataset / SPLITS / folder / f"{split}.txt" for folder in folders]
    for path in paths:
        if path.is_file():
            return path
    if not (dataset / SPLITS).is_dir():
        raise DataError(f"{dataset}: there is no folder {SPLITS}{nested_copy(dataset, dataset / SPLITS)}")
    known = sorted({other.stem for path in paths for other in path.parent.glob("*.txt")})
    found = f"splits here: {', '.join(known) or 'none'}"
    if others := sorted((dataset / SPLITS).glob(f"*/{glob.escape(split)}.txt")):
        found += f"; other protocols read {', '.join(map(str, others))}"
    raise DataError(f"{paths[0]}: unknown split {split!r}; {found}")


def read_split(dataset: Path, split: str, folders: Sequence[str] = ("",)) -> list[str]:
    """Reads the names of the split's sequences, in its order. ``folders``: as for ``split_path``.

    Raises ``DataError`` for an unknown or empty split, and like ``read_names``.
    """
    path = split_path(dataset, split, folders)
    names = read_names(path)
    if not names:
        raise DataError(f"{path}: names no sequence")
    return names


def read_names(path: Path) -> list[str]:
    """Reads the sequences that a split file names, in its order; it may name none.

    Raises ``DataError`` with the line of a name that cannot be a sequence's folder, or that is repeated.
    """
    first_lines: dict[str, int] = {}
    for number, name in read_numbered_names(path):
        problem = name_problem(name)
        if name in first_lines:
            problem = f"{name!r} is named twice, first in line {first_lines[name]}"
        if problem:
            raise DataError(f"{path}, line {number}: {problem}")
        first_lines[name] = number
    return list(first_lines)


def read_numbered_names(path: Path) -> list[tuple[int, str]]:
    """Reads the non-empty lines: their numbers, from 1, and the names on them. Raises ``DataError``."""
    require_regular(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of sequences ({error})") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def name_problem(name: str) -> str | None:
    """Returns why a name cannot be the name of a sequence's folder; None if it can."""
    if not _is_utf8(name):
        return f"{name!r} is not in UTF-8"
    if len(name.encode()) > _LONGEST_NAME:
        return f"{name[:20]!r}... is longer than {_LONGEST_NAME} bytes"
    if "/" in name or "\0" in name or name.startswith("."):
        return f"{name!r} cannot be the name of a sequence's folder"
    if name == TRACES:
        return f"{name!r} cannot be the name of a sequence: a result folder has one of that name"
    return None


def _is_utf8(name: str) -> bool:
    """Returns whether a name, from the disk or from JSON, can be written to a text file."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_names(names: Iterable[str], place: Path) -> None:
    """Raises ``DataError`` for the first name that cannot be a sequence's folder. ``place``: their source."""
    if problem := next(filter(None, map(name_problem, names)), None):
        raise DataError(f"{place}: {problem}")


def visible_folders(folder: Path) -> list[str]:
    """Lists the names of a folder's subfolders in order; empty if it is missing.

    Hidden folders are left out, and ``__MACOSX``, which archives made on a Mac unpack beside their content.
    """
    if not folder.is_dir():
        return []
    names = [path.name for path in folder.iterdir() if path.is_dir()]
    return sorted(name for name in names if not name.startswith(".") and name != _MAC_FILES)


def mask_paths(folder: Path) -> list[Path]:
    """Lists a folder's PNG files in the order of their names; none if it is missing."""
    return sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))


def is_upper_case_png(path: Path) -> bool:
    """Returns whether a name ends in .PNG, or in any other spelling than .png."""
    return path.suffix.lower() == ".png" != path.suffix


def require_lower_case(folder: Path) -> None:
    """Raises ``DataError`` if the name of a mask ends in .PNG, because it would silently be left out."""
    names = (path.name for path in folder.glob("*") if is_upper_case_png(path))
    if upper := sorted(name for name in names if not name.startswith(".")):
        found = format_list(upper, 1)
        raise DataError(f"{folder}: names of masks must end in .png in lower case, found {found}")


def nested_copy(root: Path, wanted: Path) -> str:
    """Returns where a missing folder is if its archive was unpacked one folder too deep, for a message.

    Empty if there is no such place. ``wanted``: the missing folder, usually in the dataset's ``root``.
    """
    for folder in (wanted.parent, root):
        inner = wanted.relative_to(folder) if wanted.is_relative_to(folder) else wanted.name
        for name in visible_folders(folder):
            if (folder / name / inner).is_dir():
                return f", but {folder / name} has it: move the content of that folder to {folder}"
    return ""


def find_all(find: Callable[[str], Found], names: Iterable[str]) -> list[Found]:
    """Returns ``find``'s result for each name. Raises one ``DataError`` with the problems of all."""
    found, problems = [], []
    for name in names:
        try:
            found.append(find(name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return found


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
    if foreign := [frame for frame in frames if not _is_utf8(frame)]:
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
        annotation, prediction = (read(mask) for mask in (sequence.annotations / frame, path))
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
