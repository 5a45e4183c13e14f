"""What can be undone: the state of a frame and of the objects before each change."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from aot_plus.app.project import Before, Project
from aot_plus.utils.errors import DataError

__all__ = ["History"]

_LONGEST = 200  # changes


class History:
    """The changes to a project since it was opened."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._steps: deque[Before] = deque(maxlen=_LONGEST)

    def __len__(self) -> int:
        return len(self._steps)

    @contextmanager
    def step(self, frame: int) -> Iterator[None]:
        """Makes what the block changes, in a frame and the objects, one change that can be undone."""
        before = self._project.before(frame)
        yield
        self._steps.append(before)

    def undo(self) -> int:
        """Takes the last change back. Gives its frame. Raises ``DataError`` where there is none."""
        if not self._steps:
            raise DataError("there is nothing to undo")
        before = self._steps.pop()
        self._project.go_back(before)
        return before.frame
