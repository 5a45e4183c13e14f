"""Keeps snapshots of a run's memory, so that it can be continued from any of its frames."""

from collections import deque
from pathlib import Path
from typing import Any

import torch

from aot_plus.app.project_file import chain_name
from aot_plus.networks.models.checkpoint_file import read_file
from aot_plus.utils.errors import CheckpointError, DataError
from evaluation.files import replacing, writing

__all__ = ["Snapshots"]

State = dict[str, Any]  # of VideoSegmenter.state_dict()

_ON_DISK = 8  # maximum number of states on disk, spread over the whole run
_FIRST_DISTANCE = 8  # frames between two states on disk at first; doubled when there are too many
RECENT_DISTANCE = 4  # frames between two states in memory
_RECENT = 3  # states in memory


class Snapshots:
    """Keeps the states of one direction's run by position: the number of frames since its first frame.

    A few are on disk, evenly spread, so that a killed run can be continued. The latest are in memory, close
    together, because a run is usually corrected where it was stopped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = folder
        self._name = chain_name(step)
        self._recent: deque[tuple[int, State]] = deque(maxlen=_RECENT)
        self._distance = _FIRST_DISTANCE

    def clear(self) -> None:
        """Discards all states, before a new run begins."""
        self.forget_from(0)
        self._distance = _FIRST_DISTANCE

    def forget_from(self, position: int) -> None:
        """Discards the states at a position and after it, because a mask there was changed."""
        self._recent = deque((item for item in self._recent if item[0] < position), maxlen=_RECENT)
        with writing(self._folder):
            for own in self._on_disk():
                if own >= position:
                    self._path(own).unlink(missing_ok=True)

    def is_due(self, position: int) -> bool:
        """Returns whether the state at a position should be kept."""
        return position % RECENT_DISTANCE == 0

    def keep(self, position: int, state: State) -> None:
        """Keeps a state in memory, and on disk if the last one there is far away. Raises ``DataError``."""
        self._recent.append((position, state))
        on_disk = self._on_disk()
        if not on_disk or position - on_disk[-1] >= self._distance:
            self._write(position, state)
            self._thin_out()

    def settle(self) -> None:
        """Writes the newest state to disk at the end of the run. Raises ``DataError``."""
        if self._recent:
            self._write(*self._recent[-1])

    def nearest(self, position: int) -> tuple[int, State] | None:
        """Returns the last state at or before a position, with its position; None if there is none.

        A file that cannot be read is skipped.
        """
        recent = [item for item in self._recent if item[0] <= position]
        on_disk = [own for own in self._on_disk() if own <= position]
        while on_disk and (not recent or on_disk[-1] > recent[-1][0]):
            own = on_disk.pop()
            state = self._read(own)
            if state is not None:
                return own, state
        return recent[-1] if recent else None

    def has(self, position: int) -> bool:
        """Returns whether there is a state at or before a position."""
        return any(own <= position for own in (*self._on_disk(), *(item[0] for item in self._recent)))

    def _thin_out(self) -> None:
        """Removes every second state on disk if there are too many, but never the first or the last."""
        on_disk = self._on_disk()
        if len(on_disk) > _ON_DISK:
            self._distance *= 2
            for own in on_disk[1:-1:2]:
                self._path(own).unlink(missing_ok=True)

    def _on_disk(self) -> list[int]:
        files = self._folder.glob(f"{self._name}-*.pt")
        return sorted(int(path.stem.split("-")[1]) for path in files if path.stem.split("-")[1].isdecimal())

    def _path(self, position: int) -> Path:
        return self._folder / f"{self._name}-{position:06d}.pt"

    def _write(self, position: int, state: State) -> None:
        with replacing(self._path(position)) as temporary:
            torch.save(state, temporary)

    def _read(self, position: int) -> State | None:
        try:
            state = read_file(self._path(position))
        except (CheckpointError, DataError):
            return None
        return state if isinstance(state, dict) else None
