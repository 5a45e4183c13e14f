"""Masks of object ids on disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.errors import DataError

__all__ = ["IGNORE_ID", "Mask", "read_mask"]

IGNORE_ID = 255

Mask = NDArray[np.uint8]  # H x W ids: 0 background, 255 ignored


def read_mask(path: Path) -> Mask:
    """Reads an indexed or grey 8-bit PNG as ids (H x W, 0 background, 255 ignored). Raises ``DataError``."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L"):
                raise DataError(
                    f"{path}: a mask must be an indexed or 8-bit grey image of ids, found mode {image.mode}"
                )
            return np.asarray(image, dtype=np.uint8)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such mask") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as a mask ({error})") from error
