"""Reads and writes masks as palette PNG files of object ids, lists their objects, and reads RGB images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from evaluation.files import replacing
from evaluation.masks import IGNORE_ID, Mask, open_image


def object_ids(ids: Mask, min_pixels: int = 1) -> list[int]:
    """Lists the ids of objects with at least ``min_pixels`` pixels, ascending; 0 and 255 are not objects."""
    counts = np.bincount(ids.ravel(), minlength=IGNORE_ID + 1)
    return (np.flatnonzero(counts[1:IGNORE_ID] >= min_pixels) + 1).tolist()


def davis_palette() -> list[int]:
    """Returns the 256 RGB colours (768 values) of DAVIS and VOST: an id's bits spread over the channels."""
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.int64)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= ((ids >> (3 * bit + channel)) & 1) << (7 - bit)
    return [int(value) for value in palette.ravel()]


def mask_palette(path: Path) -> list[int]:
    """Reads the 768 values of a mask's palette; returns DAVIS's for a grey mask. Raises ``DataError``."""
    with open_image(path, "a mask") as image:
        palette = image.getpalette("RGB") if image.mode == "P" else None
    palette = palette or davis_palette()
    return palette + [0] * (768 - len(palette))


def write_mask(path: Path, ids: Mask, palette: Sequence[int] | None = None) -> None:
    """Writes ids (H x W) as a palette PNG, via a temporary file. ``palette``: by default DAVIS's."""
    image = PIL.Image.fromarray(ids)
    image.putpalette(palette or davis_palette())  # converts a grey image to an indexed one
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")


def read_image(path: Path) -> Image:
    """Reads an 8-bit image as RGB (H x W x 3), rotated as its EXIF data say. Raises ``DataError``.

    Pillow decodes JPEG to the same values as OpenCV (both use libjpeg-turbo), but rejects a truncated file,
    whereas OpenCV fills the missing part with grey.
    """
    with open_image(path, "an image") as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{path}: an image must have 8 bits a channel, found mode {image.mode}")
        return np.array(PIL.ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
