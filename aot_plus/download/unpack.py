"""Unpacks the archive of a dataset; files that an interrupted run has unpacked are kept."""

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from aot_plus.utils.errors import DataError
from aot_plus.utils.words import format_list
from evaluation.files import remove_leftovers, replacing, writing
from evaluation.progress import ProgressBar
from evaluation.vost import SPLITS

__all__ = ["unpack", "unpacked_size"]

_BLOCK = 2**20  # bytes


def unpacked_size(archive: Path, folder: Path) -> int:
    """Returns how many bytes are still to be unpacked into ``folder``. Raises ``DataError``."""
    with _opened(archive) as opened:
        return sum(info.file_size for info in opened.infolist() if not _is_there(info, folder))


def unpack(archive: Path, folder: Path, target: Path) -> None:
    """Unpacks a dataset in VOST's layout into ``folder``, then renames it to ``target``.

    Raises ``DataError`` if the archive is damaged, has names that lead out of the folder, or holds no such
    dataset; files that were unpacked before stay in ``folder``.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)  # an archive may be empty
    with _opened(archive) as opened:
        infos = [info for info in opened.infolist() if not info.is_dir()]
        for info in infos:
            _check_name(archive, info)
        for path in {(folder / info.filename).parent for info in infos}:
            remove_leftovers(path)  # of a killed run
        for info in ProgressBar(infos, desc=f"unpack {archive.name}", unit="file", mininterval=0.5):
            if not _is_there(info, folder):
                _extract(opened, info, folder / info.filename)
    root = _find_dataset(archive, folder)
    with writing(target):
        root.rename(target)
        shutil.rmtree(folder, ignore_errors=True)  # what lies beside the dataset, if anything


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Opens an archive. Raises ``DataError`` if it is damaged, even if this only shows in the block."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{archive}: cannot be unpacked ({error}); remove it to fetch it again") from error


def _check_name(archive: Path, info: zipfile.ZipInfo) -> None:
    """Raises ``DataError`` for an entry that would be written elsewhere, or is not a regular file."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        raise DataError(f"{archive}: the entry {info.filename!r} leads out of the dataset's folder")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise DataError(f"{archive}: the entry {info.filename!r} is not a file; nothing was unpacked")


def _is_there(info: zipfile.ZipInfo, folder: Path) -> bool:
    """Returns whether an earlier run has unpacked a file; files appear under their names once complete."""
    path = folder / info.filename
    return path.is_file() and path.stat().st_size == info.file_size


def _extract(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    with replacing(target) as temporary, opened.open(info) as packed, temporary.open("wb") as file:
        shutil.copyfileobj(packed, file, _BLOCK)


def _find_dataset(archive: Path, folder: Path) -> Path:
    """Finds the dataset: the unpacked folder itself, or a folder in it."""
    found = [path.parent for path in sorted(folder.glob(SPLITS)) + sorted(folder.glob(f"*/{SPLITS}"))]
    if not found:
        held = format_list(sorted(os.listdir(folder)), 5)
        raise DataError(
            f"{archive}: holds no dataset in VOST's layout: there is no folder {SPLITS} in {folder}, "
            f"where it was unpacked; found {held or 'nothing'}"
        )
    return found[0]
