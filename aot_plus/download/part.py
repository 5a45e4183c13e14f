"""The part of a file that has been fetched: its bytes, and which version of the file they are of."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from aot_plus.utils.sources import format_size
from evaluation.files import replacing, writing

__all__ = ["Part", "Version"]


@dataclass
class Version:
    """What a server says about a file: its size in bytes, and the names and dates of its content."""

    size: int | None = None
    etag: str = ""
    modified: str = ""

    @property
    def validator(self) -> str:
        """The name of the content for ``If-Range``, which knows no weak tags; empty without one."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def differs_from(self, other: "Version") -> bool:
        """Tells that these are two files, as far as the server says something about both."""
        pairs = (self.size, other.size), (self.etag, other.etag), (self.modified, other.modified)
        return any(one != two for one, two in pairs if one and two)


class Part:
    """A folder beside the target, with the bytes and a note of their version, which outlives the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = folder / "content"
        self._note = folder / "version.json"
        try:
            self.version = Version(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # none yet, or damaged: then nothing is known
            self.version = Version()

    @property
    def size(self) -> int:
        """Number of bytes that are here."""
        return self.content.stat().st_size if self.content.is_file() else 0

    @property
    def is_complete(self) -> bool:
        """Tells that all bytes are here which the server announced."""
        return self.version.size is not None and self.size == self.version.size

    def begin(self, version: Version) -> None:
        """Forgets the bytes, and notes which version those are of that come now. Raises ``DataError``."""
        with writing(self.content):
            self.content.write_bytes(b"")
        self.note(version)

    def note(self, version: Version) -> None:
        """Notes the version that the bytes are of. Raises ``DataError``."""
        self.version = version
        with replacing(self._note) as temporary:
            temporary.write_text(json.dumps(asdict(version)), encoding="utf-8")

    def tail(self, start: int) -> bytes:
        """Reads the bytes from ``start`` on."""
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read()

    def remove(self) -> None:
        """Removes bytes and note."""
        self.content.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def describe(self) -> str:
        """Says how much is here."""
        of = f" of {format_size(self.version.size)}" if self.version.size else ""
        return f"{format_size(self.size)}{of}"
