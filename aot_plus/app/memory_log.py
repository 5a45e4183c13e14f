"""Records the history of a run's memory bank: stored frames, their scores, dropped frames and why."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aot_plus.app.project_file import Chain, chain_name
from aot_plus.networks.memory.trace import TraceEntry, read_trace
from aot_plus.utils.errors import DataError
from evaluation.files import replace_text

__all__ = ["MemoryLog", "reason"]

_REASONS = {
    "emfs": "its score, weight × relevance + novelty, is the lowest",
    "rmem": "its relevance plus its bonus for being new is the lowest",
    "fifo": "it is the oldest after the first",
    "uniform": "without it, the frames are spread most evenly",
    "random": "it was drawn at random",
    "spread": "its relevance times its room in time is the lowest",
    "lfu": "its mean relevance since it was stored is the lowest",
    "readmem": "the memory bank is the most diverse with the new frame in its place",
}


class MemoryLog:
    """Keeps the decisions of a run, with frames numbered as in the video, in a trace file of the project."""

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / f"{chain_name(step)}.jsonl"
        self._lock = threading.Lock()
        self._entries = _entries(self._path)

    def begin(self, chain: Chain, position: int) -> None:
        """Discards the decisions after a position of the run, which continues from there."""
        with self._lock:
            self._entries = [item for item in self._entries if 0 < chain.position(item.frame) <= position]

    def add(self, decision: dict[str, Any], numbers: Sequence[int]) -> None:
        """Adds a decision of a segmenter's ``trace``, which counts the frames that it was given.

        ``numbers``: those of these frames in the video.
        """
        entry = TraceEntry.from_dict(decision)
        entry = replace(
            entry,
            frame=numbers[entry.frame],
            bank=[numbers[position] for position in entry.bank],
            dropped=None if entry.dropped is None else numbers[entry.dropped],
        )
        with self._lock:
            self._entries.append(entry)

    def save(self) -> None:
        """Writes the trace file. Raises ``DataError``."""
        with self._lock:
            text = "".join(json.dumps(entry.as_dict()) + "\n" for entry in self._entries)
        replace_text(self._path, text)

    def at(self, chain: Chain, frame: int) -> TraceEntry:
        """Returns the last decision for the first group of objects up to a frame of the run.

        Before the first decision, it returns an entry that holds only the run's first frame.
        """
        position = chain.position(frame)
        with self._lock:
            for entry in reversed(self._entries):
                if entry.group == 0 and chain.position(entry.frame) <= position:
                    return entry
        return TraceEntry(chain.first, 0, [])

    def groups(self) -> int:
        """Counts the groups of objects; each group has its own memory."""
        with self._lock:
            return 1 + max((entry.group for entry in self._entries), default=0)


def reason(policy: str) -> str:
    """Returns the reason why a policy dropped a frame, as the end of a sentence."""
    return _REASONS.get(policy, f"{policy} chose it")


def _entries(path: Path) -> list[TraceEntry]:
    """Reads a trace; a missing or damaged one counts as empty, because it is only shown for explanation."""
    try:
        return read_trace(path)
    except DataError:
        return []
