"""VOST's layout on disk: splits, annotated frames, masks, and the predictions that belong to them.

A dataset holds ``ImageSets/<split>.txt`` (a sequence a line) and ``Annotations/<sequence>/<frame>.png``;
predictions are ``<results>/<sequence>/<frame>.png``. Masks are indexed or 8-bit grey PNG files of object ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluation.errors import DataError
from evaluation.home import home
from evaluation.masks import Mask, read_mask
from evaluation.metrics import MIN_ANNOTATED_FRAMES, count_objects

DATASET_FOLDERS = {"vost": "VOST", "mini_vost": "MiniVOST"}
_DATA = "aot_plus/datasets"  # from ``home``


@dataclass(frozen=True)
class Sequence:
    """A sequence to score: its name, the folder of its annotations, all annotated frames in order."""

    name: str
    annotations: Path
    frames: tuple[str, ...]

    @property
    def scored_frames(self) -> tuple[str, ...]:
        """The frames that count: all but the first, which is given, and the last."""
        return self.frames[1:-1]


def dataset_folder(dataset: str) -> Path:
    """The folder of ``vost``, ``mini_vost`` or a path. Raises ``DataError`` if it is not there."""
    known = DATASET_FOLDERS.get(dataset)
    folder = home() / _DATA / known if known else Path(dataset)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such dataset folder")
    return folder


def read_split(dataset: Path, split: str) -> list[str]:
    """The names of the split's sequences, in its order.

    Raises ``DataError`` for an unknown split (the message lists the known ones), and for one that is
    empty or unreadable, or that names a sequence twice.
    """
    path = dataset / "ImageSets" / f"{split}.txt"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.txt"))) or "none"
        raise DataError(f"unknown split {split!r}: there is no {path}; splits that are there: {known}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        problem = f"names {', '.join(twice)} more than once" if twice else "names no sequence"
        raise DataError(f"{path}: {problem}")
    return names


def find_sequences(dataset: Path, split: str) -> list[Sequence]:
    """The sequences of a split, in its order, with their annotated frames in name order.

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


def find_sequence(dataset: Path, name: str) -> Sequence:
    """One sequence with its annotated frames. Raises ``DataError`` for fewer than 3 of them."""
    folder = dataset / "Annotations" / name
    if not folder.is_dir():
        raise DataError(f"{name}: the annotation folder {folder} is missing")
    frames = sorted(path.name for path in folder.glob("*.png") if not path.name.startswith("."))
    if len(frames) < MIN_ANNOTATED_FRAMES:
        needed = f"at least {MIN_ANNOTATED_FRAMES} annotated frames are needed"
        raise DataError(f"{name}: {needed}, {folder} has {len(frames)}")
    return Sequence(name, folder, tuple(frames))


def check_predictions(results: Path, sequences: list[Sequence]) -> None:
    """Raises ``DataError`` listing every missing prediction of a scored frame: sequence/frame.png."""
    if not results.is_dir():
        raise DataError(f"{results}: there is no such result folder")
    missing = [
        f"{sequence.name}/{frame}"
        for sequence in sequences
        for frame in missing_predictions(results, sequence)
    ]
    if missing:
        listed = "\n".join(f"  {name}" for name in missing)
        raise DataError(f"predictions missing in {results}: {len(missing)}\n{listed}")


def missing_predictions(results: Path, sequence: Sequence) -> list[str]:
    """The scored frames of a sequence that have no prediction."""
    there = {path.name for path in (results / sequence.name).glob("*.png")}
    return [frame for frame in sequence.scored_frames if frame not in there]


def read_num_objects(sequence: Sequence) -> int:
    """How many objects the sequence scores. Raises ``DataError`` that names its first annotation."""
    path = sequence.annotations / sequence.frames[0]
    mask = read_mask(path)
    try:
        return count_objects(mask)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def mask_pairs(sequence: Sequence, results: Path) -> Iterator[tuple[Mask, Mask]]:
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
