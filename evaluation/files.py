"""Writes files so that a killed run never leaves half a file, and refuses to read pipes and devices."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evaluation.errors import DataError

__all__ = [
    "is_folder",
    "remove_leftovers",
    "replace_text",
    "replacing",
    "require_place_of_folder",
    "require_regular",
    "require_writable",
    "write_target",
    "writing",
]

_PARTIAL = ".partial"  # in the name of a file that is being written


def require_writable(path: Path) -> None:
    """Raises ``DataError`` if no file can be written at ``path``. Makes the folder.

    To be called before the work whose result is written there.
    """
    target = write_target(path)
    with writing(path):
        _make_temporary(target).unlink()


def is_folder(path: Path) -> bool:
    """Returns whether a folder is there. Raises ``DataError`` if the system refuses to look.

    It refuses names that are too long and folders that this user may not read.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or error})") from error


def require_regular(path: Path) -> None:
    """Raises ``DataError`` for a pipe, a device or a socket, since reading it may never end.

    Missing files and folders are left to the caller that opens them.
    """
    kind = _kind(path)
    if kind not in (None, "a file", "a folder"):
        raise DataError(f"{path}: is {kind}; expected a file to read")


def require_place_of_folder(path: Path) -> None:
    """Raises ``DataError`` if anything but a folder is in the place of a folder to write to."""
    kind = _kind(path)
    if kind not in (None, "a folder"):
        raise DataError(f"{path}: expected a folder or nothing, found {kind}: move it away")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path next to ``path``; the file written there replaces ``path`` when the block ends.

    If the block raises, the temporary file is removed and ``path`` is left as it was. The folder is made. If
    ``path`` is a link, the link stays and its target is replaced. Raises ``DataError`` naming ``path`` if it
    is a folder, a device or a pipe, or if the block raises ``OSError``, for example on a full disk.
    """
    target = write_target(path)
    with writing(path):
        temporary = _make_temporary(target)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8, complete or not at all. Raises ``DataError`` like ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _make_temporary(target: Path) -> Path:
    """Makes an empty file next to ``target``, and the folder. Its name is longer than the target's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}.", suffix=_PARTIAL + target.suffix, dir=target.parent
    )
    os.close(handle)
    return Path(name)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an ``OSError`` in the block into a ``DataError`` that names the path and the reason."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_target(path: Path) -> Path:
    """Resolves a link to its target. Raises ``DataError`` if the path is something other than a file."""
    kind = _kind(path)
    if kind not in (None, "a file"):
        raise DataError(f"{path}: is {kind}; expected the file to write")
    return Path(os.path.realpath(path)) if os.path.islink(path) else path


def _kind(path: Path) -> str | None:
    """Returns the kind of entry at a path, following links; None if it is missing or inaccessible.

    Raises ``DataError`` for a path that contains NUL.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as error:
        raise DataError(f"{str(path)!r}: cannot be the path of a file ({error})") from error
    except OSError as error:
        return "a link in a circle" if error.errno == errno.ELOOP else None
    if stat.S_ISREG(mode):
        return "a file"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of ``replacing`` that killed processes left in a folder.

    No other process may be writing there.
    """
    for path in folder.glob(f".*{_PARTIAL}*"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    """Returns the process's file mode mask (mkstemp ignores it: its files are private)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
