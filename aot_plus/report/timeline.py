"""Reads a video's memory history from the trace that inference wrote: which frames were stored when."""

import math
from dataclasses import dataclass, field
from pathlib import Path

from aot_plus.networks.memory.trace import TraceEntry, read_trace

__all__ = ["GroupTimeline", "Stay", "read_timelines"]


@dataclass
class Stay:
    """Describes a frame's stay in the memory bank.

    Attributes:
        frame: the frame's number, which is also the time of its arrival.
        reference: the frame came with a mask, or the group's objects began in it.
        until: number of the frame for which it was dropped; None if it stayed to the end.
        scores: for each append for which the policy computed scores: the number of the appended frame, and
            the values in the order of the timeline's ``names``, None where there is none.
    """

    frame: int
    reference: bool = False
    until: int | None = None
    scores: list[tuple[float | None, ...]] = field(default_factory=list)


@dataclass
class GroupTimeline:
    """Holds the stored frames of one group of objects, in order of arrival, and the names of their scores."""

    group: int
    names: list[str]
    stored: list[Stay]


def read_timelines(path: Path) -> list[GroupTimeline]:
    """Reads the timelines of a trace. Raises a ``DataError`` that names the file."""
    entries: dict[int, list[TraceEntry]] = {}
    for entry in read_trace(path):
        entries.setdefault(entry.group, []).append(entry)
    return [_timeline(group, found) for group, found in sorted(entries.items())]


def _timeline(group: int, entries: list[TraceEntry]) -> GroupTimeline:
    names = list(dict.fromkeys(name for entry in entries for name in entry.scores))
    stored: dict[int, Stay] = {}
    for entry in entries:
        for position, frame in enumerate(entry.bank):
            stay = stored.setdefault(frame, Stay(frame))
            if entry.scores:
                values = (
                    _rounded(entry.scores[name][position]) if name in entry.scores else None for name in names
                )
                stay.scores.append((entry.frame, *values))
        if not entry.declined:
            stored.setdefault(entry.frame, Stay(entry.frame, entry.given))
        if entry.dropped is not None:
            stored[entry.dropped].until = entry.frame
    for first in entries[0].bank[:1]:  # a group's bank begins with a reference
        stored[first].reference = True
    return GroupTimeline(group, names, sorted(stored.values(), key=lambda stay: stay.frame))


def _rounded(score: float) -> float | None:
    """Rounds a score to four significant digits; None if it is not finite, which JSON cannot represent."""
    return float(f"{score:.4g}") if math.isfinite(score) else None
