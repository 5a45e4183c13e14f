"""Reading the traces that inference writes: what happened to the memory bank, a JSON object a line."""

import json
from pathlib import Path
from typing import Any

from aot_plus.utils.errors import DataError

__all__ = ["Entry", "read_trace", "score_names"]

Entry = dict[
    str, Any
]  # "frame", "group", "bank" (frame numbers), "dropped" (one of them or None), and scores

_FACTS = frozenset({"frame", "group", "bank", "dropped"})


def read_trace(path: Path) -> list[Entry]:
    """The appended frames of a video, in their order. Raises ``DataError`` naming the file."""
    try:
        return [_entry(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such trace; tools.eval writes it with --trace") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as a trace ({error!r})") from error


def score_names(entry: Entry) -> list[str]:
    """Names of an entry's scores, each a list of numbers in the order of its ``bank``."""
    return [name for name in entry if name not in _FACTS]


def _entry(line: str) -> Entry:
    """A line's values; ``ValueError``, ``KeyError`` or ``TypeError`` if inference would not write it."""
    entry: Entry = json.loads(line)
    whole = [entry["frame"], entry["group"], *entry["bank"]]
    if not all(isinstance(value, int) for value in whole):
        raise ValueError("frames and groups must be whole numbers")
    if entry["dropped"] not in (None, *entry["bank"]):
        raise ValueError(f"the dropped frame {entry['dropped']!r} is not in the bank")
    for name in score_names(entry):
        if len(entry[name]) != len(entry["bank"]) or not all(isinstance(v, int | float) for v in entry[name]):
            raise ValueError(f"{name}: expected a number for each of the {len(entry['bank'])} frames")
    return entry
