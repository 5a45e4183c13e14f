"""Records the memory bank's history in a run: the frames held, their scores, what was dropped and why."""

import json
import threading
from pathlib import Path
from typing import Any

from aot_plus.app.project import Chain, chain_name
from aot_plus.networks.memory.trace import TraceEntry, read_trace
from aot_plus.utils.errors import DataError
from evaluation.files import replacing

__all__ = ["MemoryLog", "reason"]

_REASONS = {
    "emfs": "its score, weight × relevance + novelty, is the lowest",
    "rmem": "its relevance and its bonus for being new are the lowest together",
    "fifo": "it is the oldest after the first",
    "uniform": "without it the frames are spread most evenly",
    "random": "it was drawn at random",
    "spread": "its relevance times its room in time is the lowest",
    "lfu": "its mean relevance since it was stored is the lowest",
    "readmem": "the memory is the most diverse with the new frame in its place",
}


class MemoryLog:
    """Keeps the decisions of a run, by the frames' numbers in the video, in a trace file of the project."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / f"{chain_name(step)}.jsonl"
        self._lock = threading.Lock()
        self._entries = _entries(self._path)

    def begin(self, chain: Chain, position: int) -> None:
        """Forgets what happened after a position of the run, which continues from there."""
        with self._lock:
            self._entries = [item for item in self._entries if 0 < chain.position(item.frame) <= position]

    def add(self, decision: dict[str, Any], chain: Chain) -> None:
        """Adds a decision from a segmenter's ``trace``, whose frames are counted from the run's first."""
        scores = dict(decision)
        frame, group, bank, dropped = (scores.pop(name) for name in ("frame", "group", "bank", "dropped"))
        facts, declined = scores.pop("facts", {}), scores.pop("declined", False)
        numbers = [chain.frame(position) for position in bank]
        left = None if dropped is None else chain.frame(dropped)
        entry = TraceEntry(chain.frame(frame), group, numbers, scores, left, facts, declined)
        with self._lock:
            self._entries.append(entry)

    def save(self) -> None:
        """Writes the trace file. Raises ``DataError``."""
        with self._lock:
            lines = [json.dumps(entry.as_dict()) + "\n" for entry in self._entries]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")

    def at(self, chain: Chain, frame: int) -> TraceEntry:
        """Returns the last decision of the first group of objects, as of a frame of the run.

        Before the first one, it is an entry that only has the run's first frame.
        """
        position = chain.position(frame)
        with self._lock:
            for entry in reversed(self._entries):
                if entry.group == 0 and chain.position(entry.frame) <= position:
                    return entry
        return TraceEntry(chain.first, 0, [])

    def groups(self) -> int:
        """Counts the groups of objects that have a memory each."""
        with self._lock:
            return 1 + max((entry.group for entry in self._entries), default=0)


def reason(policy: str) -> str:
    """Says in words how a policy chooses the frame to drop."""
    return _REASONS.get(policy, f"{policy} chose it")


def _entries(path: Path) -> list[TraceEntry]:
    """Reads a trace; none of one that is missing or damaged: it only explains, nothing depends on it."""
    try:
        return read_trace(path)
    except DataError:
        return []
