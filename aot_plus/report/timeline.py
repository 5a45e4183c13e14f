"""The memory's history of a video, from the trace that inference wrote: which frame was stored when."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aot_plus.utils.errors import DataError

__all__ = ["GroupTimeline", "StoredFrame", "read_timelines"]

_FACTS = frozenset({"frame", "group", "bank", "dropped"})


@dataclass
class StoredFrame:
    """A frame in the memory bank.

    Attributes:
        frame: its number, which is also when it came.
        until: number of the frame that it made room for; None if it stayed to the end.
        scores: (number of the appended frame, values in the order of the timeline's ``names``) for every
            append that the policy looked at scores for; a value is None where that score was not computed.
    """

    frame: int
    until: int | None = None
    scores: list[tuple[int, list[float | None]]] = field(default_factory=list)


@dataclass
class GroupTimeline:
    """The stored frames of one group of objects, in the order they came, and the names of their scores."""

    group: int
    names: list[str]
    stored: list[StoredFrame]


def read_timelines(path: Path) -> list[GroupTimeline]:
    """The timelines of a trace, a JSON object a line. Raises ``DataError`` naming the file."""
    entries: dict[int, list[dict[str, Any]]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = _entry(line)
            entries.setdefault(entry["group"], []).append(entry)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as a trace ({error!r})") from error
    return [_timeline(group, found) for group, found in sorted(entries.items())]


def _entry(line: str) -> dict[str, Any]:
    """A line's values; ``ValueError``, ``KeyError`` or ``TypeError`` if inference would not write it."""
    entry: dict[str, Any] = json.loads(line)
    whole = [entry["frame"], entry["group"], *entry["bank"]]
    if not all(isinstance(value, int) for value in whole):
        raise ValueError("frames and groups must be whole numbers")
    if entry["dropped"] not in (None, *entry["bank"]):
        raise ValueError(f"the dropped frame {entry['dropped']!r} is not in the bank")
    for name in _score_names(entry):
        if len(entry[name]) != len(entry["bank"]) or not all(isinstance(v, int | float) for v in entry[name]):
            raise ValueError(f"{name}: expected a number for each of the {len(entry['bank'])} frames")
    return entry


def _score_names(entry: dict[str, Any]) -> list[str]:
    return [name for name in entry if name not in _FACTS]


def _timeline(group: int, entries: list[dict[str, Any]]) -> GroupTimeline:
    names = list(dict.fromkeys(name for entry in entries for name in _score_names(entry)))
    stored: dict[int, StoredFrame] = {}
    for entry in entries:
        for position, frame in enumerate(entry["bank"]):
            row = stored.setdefault(frame, StoredFrame(frame))
            values = [float(entry[name][position]) if name in entry else None for name in names]
            if any(value is not None for value in values):
                row.scores.append((entry["frame"], values))
        stored.setdefault(entry["frame"], StoredFrame(entry["frame"]))
        if entry["dropped"] is not None:
            stored[entry["dropped"]].until = entry["frame"]
    return GroupTimeline(group, names, sorted(stored.values(), key=lambda row: row.frame))
