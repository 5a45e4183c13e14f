"""Records what a sequence's masks were made from, so that they never pass for masks of other data.

The record is a file among the masks. Their folder gets its name only when complete, so the record always
belongs to these masks, however many processes there are and whenever one is killed.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.networks.managers.origin import differences
from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from evaluation.digests import digest_file
from evaluation.files import replace_text, require_regular

__all__ = ["changed_inputs", "input_fingerprints", "save_given"]

_FILE = ".given"  # hidden, since other tools take all visible files for masks
_UNREADABLE = "unreadable"


def input_fingerprints(sequence: VideoSequence) -> Mapping[str, str]:
    """Returns the SHA-256 of each given mask and the size of each image in bytes, by names for messages.

    Images are not read: that would take minutes for a dataset.
    """
    masks = [file for image in sequence.images for file in sequence.masks.get(image.stem, ())]
    folders = [f"{file.parent.name}/" if sequence.objects else "" for file in masks]
    digests = {
        f"mask {folder}{file.name}": _digest(file) for folder, file in zip(folders, masks, strict=True)
    }
    return digests | {f"image {path.name}": _size(path) for path in sequence.images}


def save_given(folder: Path, sequence: VideoSequence) -> None:
    """Records a sequence's given files in the folder of its masks. Raises ``DataError``."""
    replace_text(folder / _FILE, json.dumps(input_fingerprints(sequence), indent=1) + "\n")


def changed_inputs(result_dir: Path, sequences: Iterable[VideoSequence]) -> dict[str, str]:
    """Describes, for each sequence whose masks were made from other files, what has changed."""
    changed = {}
    for sequence in sequences:
        path = result_dir / sequence.name / _FILE
        try:
            require_regular(path)
            old = dict(parse_json(path.read_text(encoding="utf-8")))
        except FileNotFoundError:  # accepted: masks of an earlier version, which had no record
            continue
        except (OSError, DataError, ValueError, TypeError) as error:
            changed[sequence.name] = f"sequence {sequence.name}: {path} cannot be read ({error})"
            continue
        found = differences(old, input_fingerprints(sequence))
        if found:
            more = f" and {len(found) - 1} more files" if found[1:] else ""
            changed[sequence.name] = f"sequence {sequence.name}: {found[0]}{more}"
    return changed


def _digest(path: Path) -> str:
    """Computes a file's SHA-256. An unreadable file counts as changed; reading it later raises the error."""
    try:
        require_regular(path)
        return digest_file(path)
    except (OSError, DataError):
        return _UNREADABLE


def _size(path: Path) -> str:
    try:
        return f"{path.stat().st_size} bytes"
    except OSError:
        return _UNREADABLE
