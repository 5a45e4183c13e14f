"""Notes beside a sequence's masks what they were made of, so that they never pass for masks of other data.

The file lies among the masks. Their folder gets its name when it is whole, so the file is of these masks,
whenever a process is killed and however many there are.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.networks.managers.origin import differences
from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from evaluation.digests import digest_file
from evaluation.files import replacing, require_regular

__all__ = ["changed_inputs", "given_files", "save_given"]

_FILE = ".given"  # hidden: other tools take what they see in the folder for masks
_UNREADABLE = "unreadable"


def given_files(sequence: VideoSequence) -> Mapping[str, str]:
    """Returns the SHA-256 of each given mask and the bytes of each image, by names that messages show.

    Images are not read, since that would take minutes for a data set.
    """
    masks = [file for image in sequence.images for file in sequence.masks.get(image.stem, ())]
    folders = [f"{file.parent.name}/" if sequence.objects else "" for file in masks]
    digests = {
        f"mask {folder}{file.name}": _digest(file) for folder, file in zip(folders, masks, strict=True)
    }
    return digests | {f"image {path.name}": _size(path) for path in sequence.images}


def save_given(folder: Path, sequence: VideoSequence) -> None:
    """Notes what is given for a sequence in the folder of its masks. Raises ``DataError``."""
    with replacing(folder / _FILE) as path:
        path.write_text(json.dumps(given_files(sequence), indent=1) + "\n", encoding="utf-8")


def changed_inputs(result_dir: Path, sequences: Iterable[VideoSequence]) -> dict[str, str]:
    """Says of each sequence whose masks were made of other files, what has changed."""
    changed = {}
    for sequence in sequences:
        path = result_dir / sequence.name / _FILE
        try:
            require_regular(path)
            old = dict(parse_json(path.read_text(encoding="utf-8")))
        except FileNotFoundError:  # masks of an earlier version, which noted nothing: they are accepted
            continue
        except (OSError, DataError, ValueError, TypeError) as error:
            changed[sequence.name] = f"sequence {sequence.name}: {path} cannot be read ({error})"
            continue
        found = differences(old, given_files(sequence))
        if found:
            more = f" and {len(found) - 1} more files" if found[1:] else ""
            changed[sequence.name] = f"sequence {sequence.name}: {found[0]}{more}"
    return changed


def _digest(path: Path) -> str:
    """Computes a file's SHA-256. What cannot be read differs from what could; reading it tells the reason."""
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
