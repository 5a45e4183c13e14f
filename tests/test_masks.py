"""Masks read from PNG files of every kind: the ids equal Pillow's, or an error names the file."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aot_plus.dataloaders.dataset_check.mask_facts import read_facts
from evaluation.errors import DataError
from evaluation.masks import read_mask

IDS = (np.arange(7 * 9).reshape(7, 9) % 11).astype(np.uint8)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette(list(range(256)) * 3)
    return image


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def shallow(ids: np.ndarray) -> bytes:
    """Returns a greyscale PNG with 4 bits per pixel."""
    height, width = ids.shape
    ids = np.pad(ids, ((0, 0), (0, width % 2)))  # a row ends with a whole byte
    packed = np.hstack([np.zeros((height, 1), np.uint8), ids[:, ::2] << 4 | ids[:, 1::2]])
    header = chunk(b"IHDR", struct.pack(">II5B", width, height, 4, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(packed.tobytes()))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, pixels, chunk(b"IEND", b"")])


def filtered(ids: np.ndarray, parts: int = 1) -> bytes:
    """Returns a greyscale PNG with rows stored as differences from the row above, in ``parts`` chunks."""
    height, width = ids.shape
    above = np.vstack([np.zeros((1, width), np.uint8), ids[:-1]])
    rows = np.hstack([np.full((height, 1), 2, np.uint8), ids - above])
    data = zlib.compress(rows.tobytes())
    step = -(-len(data) // parts)
    pieces = [chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step)]
    header = chunk(b"IHDR", struct.pack(">II5B", width, height, 8, 0, 0, 0, 0))
    return b"".join([b"\x89PNG\r\n\x1a\n", header, *pieces, chunk(b"IEND", b"")])


FILES = {
    "palette": png(palette(IDS)),
    "grey": png(Image.fromarray(IDS)),
    "four bits a pixel": png(palette(IDS), bits=4),
    "transparent background": png(palette(IDS), transparency=0),
    "filtered rows": filtered(IDS),
    "in parts": filtered(IDS, parts=3),
    "text after the pixels": png(palette(IDS))[:-12] + chunk(b"tEXt", b"a\0b") + chunk(b"IEND", b""),
}


@pytest.mark.parametrize("kind", FILES)
def test_ids_are_read_from_every_kind_of_png(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(FILES[kind])
    np.testing.assert_array_equal(read_mask(path), IDS)


def test_one_bit_is_an_id(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(IDS > 4).save(path)
    assert Image.open(path).mode == "1"
    np.testing.assert_array_equal(read_mask(path), IDS > 4)
    assert read_facts(path).grey


def test_grey_levels_that_pillow_rescales_are_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(shallow(IDS[:, :8]))
    with pytest.raises(DataError, match=r"mask\.png: .*4-bit grey"):
        read_mask(path)
    object_shown = read_mask(path, binary=True) > 0
    np.testing.assert_array_equal(object_shown, IDS[:, :8] > 0)


def test_files_like_the_written_masks_need_no_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(FILES["palette"])
    monkeypatch.setattr(Image, "open", None)
    np.testing.assert_array_equal(read_mask(path), IDS)


def test_damage_is_left_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mask.png"
    monkeypatch.setattr(Image, "open", None)
    for place in range(len(FILES["palette"])):
        file = bytearray(FILES["palette"])
        file[place] ^= 0x10
        path.write_bytes(file)
        with pytest.raises(DataError, match=r"mask\.png: "):
            read_mask(path)


def test_a_header_of_a_huge_image_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    for size in (2**31 - 1, 2**13 - 1):
        header = chunk(b"IHDR", struct.pack(">II5B", size, size, 8, 3, 0, 0, 0))
        path.write_bytes(FILES["palette"][:8] + header + FILES["palette"][33:])
        with pytest.raises(DataError, match=r"mask\.png: "):
            read_mask(path)
