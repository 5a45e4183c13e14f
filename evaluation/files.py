"""Writing files so that a killed run never leaves half of one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluation.errors import DataError


def require_writable(path: Path) -> None:
    """Raises ``DataError`` if no file can be written at ``path``: to be called before the work for it.

    The folder is made.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected the file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path next to ``path``; what was written there becomes ``path`` when the block ends.

    When the block raises, the temporary file is removed and ``path`` is left as it was. The folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Returns the process's file mode mask (mkstemp ignores it: its files are private)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
