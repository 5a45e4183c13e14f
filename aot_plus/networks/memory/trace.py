"""Traces the decisions on a video's memory bank: one line of JSON for each frame appended or declined."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aot_plus.utils.errors import DataError
from aot_plus.utils.json_text import parse_json
from evaluation.files import require_regular
from evaluation.vost import TRACES

__all__ = ["TraceEntry", "TraceSink", "find_decision", "read_trace", "trace_path"]

_MANY = 2**31  # frames: no video has as many
_LARGEST = 1e30  # the largest score that a figure can still show

TraceSink = Callable[[dict[str, object]], None]  # called with ``TraceEntry.as_dict()``


def trace_path(result_dir: Path, sequence: str) -> Path:
    """Returns the path of a sequence's trace in a result folder."""
    return result_dir / TRACES / f"{sequence}.jsonl"


@dataclass(frozen=True)
class TraceEntry:
    """Records that a frame was appended to the bank of a group of objects, or declined.

    Attributes:
        frame: number of the new frame.
        group: number of the group.
        bank: numbers of the frames that were stored before, oldest first.
        scores: all scores that the policy computed, by name, with a value for every frame of ``bank``.
        dropped: number of the frame that was dropped, one of ``bank``; None if there was room.
        facts: what the policy found about the new frame, by name.
        declined: the policy did not want the frame, so it was not stored.
        given: the frame came with a mask, so it is a reference.
    """

    frame: int
    group: int
    bank: list[int]
    scores: dict[str, list[float]] = field(default_factory=dict)
    dropped: int | None = None
    facts: dict[str, float] = field(default_factory=dict)
    declined: bool = False
    given: bool = False

    def as_dict(self) -> dict[str, object]:
        """Returns a line of a trace, in which the scores stand beside the other values, by name.

        ``facts``, ``declined`` and ``given`` are left out if empty or False. Raises ``ValueError`` for a
        score with the name of another value.
        """
        first = {"frame": self.frame, "group": self.group, "bank": self.bank}
        last = {"dropped": self.dropped, "facts": self.facts}
        last |= {"declined": self.declined, "given": self.given}
        if taken := sorted(self.scores.keys() & {*first, *last}):
            raise ValueError(f"scores: expected names that the trace does not use itself, found {taken}")
        said = {name: value for name, value in last.items() if value or name == "dropped"}
        return {**first, **self.scores, **said}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "TraceEntry":
        """Reads a result of ``as_dict``; raises ``ValueError``, ``KeyError`` or ``TypeError`` for others."""
        scores = dict(line)
        frame, group, bank, dropped = (scores.pop(name) for name in ("frame", "group", "bank", "dropped"))
        facts = scores.pop("facts", {})
        declined, given = (scores.pop(name, False) for name in ("declined", "given"))
        if not all(type(value) is int and 0 <= value < _MANY for value in (frame, group, *bank)):
            raise ValueError("frames and groups must be whole numbers from 0")
        if dropped not in (None, *bank):
            raise ValueError(f"the dropped frame {dropped!r} is not in the bank")
        if not (type(declined) is type(given) is bool and isinstance(facts, dict)):
            raise ValueError("expected facts as an object, and declined and given as true or false")
        _numbers({name: [value] for name, value in facts.items()}, 1)
        return cls(frame, group, bank, _numbers(scores, len(bank)), dropped, facts, declined, given)


def read_trace(path: Path) -> list[TraceEntry]:
    """Reads the trace of a video, in the order of its frames. Raises ``DataError`` naming the file."""
    require_regular(path)
    try:
        return [_entry(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such trace; eval --trace writes it") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{path}: cannot be read as a trace ({error!r})") from error


def _entry(line: str) -> TraceEntry:
    """Parses a line; raises ``ValueError``, ``KeyError`` or ``TypeError`` if inference would not write it."""
    scores = parse_json(line)
    if not isinstance(scores, dict):
        raise ValueError("expected an object")
    return TraceEntry.from_dict(scores)


def _numbers(scores: dict[str, Any], count: int) -> dict[str, list[float]]:
    """Checks that each score has ``count`` numbers of a plausible size (NaN and infinity can occur)."""
    for name, values in scores.items():
        if len(values) != count or not all(type(value) in (int, float) for value in values):
            raise ValueError(f"{name}: expected a number for each of the {count} frames")
        if any(abs(value) > _LARGEST for value in values if math.isfinite(value)):
            raise ValueError(f"{name}: expected numbers between {-_LARGEST:g} and {_LARGEST:g}")
    return scores


def find_decision(path: Path, frame: int | None, group: int) -> TraceEntry:
    """Finds a group's decision to drop or decline at ``frame`` (None: its first decision) in a trace.

    Raises ``DataError`` if there is none, listing those that exist, or if the trace cannot be read.
    """
    entries = [entry for entry in read_trace(path) if entry.group == group]
    decisions = [entry for entry in entries if entry.dropped is not None or entry.declined]
    if not decisions:
        raise DataError(f"{path}: {_why_none(entries, group)}")
    for entry in decisions:
        if frame in (None, entry.frame):
            return entry
    known = ", ".join(str(entry.frame) for entry in decisions)
    raise DataError(f"{path}: no decision at frame {frame}; there are: {known}")


def _why_none(entries: list[TraceEntry], group: int) -> str:
    """Says why a group with these entries has no decision."""
    if not entries:
        return f"no frame was appended for group {group} of the objects"
    stored = len(entries[-1].bank) + 1
    return (
        f"group {group} of the objects has no decision: its bank was never over-full ({stored} frames at the "
        "end). Run a longer video, a smaller capacity (LATTER_MEM_LEN) or a smaller gap (--memory_gap)"
    )
