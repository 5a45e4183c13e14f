"""Computes SHA-256 digests, to detect whether the files that a result was made from have changed since."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["digest_file", "digest_files"]

_BLOCK = 2**20  # bytes


def digest_file(path: Path, progress: Callable[[int], object] = lambda size: None) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal. Raises ``OSError``.

    ``progress`` is called with the number of bytes of each block that was read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()


def digest_files(root: Path, paths: Iterable[Path]) -> str:
    """Returns one SHA-256 over the relative paths and contents of files in ``root``. Raises ``OSError``."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.relative_to(root).as_posix()}\0{digest_file(path)}\n".encode())
    return digest.hexdigest()
