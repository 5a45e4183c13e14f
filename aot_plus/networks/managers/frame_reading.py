"""Reads a sequence's frames and the masks that are given for them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from aot_plus.dataloaders.video_sequence import VideoSequence, new_objects
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.managers.video_pass import Segmenter
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import read_image
from evaluation.masks import IGNORE_ID, MOST_OBJECTS, Mask

__all__ = ["given_frames", "read_first_mask", "read_frame"]

GivenFrame = tuple[PreparedFrame, Mask | None]  # a frame and the mask given for it, if any


def given_frames(
    sequence: VideoSequence, reader: Iterable[GivenFrame]
) -> Iterator[tuple[str, PreparedFrame, Mask | None]]:
    """Yields each frame's name, the frame, and a mask of the objects that are first given there, if any.

    ``reader``: the results of ``read_frame``, for all images in order. Raises ``DataError`` if sizes differ.
    """
    known: set[int] = set()
    size: tuple[int, ...] = ()  # of the first mask
    for path, (frame, mask) in zip(sequence.images, reader, strict=True):
        is_first = path == sequence.images[0]
        new = None if mask is None else new_objects(mask, sequence.shown(mask), known)
        given = mask if is_first else new
        size = given.shape if is_first and given is not None else size
        _check_sizes(sequence, path, frame, given, size)
        yield path.stem, frame, given


def read_frame(
    sequence: VideoSequence, segmenter: Segmenter, path: Path, *, by_device: bool = False
) -> GivenFrame:
    """Reads a frame and the mask that is given for it, at the size of the results.

    ``by_device``: let the segmenter read the image file.
    """
    frame = segmenter.prepare(path if by_device else read_image(path))
    size = sequence.size(frame.size)
    frame = frame if size == frame.size else replace(frame, size=size)
    if path == sequence.images[0]:
        return frame, read_first_mask(sequence, size)
    return frame, sequence.read_mask(path.stem, size)


def read_first_mask(sequence: VideoSequence, size: tuple[int, int] | None = None) -> Mask:
    """Reads the first frame's annotation. Raises ``DataError`` if it cannot be read or holds no object.

    ``size``: (H, W) of the results.
    """
    mask = sequence.read_mask(sequence.images[0].stem, size)
    if mask is None or not sequence.shown(mask):
        found = "no file" if mask is None else ", ".join(str(value) for value in np.unique(mask))
        highest = IGNORE_ID if sequence.ignored is None else MOST_OBJECTS
        raise DataError(
            f"{sequence.annotation}: the first mask is empty: no object ids (1..{highest}), found {found}"
        )
    return mask


def _check_sizes(
    sequence: VideoSequence, path: Path, frame: PreparedFrame, mask: Mask | None, size: tuple[int, ...]
) -> None:
    """Raises ``DataError`` if a frame, or the mask given for it, is not of the first mask's ``size``."""
    is_first = path == sequence.images[0]
    other = f"annotation {sequence.annotation}" if is_first else f"first frame {sequence.images[0]}"
    for place, found in ((path, frame.size), (f"the mask of {path}", None if mask is None else mask.shape)):
        if found not in (None, size):
            raise DataError(
                f"{place}: {found[1]} x {found[0]} pixels, but the {other} has {size[1]} x {size[0]}"
            )
