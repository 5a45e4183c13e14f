"""Records the masks and the code that figures were computed from, so that outdated figures are detected."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

from evaluation.digests import digest_file, digest_files
from evaluation.errors import DataError
from evaluation.files import replace_text
from evaluation.sequences import AnnotatedSequence
from evaluation.words import format_list

__all__ = ["MaskRecord", "check_record", "read_masks", "record_path", "save_record"]

_LISTED = 3  # a message names at most this many sequences


class MaskRecord(TypedDict):
    """Identifies what the figures of a sequence were computed from.

    ``sha256`` is of its annotations and scored predictions, ``code`` of the metric's source files.
    """

    sha256: str
    code: str


def record_path(figures: Path) -> Path:
    """Returns the path of the record beside a CSV file of figures."""
    return figures.with_suffix(".masks.json")


def read_masks(folder: Path, sequences: list[AnnotatedSequence]) -> dict[str, MaskRecord]:
    """Returns the records of the sequences' masks as they are now; missing masks are left out."""
    return {sequence.name: _record(folder, sequence) for sequence in sequences}


def _record(folder: Path, sequence: AnnotatedSequence) -> MaskRecord:
    annotations = [sequence.annotations / frame for frame in sequence.frames]
    predictions = [folder / sequence.name / frame for frame in sequence.scored_frames]
    there = [path for path in predictions if path.is_file()]
    digest = hashlib.sha256()
    for path in (*annotations, *there):
        digest.update(f"{path.name} {digest_file(path)}\n".encode())
    return {"sha256": digest.hexdigest(), "code": _digest_code()}


@cache
def _digest_code() -> str:
    package = Path(__file__).parent
    return digest_files(package, package.glob("*.py"))


def save_record(figures: Path, masks: dict[str, MaskRecord]) -> None:
    """Writes the record beside a CSV file of figures."""
    replace_text(record_path(figures), json.dumps(masks, indent=1) + "\n")


def check_record(figures: Path, sequences: list[AnnotatedSequence]) -> None:
    """Raises ``DataError`` unless the figures are of the current masks, annotations and code."""
    folder, path = figures.parent, record_path(figures)
    try:
        old = {name: _as_record(one) for name, one in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{path}: cannot be read ({reason}), so the figures beside it may be of other masks; "
            "--re evaluates again"
        ) from error
    new = read_masks(folder, sequences)
    if any(name in new and record["code"] != _digest_code() for name, record in old.items()):
        raise DataError(f"{figures}: made by another version of the metric's code; --re evaluates again")
    changed = [name for name in dict.fromkeys([*new, *old]) if new.get(name) != old.get(name)]
    if changed:
        raise DataError(
            f"{folder}: its figures are not of the current masks and annotations of "
            f"{format_list(changed, _LISTED)}; --re evaluates again"
        )


def _as_record(found: Mapping[str, Any]) -> MaskRecord:
    return {"sha256": str(found["sha256"]), "code": str(found["code"])}
