"""Keeps the undo history: the state of the objects, and of a frame, before each change."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from aot_plus.app.project import Before, Project
from aot_plus.utils.errors import DataError, VOSError

__all__ = ["History"]

_LONGEST = 200  # changes that can be undone


class History:
    """Keeps the changes to a project since it was opened."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._steps: deque[Before] = deque(maxlen=_LONGEST)

    def __len__(self) -> int:
        return len(self._steps)

    @contextmanager
    def step(self, frame: int | None = None) -> Iterator[None]:
        """Records what the block changes, in the objects and a frame's mask, as one undoable change.

        ``frame``: None if only objects change. Runs may write any mask before the change is undone.
        """
        with self._whole(frame) as before:
            yield
        self._steps.append(before)

    def undo(self) -> list[int]:
        """Undoes the last change. Returns the frames whose masks have changed.

        Raises ``DataError`` if there is nothing to undo.
        """
        if not self._steps:
            raise DataError("there is nothing to undo")
        step = self._steps[-1]
        with self._whole(step.frame):
            changed = self._project.go_back(step)
        self._steps.pop()
        return changed

    @contextmanager
    def _whole(self, frame: int | None) -> Iterator[Before]:
        """Yields the state before the block, and restores it if the block fails, as on a full disk."""
        before = self._project.before(frame)
        try:
            yield before
        except VOSError:
            with suppress(VOSError):
                self._project.go_back(before)
            raise
