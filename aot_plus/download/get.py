"""Downloads one file of the list: fetches it to a folder beside its place, verifies, moves and unpacks it."""

import json
import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import requests

from aot_plus.download.drive import DRIVE, open_drive
from aot_plus.download.fetch import fetch, open_url
from aot_plus.download.part import Part
from aot_plus.download.unpack import unpack, unpacked_size
from aot_plus.utils.errors import DataError
from aot_plus.utils.sources import Source, format_size
from evaluation.digests import digest_file
from evaluation.files import replace_text, writing
from evaluation.folder_lock import FolderLock
from evaluation.progress import ProgressBar

__all__ = ["Place", "download", "state_of"]

_log = logging.getLogger(__name__)

_PARTS = ".download"  # folder of incomplete files, beside the complete ones
_RECORD = ".download.json"  # suffix of the file that records what was downloaded
_ARCHIVE = b"PK"
_CHECKPOINT = (_ARCHIVE, b"\x80")  # an archive, or a pickle, which older versions of PyTorch wrote


@dataclass(frozen=True)
class Place:
    """Describes where a file belongs; ``folder`` is the folder of checkpoints or of datasets."""

    source: Source
    folder: Path

    @property
    def file(self) -> Path:
        """Returns the path of the file itself; an archive is removed after unpacking."""
        return self.folder / self.source.name

    @property
    def target(self) -> Path:
        """Returns the path of the final result: the file, or the folder with an archive's content."""
        return self.folder / (self.source.unpacks_to or self.source.name)

    @property
    def work(self) -> Path:
        """Returns the folder of the incomplete file."""
        return self.folder / _PARTS / self.source.name

    @property
    def unpacked(self) -> Path:
        """Returns the folder that an archive is unpacked into before its content is moved to the target."""
        return self.work / "unpacked"

    @property
    def is_there(self) -> bool:
        """Returns whether nothing is left to download."""
        return self.target.is_dir() if self.source.unpacks_to else self.target.is_file()

    def by_hand(self) -> str:
        """Returns instructions for downloading the file without this program."""
        then = f", and rerun the command to unpack it to {self.target}" if self.source.unpacks_to else ""
        page = self.source.publication.page
        listed = "" if self.source.address == page else f" (listed on {page})"
        return f"By hand: get {self.source.address}{listed} and save it as {self.file}{then}"


def state_of(place: Place) -> str:
    """Describes in a few words what is already here."""
    if place.is_there:
        return "there"
    if place.file.is_file():
        return "there, not unpacked"
    part = Part(place.work)
    return f"{part.describe()} fetched" if part.size else "missing"


def download(place: Place, drive: str = DRIVE) -> None:
    """Downloads a file, resuming where an earlier run stopped, and logs what it does.

    drive: address that serves files of Google Drive by id.
    Raises ``DataError`` with what happened, what is kept, and what to do by hand; also if another process
    is downloading the same file. ``KeyboardInterrupt`` says what is kept.
    """
    source = place.source
    if place.is_there:
        _log.info("%s is already there", place.target)
        return
    if not source.can_be_fetched:
        raise DataError(f"{source.name}: has no address for a direct download. {place.by_hand()}")
    for path in (place.target, place.file):
        if os.path.lexists(path) and (path == place.target or not path.is_file()):
            raise DataError(f"{path}: is in the way, or a link that leads nowhere; remove it first")
    with _work_folder(place), _explained(place):
        if place.is_there:  # another process was quicker
            return
        if not place.file.is_file():
            _fetch(place, drive)
        if source.unpacks_to:
            _unpack(place)


@contextmanager
def _work_folder(place: Place) -> Iterator[None]:
    """Makes and locks the folder of the incomplete file; removes it at the end if it is empty."""
    with writing(place.work):
        place.work.mkdir(parents=True, exist_ok=True)
    try:
        with FolderLock(place.work):
            yield
    finally:
        with suppress(OSError):  # not empty
            place.work.rmdir()
            place.work.parent.rmdir()


@contextmanager
def _explained(place: Place) -> Iterator[None]:
    """Adds to an error in the block, or to Ctrl-C, what is kept and what to do."""
    name = place.source.name
    try:
        yield
    except DataError as error:
        raise DataError(f"{name}: {error}. {_kept(place)}{place.by_hand()}") from error
    except KeyboardInterrupt as interrupt:
        kept = _kept(place) or "Rerun the same command to resume."
        raise type(interrupt)(f"{name}: interrupted. {kept}") from None


def _kept(place: Place) -> str:
    """Returns what is kept and how the same command goes on with it; empty if nothing is kept."""
    part = Part(place.work)
    if part.is_complete:
        return f"What was downloaded is kept as {part.content}. "
    if part.size:
        return f"{part.describe()} are kept in {place.work}: rerun the same command to resume. "
    return f"{place.file} is kept. " if place.file.is_file() else ""


def _fetch(place: Place, drive: str) -> None:
    """Fetches and verifies a file, and moves it to its place."""
    source, part = place.source, Part(place.work)
    published = source.publication
    about = f"{source.size_text}, licence: {published.licence}, from {source.address} ({published.title})"
    _log.info("%s, %s", source.name, about)

    def open_file(session: requests.Session, headers: Mapping[str, str]) -> requests.Response:
        if source.url:
            return open_url(session, source.url, headers)
        return open_drive(session, source.drive_id, headers, drive)

    fetch(part, open_file, _size_check(place, part))
    record = _verified(place, part)
    shutil.rmtree(place.unpacked, ignore_errors=True)  # left from an earlier archive
    with writing(place.file):
        part.content.replace(place.file)
    part.remove()
    replace_text(place.folder / (source.name + _RECORD), json.dumps(record, indent=2) + "\n")


def _size_check(place: Place, part: Part) -> Callable[[int], None]:
    """Returns a check that the size that a server announces is as published and fits on the disk."""

    def check(size: int) -> None:
        if place.source.size not in (None, size):
            raise DataError(
                f"the server announces {size:,} bytes, published are {place.source.size:,}: "
                "it has another file, or a page"
            )
        # Unpacking needs about the same space again: the images are already compressed.
        _require_space(place.folder, max(0, size - part.size) + size * bool(place.source.unpacks_to))

    return check


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(
            f"{folder} has {format_size(free)} free, {format_size(needed)} are needed: make room, or make "
            "the folder a link to one on a larger disk"
        )


def _verified(place: Place, part: Part) -> dict[str, object]:
    """Verifies the downloaded bytes and returns the record about them. Raises ``DataError``."""
    source, content = place.source, part.content
    again = f"to fetch it again, remove {place.work}"
    if source.size not in (None, part.size):
        raise DataError(f"it has {part.size:,} bytes, published are {source.size:,}; {again}")
    with content.open("rb") as file:
        head = file.read(16)
    if not head.startswith(_ARCHIVE if source.unpacks_to else _CHECKPOINT):
        part.remove()  # an error message, for example: useless for resuming
        kind = "archive" if source.unpacks_to else "checkpoint"
        raise DataError(f"the server did not send the {kind}: what came begins with {head!r}")
    if head.startswith(_ARCHIVE) and not zipfile.is_zipfile(content):
        raise DataError(f"it is damaged: not a complete archive; {again}")
    digest = _digest(content, source.name)
    if not digest.startswith(source.sha256):
        raise DataError(f"its SHA-256 is {digest}, expected {source.sha256}; {again}")
    _say_checksum(place, digest)
    return {
        "file": source.name,
        "bytes": part.size,
        "sha256": digest,
        "from": source.address,
        "etag": part.version.etag,
        "last_modified": part.version.modified,
        "fetched": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
    }


def _digest(path: Path, name: str) -> str:
    with ProgressBar(total=path.stat().st_size, desc=f"check {name}", unit="B", unit_scale=True) as bar:
        return digest_file(path, bar.update)


def _say_checksum(place: Place, digest: str) -> None:
    """Logs that the checksum is as published; if none is, logs it and warns if it differs from before."""
    name = place.source.name
    if place.source.sha256:
        _log.info("%s: SHA-256 %s, as expected", name, digest)
        return
    record = place.folder / (name + _RECORD)
    _log.info("%s: SHA-256 %s; none is published, so it is recorded in %s", name, digest, record)
    try:
        before = json.loads(record.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if before != digest:
        _log.warning("%s: not the same file as downloaded before, whose SHA-256 was %s", name, before)


def _unpack(place: Place) -> None:
    """Unpacks an archive, then removes it."""
    _require_space(place.folder, unpacked_size(place.file, place.unpacked))
    unpack(place.file, place.unpacked, place.target)
    place.file.unlink()
    _log.info("%s: unpacked to %s, then removed", place.source.name, place.target)
