"""Reads masks of object ids from disk."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from zlib_ng import zlib_ng

from evaluation.errors import DataError
from evaluation.files import require_regular

__all__ = ["IGNORE_ID", "MOST_OBJECTS", "Mask", "open_image", "read_mask"]

IGNORE_ID = 255
MOST_OBJECTS = IGNORE_ID - 1  # in a mask, and their highest id

Mask = NDArray[np.uint8]  # H x W ids: 0 background, 255 ignored

_PNG = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT = 24  # offset of the bit depth in a PNG file
_ONE_VALUE = (0, 3)  # PNG's colour types with one value per pixel: grey and indexed
_MOST_PIXELS = 2**26  # of a mask that is inflated at once


@contextmanager
def open_image(path: Path, kind: str) -> Iterator[PIL.Image.Image]:
    """Opens an image file for the block; messages use ``kind`` for what it should be ("a mask").

    Raises ``DataError`` for a file that is missing, damaged or a pipe, even if this only shows in the block.
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


def read_mask(path: Path, *, binary: bool = False) -> Mask:
    """Reads an indexed, 8-bit grey or 1-bit PNG as ids (H x W, 0 background, 255 ignored).

    ``binary``: all pixels that are not 0 are one object, so grey images of any bit depth are accepted.
    Raises ``DataError``.
    """
    require_regular(path)
    ids = _read_plain(path)
    if ids is not None:
        return ids
    with open_image(path, "a mask") as image:
        if image.format != "PNG":  # JPEG compression changes the ids along every edge
            raise DataError(f"{path}: a mask must be a PNG file, found {image.format}")
        if image.mode not in ("P", "L", "1"):
            raise DataError(
                f"{path}: a mask must be an indexed or 8-bit grey image of ids, found mode {image.mode}"
            )
        if image.mode == "L" and not binary and (depth := _bit_depth(path)) < 8:
            # Pillow scales grey levels to 0..255: with 4 bits, id 1 becomes 17.
            raise DataError(
                f"{path}: a mask must be an indexed or 8-bit grey image of ids, found {depth}-bit grey"
            )
        return np.asarray(image, dtype=np.uint8)


def _bit_depth(path: Path) -> int:
    """Returns the bit depth of a PNG file from its header, which is always the first chunk."""
    with path.open("rb") as file:
        return file.read(_DEPTH_AT + 1)[_DEPTH_AT]


def _read_plain(path: Path) -> Mask | None:
    """Reads a PNG of 8-bit ids whose rows are stored without filters, as in most mask files.

    Pillow inflates row by row, with a zlib that needs several times as long for a mask's long runs. Returns
    None for any other file or a damaged one; the caller then reads it with Pillow.
    """
    try:
        file = path.read_bytes()
        chunks = _read_chunks(file)
        _, header = next(chunks)
        width, height, depth, colour, _, _, interlaced = struct.unpack(">II5B", header)
        plain = (depth, interlaced) == (8, 0) and colour in _ONE_VALUE
        if not plain or not 0 < width * height <= _MOST_PIXELS:
            return None
        pixels = b"".join(data for kind, data in chunks if kind == b"IDAT")
        inflater = zlib_ng.decompressobj()
        stored = inflater.decompress(pixels, height * (width + 1) + 1)  # one byte more, to reach the end
        rows = np.frombuffer(stored, np.uint8).reshape(height, width + 1)  # each row: its filter, its pixels
    except (OSError, ValueError, StopIteration, struct.error, zlib_ng.error):  # type: ignore[misc]  # not typed as a class
        return None
    return None if rows[:, 0].any() or not inflater.eof else np.ascontiguousarray(rows[:, 1:])


def _read_chunks(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the kind and the content of each chunk of a PNG file.

    Raises ``ValueError`` or ``struct.error`` if the file is not a PNG or is damaged.
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
