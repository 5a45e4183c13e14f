"""Turns a user's images and masks, arrays or files, into the arrays that the segmenter works with."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import read_image
from evaluation.masks import Mask, read_mask

__all__ = ["ImageInput", "MaskInput", "as_image", "as_mask", "format_shape"]

ImageInput = Image | str | Path
MaskInput = NDArray[Any] | str | Path  # H x W: bool or any integers in 0..255


def as_image(given: ImageInput) -> Image:
    """Checks an RGB array ``H x W x 3`` uint8, or reads an image file. Raises ``DataError``."""
    if isinstance(given, str | Path):
        return read_image(Path(given))
    if not isinstance(given, np.ndarray):
        raise DataError(f"an image must be an array or a path, found {_kind(given)}")
    if given.ndim == 3 and given.shape[2] == 3 and given.dtype == np.uint8:
        if not given.size:
            raise DataError(f"an image must have pixels, found {format_shape(given.shape)}")
        return given
    found = f"an image must be H x W x 3 uint8, found {format_shape(given.shape)} {given.dtype}"
    raise DataError(f"{found}{_hint_for_image(given)}")


def as_mask(given: MaskInput, size: tuple[int, int]) -> Mask:
    """Converts ``H x W`` ids, bool or integers in 0..255, to uint8, or reads an image file of ids.

    ``size`` is the image's (H, W). True is object 1. Raises ``DataError``.
    """
    mask = read_mask(Path(given)) if isinstance(given, str | Path) else _ids(given)
    if mask.shape != size:
        raise DataError(
            f"{_name(given)} is {format_shape(mask.shape)} (H x W), its image {format_shape(size)}; "
            "resize it with the nearest neighbour, so that ids stay ids"
        )
    return mask


def format_shape(shape: tuple[int, ...]) -> str:
    """Formats a shape as ``480 x 854``."""
    return " x ".join(map(str, shape))


def _ids(given: object) -> Mask:
    """Converts an array of ids to uint8. Raises ``DataError``."""
    if not isinstance(given, np.ndarray):
        raise DataError(f"a mask must be an array or a path, found {_kind(given)}")
    if given.ndim != 2 or given.dtype.kind not in "biu":
        found = f"a mask must be H x W ids, bool or integers, found {format_shape(given.shape)} {given.dtype}"
        raise DataError(f"{found}{_hint_for_mask(given)}")
    if given.dtype.itemsize > 1 or given.dtype.kind == "i":
        outside = given[(given < 0) | (given > 255)]
        if outside.size:
            raise DataError(
                f"a mask must hold ids in 0..255 (0: background, 255: ignored), found {outside[0]}; "
                "give its objects other numbers"
            )
    return given.astype(np.uint8, copy=False)


def _kind(given: object) -> str:
    """Names the type of a value that is not an array, and how to convert it."""
    kind = f"{type(given).__module__}.{type(given).__qualname__}"
    if kind == "torch.Tensor":
        return f"{kind}; give tensor.cpu().numpy()"
    return f"{kind}; give numpy.asarray(...)"


def _hint_for_image(given: NDArray[Any]) -> str:
    if given.ndim == 3 and given.shape[0] == 3 and given.shape[2] != 3:
        return "; channels come last: give image.transpose(1, 2, 0)"
    if given.ndim == 3 and given.shape[2] == 4:
        return "; leave the alpha channel out: give image[..., :3]"
    if given.ndim == 2 and given.dtype == np.uint8:
        return "; give a grey image as numpy.stack([image] * 3, axis=-1)"
    if given.ndim == 3 and given.shape[2] == 3:
        return "; give values of 0 to 255, (255 * image).astype(numpy.uint8) if they are 0 to 1"
    return ""


def _hint_for_mask(given: NDArray[Any]) -> str:
    if given.ndim == 3 and 1 in (given.shape[0], given.shape[2]):
        return "; give mask.squeeze()"
    if given.ndim == 3:
        return "; expected ids, not colours or a plane for each object"
    if given.dtype.kind == "f":
        return "; give mask.astype(numpy.uint8) if it holds ids, mask > 0.5 if it is a probability"
    return ""


def _name(given: MaskInput) -> str:
    return f"{given}: the mask" if isinstance(given, str | Path) else "the mask"
