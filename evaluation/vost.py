"""VOST's layout on disk: splits, annotated frames, masks, and the predictions that belong to them.

A dataset holds ``ImageSets/<split>.txt`` (a sequence a line) and ``Annotations/<sequence>/<frame>.png``;
predictions are ``<results>/<sequence>/<frame>.png``. Masks are indexed or 8-bit grey PNG files of object ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import DataError
from evaluation.files import require_regular
from evaluation.home import home
from evaluation.masks import Mask, read_mask
from evaluation.metrics import MIN_ANNOTATED_FRAMES, count_objects

SPLITS = "ImageSets"
ANNOTATIONS = "Annotations"
TRACES = "traces"  # beside the sequences of a result folder
DATASET_FOLDERS = {"vost": "VOST", "mini_vost": "MiniVOST"}
_DATA = "aot_plus/datasets"  # from ``home``
_LONGEST_NAME = 255  # bytes; longer ones cannot be folders


@dataclass(frozen=True)
class AnnotatedSequence:
    """A sequence to score: its name, the folder of its annotations, all annotated frames in order."""

    name: str
    annotations: Path
    frames: tuple[str, ...]

    @property
    def scored_frames(self) -> tuple[str, ...]:
        """The frames that count: all but the first, which is given, and the last."""
        return self.frames[1:-1]


def dataset_folder(dataset: str) -> Path:
    """Returns the folder of ``vost``, ``mini_vost`` or a path. Raises ``DataError`` if it does not exist."""
    known = DATASET_FOLDERS.get(dataset)
    folder = home() / _DATA / known if known else Path(dataset)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such dataset folder")
    return folder


def list_splits(dataset: Path) -> list[str]:
    """Lists the splits that exist."""
    return sorted(path.stem for path in (dataset / SPLITS).glob("*.txt"))


def check_split_name(split: str) -> None:
    """Raises ``DataError`` for a name that is not that of a file."""
    if Path(split).name != split:
        raise DataError(f"{split!r} cannot be the name of a split")


def split_path(dataset: Path, split: str) -> Path:
    """Returns the path of a split's file. A missing one raises a ``DataError`` that lists the others."""
    check_split_name(split)
    path = dataset / SPLITS / f"{split}.txt"
    if not path.is_file():
        known = ", ".join(list_splits(dataset)) or "none"
        raise DataError(f"{path}: unknown split {split!r}; splits here: {known}")
    return path


def read_split(dataset: Path, split: str) -> list[str]:
    """Reads the names of the split's sequences, in its order.

    Raises ``DataError`` for an unknown or empty split, and as ``read_names`` does.
    """
    path = split_path(dataset, split)
    names = read_names(path)
    if not names:
        raise DataError(f"{path}: names no sequence")
    return names


def read_names(path: Path) -> list[str]:
    """Reads the sequences that a split file names, in its order; it may name none.

    Raises ``DataError`` with the line of a name that cannot be a sequence's folder, or that comes again.
    """
    first_lines: dict[str, int] = {}
    for number, name in named_lines(path):
        problem = name_problem(name)
        if name in first_lines:
            problem = f"{name!r} is named twice, first in line {first_lines[name]}"
        if problem:
            raise DataError(f"{path}, line {number}: {problem}")
        first_lines[name] = number
    return list(first_lines)


def named_lines(path: Path) -> list[tuple[int, str]]:
    """Reads the non-empty lines: their numbers, from 1, and the names on them. Raises ``DataError``."""
    require_regular(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of sequences ({error})") from error
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def name_problem(name: str) -> str | None:
    """Says why a name cannot be that of a sequence's folder; None if it can."""
    if len(name.encode()) > _LONGEST_NAME:
        return f"{name[:20]!r}... is longer than {_LONGEST_NAME} bytes"
    if "/" in name or "\0" in name or name.startswith("."):
        return f"{name!r} cannot be the name of a sequence's folder"
    if name == TRACES:
        return f"{name!r} cannot be the name of a sequence: a result folder has one of that name"
    return None


def annotation_paths(dataset: Path, sequence: str) -> list[Path]:
    """Lists a sequence's annotations in the order of their names; none if their folder is missing."""
    folder = dataset / ANNOTATIONS / sequence
    return sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))


def find_sequences(dataset: Path, split: str) -> list[AnnotatedSequence]:
    """Finds the sequences of a split, in its order, with their annotated frames in name order.

    Raises ``DataError`` that names every sequence with fewer than 3 annotated frames or none at all.
    """
    sequences, problems = [], []
    for name in read_split(dataset, split):
        try:
            sequences.append(find_sequence(dataset, name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return sequences


def find_sequence(dataset: Path, name: str) -> AnnotatedSequence:
    """Finds one sequence with its annotated frames. Raises ``DataError`` for fewer than 3 of them."""
    folder = dataset / ANNOTATIONS / name
    if not folder.is_dir():
        raise DataError(f"{name}: the annotation folder {folder} is missing")
    frames = tuple(path.name for path in annotation_paths(dataset, name))
    if len(frames) < MIN_ANNOTATED_FRAMES:
        needed = f"at least {MIN_ANNOTATED_FRAMES} annotated frames are needed"
        raise DataError(f"{name}: {needed}, {folder} has {len(frames)}")
    return AnnotatedSequence(name, folder, frames)


def check_predictions(results: Path, sequences: list[AnnotatedSequence]) -> None:
    """Raises ``DataError`` listing every missing prediction of a scored frame: sequence/frame.png."""
    missing = [
        f"{sequence.name}/{frame}"
        for sequence in sequences
        for frame in missing_predictions(results, sequence)
    ]
    if missing:
        listed = "\n".join(f"  {name}" for name in missing)
        raise DataError(f"predictions missing in {results}: {len(missing)}\n{listed}")


def missing_predictions(results: Path, sequence: AnnotatedSequence) -> list[str]:
    """Lists the scored frames of a sequence that have no prediction."""
    there = {path.name for path in (results / sequence.name).glob("*.png")}
    return [frame for frame in sequence.scored_frames if frame not in there]


def read_num_objects(sequence: AnnotatedSequence) -> int:
    """Counts the scored objects. Raises a ``DataError`` that names the first annotation."""
    path = sequence.annotations / sequence.frames[0]
    mask = read_mask(path)
    try:
        return count_objects(mask)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def mask_pairs(sequence: AnnotatedSequence, results: Path) -> Iterator[tuple[Mask, Mask]]:
    """(annotation, prediction) of each scored frame, read one at a time (uint8, H x W).

    Raises ``DataError`` that names the file: an unreadable mask, or a prediction of another size.
    """
    for frame in sequence.scored_frames:
        path = results / sequence.name / frame
        annotation, prediction = read_mask(sequence.annotations / frame), read_mask(path)
        if annotation.shape != prediction.shape:
            sizes = f"{_size(prediction)} pixels, its annotation is {_size(annotation)}"
            raise DataError(f"{path}: the prediction is {sizes}")
        yield annotation, prediction


def _size(mask: Mask) -> str:
    """Width x height, as image tools show it."""
    return f"{mask.shape[1]} x {mask.shape[0]}"
