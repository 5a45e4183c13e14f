"""Reads masks of object ids from disk."""

import struct
import zlib
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from evaluation.errors import DataError
from evaluation.files import require_regular

__all__ = ["IGNORE_ID", "Mask", "opened", "read_mask"]

IGNORE_ID = 255

Mask = NDArray[np.uint8]  # H x W ids: 0 background, 255 ignored

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT = 24  # in a PNG file
_ONE_VALUE = {0: "L", 3: "P"}  # PNG's colour types with one value a pixel, by Pillow's names
_MOST_PIXELS = 2**26  # of a mask that is inflated at once


@contextmanager
def opened(path: Path, kind: str) -> Iterator[PIL.Image.Image]:
    """Opens an image file for the block; ``kind``, in messages, says what it should be ("a mask").

    Raises ``DataError`` for a file that is missing, damaged or a pipe, also when that shows inside the block.
    """
    require_regular(path)
    try:
        with PIL.Image.open(path) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such {kind.split()[-1]}") from None
    except Exception as error:  # a damaged file can raise nearly anything in Pillow
        raise DataError(f"{path}: cannot be read as {kind} ({error})") from error


def read_mask(path: Path, modes: Container[str] = ("P", "L")) -> Mask:
    """Reads an indexed or grey 8-bit PNG as ids (H x W, 0 background, 255 ignored). Raises ``DataError``.

    ``modes``: Pillow's names of the kinds of image that are taken. Where "1" is among them, what is not 0 is
    the object, and grey of any depth will do.
    """
    require_regular(path)
    ids = _read_plain(path, modes)
    if ids is not None:
        return ids
    with opened(path, "a mask") as image:
        if image.format != "PNG":  # a JPEG has other ids than were written, at every edge
            raise DataError(f"{path}: a mask must be a PNG file, found {image.format}")
        if image.mode not in modes:
            raise DataError(
                f"{path}: a mask must be an indexed or 8-bit grey image of ids, found mode {image.mode}"
            )
        if image.mode == "L" and "1" not in modes and (depth := _bit_depth(path)) < 8:
            # Pillow spreads grey levels over 0..255: of 4 bits, id 1 becomes 17.
            raise DataError(
                f"{path}: a mask must be an indexed or 8-bit grey image of ids, found {depth}-bit grey"
            )
        return np.asarray(image, dtype=np.uint8)


def _bit_depth(path: Path) -> int:
    """Returns the bits of a PNG file's values, which stand in the header, always the first chunk."""
    with path.open("rb") as file:
        return file.read(_DEPTH_AT + 1)[_DEPTH_AT]


def _read_plain(path: Path, modes: Container[str]) -> Mask | None:
    """Reads 8-bit ids whose rows are stored as they are, without filters, as those of most masks.

    Pillow inflates one row after another, and by a zlib that takes a mask's long runs several times as long.
    Returns None for any other file, or a damaged one, which Pillow then reads.
    """
    try:
        file = path.read_bytes()
        chunks = _read_chunks(file)
        _, header = next(chunks)
        width, height, depth, colour, _, _, interlaced = struct.unpack(">II5B", header)
        plain = (depth, interlaced) == (8, 0) and _ONE_VALUE.get(colour) in modes
        if not plain or not 0 < width * height <= _MOST_PIXELS:
            return None
        pixels = b"".join(data for kind, data in chunks if kind == b"IDAT")
        inflater = zlib_ng.decompressobj()
        stored = inflater.decompress(pixels, height * (width + 1) + 1)  # one more, to reach the end
        rows = np.frombuffer(stored, np.uint8).reshape(height, width + 1)  # a row's filter, then its pixels
    except (OSError, ValueError, StopIteration, struct.error, zlib_ng.error):  # type: ignore[misc]  # typed as no class
        return None
    return None if rows[:, 0].any() or not inflater.eof else np.ascontiguousarray(rows[:, 1:])


def _read_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the kind and the content of each chunk of a PNG file.

    Raises ``ValueError`` and ``struct.error`` for another file, and for one that is damaged.
    """
    if not file.startswith(_PNG):
        raise ValueError("no PNG file")
    place, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", file, place)
        (checksum,) = struct.unpack_from(">I", file, place + 8 + length)
        if zlib.crc32(file[place + 4 : place + 8 + length]) != checksum:
            raise ValueError("a checksum does not fit")
        yield kind, file[place + 8 : place + 8 + length]
        place += 12 + length
