"""Keeps what can be undone: the state of the objects, and of a frame, before each change."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from aot_plus.app.project import Before, Project
from aot_plus.utils.errors import DataError

__all__ = ["History"]

_LONGEST = 200  # changes


class History:
    """Keeps the changes to a project since it was opened."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._steps: deque[Before] = deque(maxlen=_LONGEST)

    def __len__(self) -> int:
        return len(self._steps)

    @contextmanager
    def step(self, frame: int | None = None) -> Iterator[None]:
        """Records what the block changes, in the objects and a frame's mask, as one change to undo.

        ``frame``: None where only objects change. A run may write any mask until that is undone.
        """
        before = self._project.before(frame)
        yield
        self._steps.append(before)

    def undo(self) -> list[int]:
        """Takes the last change back. Returns the frames whose masks have changed.

        Raises ``DataError`` where there is no change.
        """
        if not self._steps:
            raise DataError("there is nothing to undo")
        return self._project.go_back(self._steps.pop())
