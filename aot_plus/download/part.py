"""Keeps a partly downloaded file: its bytes, and the version of the file that they belong to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from aot_plus.utils.sources import format_size
from evaluation.files import replace_text, writing

__all__ = ["Part", "Version"]


@dataclass
class Version:
    """Holds what a server says about a file: its size in bytes, entity tag and modification date."""

    size: int | None = None
    etag: str = ""
    modified: str = ""

    @property
    def validator(self) -> str:
        """Returns the value for ``If-Range``: the tag, unless it is weak, else the date; may be empty."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def differs_from(self, other: "Version") -> bool:
        """Returns whether the two descriptions contradict each other, as far as both are known."""
        pairs = (self.size, other.size), (self.etag, other.etag), (self.modified, other.modified)
        return any(one != two for one, two in pairs if one and two)


class Part:
    """Keeps the bytes and their version in a folder beside the target, so that later runs can resume."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / "content"
        self._note = folder / "version.json"
        try:
            self.version = Version(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # missing or damaged: the version is unknown
            self.version = Version()

    @property
    def size(self) -> int:
        """Returns the number of bytes downloaded so far."""
        return self.content.stat().st_size if self.content.is_file() else 0

    @property
    def is_complete(self) -> bool:
        """Returns whether all bytes that the server announced are here."""
        return self.version.size is not None and self.size == self.version.size

    def begin(self, version: Version) -> None:
        """Discards the bytes and records the version of the bytes to come. Raises ``DataError``."""
        with writing(self.content):
            self.content.write_bytes(b"")
        self.note(version)

    def note(self, version: Version) -> None:
        """Records the version that the bytes belong to. Raises ``DataError``."""
        self.version = version
        replace_text(self._note, json.dumps(asdict(version)))

    def tail(self, start: int) -> bytes:
        """Reads the bytes from ``start`` on."""
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read()

    def remove(self) -> None:
        """Removes the bytes and the version."""
        self.content.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def describe(self) -> str:
        """Describes how much has been downloaded."""
        of = f" of {format_size(self.version.size)}" if self.version.size else ""
        return f"{format_size(self.size)}{of}"
