"""Masks of object ids on disk."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from evaluation.errors import DataError
from evaluation.files import require_regular

__all__ = ["IGNORE_ID", "Mask", "opened", "read_mask"]

IGNORE_ID = 255

Mask = NDArray[np.uint8]  # H x W ids: 0 background, 255 ignored


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

    ``modes``: Pillow's names of the kinds of image that are taken.
    """
    with opened(path, "a mask") as image:
        if image.format != "PNG":  # a JPEG has other ids than were written, at every edge
            raise DataError(f"{path}: a mask must be a PNG file, found {image.format}")
        if image.mode not in modes:
            raise DataError(
                f"{path}: a mask must be an indexed or 8-bit grey image of ids, found mode {image.mode}"
            )
        return np.asarray(image, dtype=np.uint8)
