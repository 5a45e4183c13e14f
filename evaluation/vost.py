"""Lists the sequences of a split and the masks in a folder, as in VOST's layout.

A dataset holds ``ImageSets/<split>.txt`` (one sequence per line) and ``Annotations/<sequence>/<frame>.png``.
"""

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from evaluation.errors import DataError
from evaluation.files import require_regular
from evaluation.words import format_list

SPLITS = "ImageSets"
ANNOTATIONS = "Annotations"
TRACES = "traces"  # beside the sequences of a result folder
_MAC_FILES = "__MACOSX"
_LONGEST_NAME = 255  # bytes; longer ones cannot be folders
_LONGEST_SPLIT = 200  # bytes; names of files of figures contain it

Found = TypeVar("Found")


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
    if not is_utf8(name):
        return f"{name!r} is not in UTF-8"
    if len(name.encode()) > _LONGEST_NAME:
        return f"{name[:20]!r}... is longer than {_LONGEST_NAME} bytes"
    if "/" in name or "\0" in name or name.startswith("."):
        return f"{name!r} cannot be the name of a sequence's folder"
    if name == TRACES:
        return f"{name!r} cannot be the name of a sequence: a result folder has one of that name"
    return None


def is_utf8(name: str) -> bool:
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
