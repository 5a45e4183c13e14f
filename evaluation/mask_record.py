"""The masks that figures were made of, noted beside them: old figures never pass for those of new masks."""

import hashlib
import json
from pathlib import Path
from typing import TypedDict

from evaluation.digests import digest_file
from evaluation.errors import DataError
from evaluation.files import replacing
from evaluation.vost import AnnotatedSequence

__all__ = ["MaskRecord", "check_record", "read_masks", "record_path", "save_record"]

_LISTED = 3


class MaskRecord(TypedDict):
    """A sequence's scored predictions: how many, and one SHA-256 of them and of its annotations."""

    masks: int
    sha256: str


def record_path(folder: Path, split: str) -> Path:
    """Names the file beside the figures of a split."""
    return folder / f"global_results-{split}.masks.json"


def read_masks(folder: Path, sequences: list[AnnotatedSequence]) -> dict[str, MaskRecord]:
    """Reads the masks of sequences as they are now; those that are missing are left out."""
    return {sequence.name: _record(folder, sequence) for sequence in sequences}


def _record(folder: Path, sequence: AnnotatedSequence) -> MaskRecord:
    annotations = [sequence.annotations / frame for frame in sequence.frames]
    predictions = [folder / sequence.name / frame for frame in sequence.scored_frames]
    there = [path for path in predictions if path.is_file()]
    digest = hashlib.sha256()
    for path in (*annotations, *there):
        digest.update(f"{path.name} {digest_file(path)}\n".encode())
    return {"masks": len(there), "sha256": digest.hexdigest()}


def save_record(folder: Path, split: str, masks: dict[str, MaskRecord]) -> None:
    """Writes the file."""
    with replacing(record_path(folder, split)) as path:
        path.write_text(json.dumps(masks, indent=1) + "\n", encoding="utf-8")


def check_record(folder: Path, split: str, sequences: list[AnnotatedSequence]) -> None:
    """Raises ``DataError`` if the figures are not of the masks and annotations that are there now."""
    path = record_path(folder, split)
    try:
        old = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{path}: the figures beside it may be of other masks, as it cannot be read ({reason}); "
            "--re evaluates again"
        ) from error
    new = read_masks(folder, sequences)
    changed = [name for name in dict.fromkeys([*new, *old]) if new.get(name) != old.get(name)]
    if changed:
        more = f" and {len(changed) - _LISTED} more sequences" if len(changed) > _LISTED else ""
        listed = ", ".join(changed[:_LISTED])
        counts = f"{_count(old)} were scored, {_count(new)} are there"
        raise DataError(
            f"{folder}: its figures are not of the masks that are there now, of {listed}{more} ({counts}); "
            "--re evaluates again"
        )


def _count(masks: dict[str, MaskRecord]) -> int:
    return sum(record["masks"] for record in masks.values())
