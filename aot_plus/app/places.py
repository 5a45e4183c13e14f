"""Restricts the folders from which the page may open videos."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from aot_plus.dataloaders.image_folder import is_image
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import natural_order

__all__ = ["VIDEO_SUFFIXES", "Places"]

_log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".3gp"),
    *(".mts", ".m2ts", ".wmv", ".flv", ".ogv", ".gif"),
)
_DEPTH = 4  # levels of folders searched below a named folder
_MOST = 500  # videos in the list
_LONGEST = 200  # characters of a text in the log


class Places:
    """Holds the folders named on the command line."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises ``DataError`` for a folder that does not exist."""
        for folder in folders:
            if not folder.is_dir():
                raise DataError(f"{folder}: there is no such folder to open videos from")
        self._folders = [folder.resolve() for folder in folders]

    def __bool__(self) -> bool:
        return bool(self._folders)

    def allowed(self, path: str | Path) -> Path:
        """Returns the real path of a video that may be opened. Raises ``DataError`` for any other.

        Links are resolved first: a link that leads out of the folders is refused.
        """
        try:
            real = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):  # a null byte, a loop of links
            real = None
        if real is None or not any(real.is_relative_to(folder) for folder in self._folders):
            named = ", ".join(map(str, self._folders)) or "none was named"
            raise DataError(
                f"{_shortened(str(path))}: is outside the folders that may be opened ({named}); "
                "start aot-plus app with --folder FOLDER, or upload the file"
            )
        if not _is_utf8(real):
            raise DataError(f"{str(real)!a}: the name is not UTF-8: rename it to open it")
        return real

    def videos(self) -> list[tuple[str, str]]:
        """Lists the videos and folders of images in the folders, as (name to show, path).

        Videos whose names are not UTF-8 are left out, because a page cannot show them.
        """
        found: list[tuple[str, str]] = []
        strange: list[Path] = []
        videos = ((folder, path) for folder in self._folders for path in _videos(folder, _DEPTH))
        for folder, path in videos:
            if not _is_utf8(path):
                strange.append(path)
                continue
            found.append((str(folder.name / path.relative_to(folder)), str(path)))
            if len(found) == _MOST:
                break
        if strange:
            first = ascii(str(strange[0]))
            _log.warning("left out videos whose names are not UTF-8: %s, such as %s", len(strange), first)
        return found


def _videos(folder: Path, depth: int) -> Iterator[Path]:
    """Finds videos below a folder, in order of their names; a folder with images counts as a video."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural_order(entry.name))
    except OSError:  # not readable
        return
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    paths = [Path(entry.path) for entry in visible]
    if any(map(is_image, paths)):
        yield folder
    yield from (path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    for entry in visible:
        if depth and entry.is_dir(follow_symlinks=False):
            yield from _videos(Path(entry.path), depth - 1)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
