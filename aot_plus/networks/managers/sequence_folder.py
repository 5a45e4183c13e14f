"""Manages the result folder of a sequence, which gets its name only when it is complete."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from aot_plus.networks.memory.trace import trace_path
from aot_plus.utils.errors import DataError
from evaluation.files import replace_text

__all__ = ["SequenceFolder", "remove_unfinished"]

_UNFINISHED = ".unfinished"


class SequenceFolder:
    """Holds the paths of one sequence's results.

    Masks go to the hidden folder ``.<sequence>.<process>.unfinished``, which is renamed once every mask is
    there: a folder with the sequence's name is always complete, whenever the process is killed.
    """

    def __init__(self, result_dir: Path, sequence: str) -> None:
        self.target = result_dir / sequence
        self.temporary = result_dir / f".{sequence}.{os.getpid()}{_UNFINISHED}"
        self.trace = trace_path(result_dir, sequence)

    def is_complete(self, files: Iterable[str], with_trace: bool) -> bool:
        """Returns whether all files (paths in the folder) and, if ``with_trace``, the trace exist."""
        if with_trace and not self.trace.is_file():
            return False
        return not _missing_masks(self.target, files)

    def discard_unfinished(self) -> None:
        """Removes the hidden folder, if there is one."""
        if self.temporary.exists():
            shutil.rmtree(self.temporary)

    def discard(self) -> None:
        """Removes the results as well; the folder is renamed first, so no part of it passes for a result."""
        self.discard_unfinished()
        self.trace.unlink(missing_ok=True)
        if self.target.exists():
            self.target.rename(self.temporary)
            shutil.rmtree(self.temporary)

    def start(self) -> Path:
        """Creates the empty hidden folder and returns its path."""
        self.discard_unfinished()
        self.temporary.mkdir(parents=True)
        return self.temporary

    def finish(self, files: Iterable[str], trace: list[str] | None) -> None:
        """Writes the trace (JSON lines), if there is one, and gives the folder its name.

        Raises ``DataError`` if a mask is missing, as when another run uses the same result folder.
        """
        missing = _missing_masks(self.temporary, files)
        if missing:
            raise DataError(
                f"{self.temporary}: masks vanished (does another run write here?): {', '.join(missing[:5])}"
            )
        self.trace.unlink(missing_ok=True)
        if trace is not None:
            replace_text(self.trace, "".join(line + "\n" for line in trace))
        self.temporary.rename(self.target)


def remove_unfinished(result_dir: Path) -> None:
    """Removes the hidden folders that killed runs left. No other run may use ``result_dir`` meanwhile."""
    for path in result_dir.glob(f".*{_UNFINISHED}"):
        shutil.rmtree(path)


def _missing_masks(folder: Path, files: Iterable[str]) -> list[str]:
    """Returns the files (paths in the folder) that are missing."""
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    return [file for file in files if file not in present]
