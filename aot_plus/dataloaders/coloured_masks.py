"""Reads masks as people draw them (indexed, grey or coloured PNG files) and converts them to ids."""

from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import object_ids
from evaluation.masks import IGNORE_ID, MOST_OBJECTS, Mask, open_image

__all__ = ["MaskReader"]

Codes = NDArray[np.int64]  # one number per colour: red << 16 | green << 8 | blue

_MAX_COLOURS = 16384  # a photograph has more, a drawn mask with smooth edges far fewer
_MAX_COLOURS_SHARE = 0.5  # of the pixels: for photographs too small to have that many colours
_FEW_COLOURS = 256  # allowed at any size: a tiny mask may be all edges
_MAX_GREY_BLENDS = 8  # grey levels without an inner pixel; more of them mean smooth edges
_SAME = 8  # largest difference in any channel between colours that count as the same
_ON_SEGMENT = 24.0  # distance in RGB up to which a colour counts as a mix of two others
_MIN_PIXELS = 4  # of an object that has no inner pixel (lines and dots)
_NEAR = np.ones((7, 7), np.uint8)  # reaches from a pixel of a smooth edge to the areas whose colours it mixes


class MaskReader:
    """Reads the masks of one video. A colour keeps its id from one mask to the next.

    - Indexed masks hold ids, and so do grey masks with sharp edges. If 255 (otherwise: ignored) is the only
      value besides 0, the mask is white on black, and 255 is object 1.
    - In coloured masks, and grey masks with smooth edges, black and transparent pixels are background, and
      colours get ids in the order in which they appear, row by row. Colours that only occur as mixes of
      others belong to smooth edges: their pixels take the most similar colour nearby.
    """

    def __init__(self) -> None:
        self._colours: dict[int, int] = {0: 0}  # the id of each colour
        self._used: set[int] = {0, IGNORE_ID}

    def read(self, path: Path, *, may_be_empty: bool = False) -> Mask:
        """Reads a mask as ids (H x W, 0 background, 255 ignored).

        Raises ``DataError`` for a file that is missing, unreadable or not a mask, and for a mask without
        objects unless it ``may_be_empty``.
        """
        mode, pixels = _load(path)
        ids = self._ids(path, mode, pixels)
        shown = object_ids(ids)
        if not shown and not may_be_empty:
            raise DataError(f"{path}: the mask is empty: it shows no object")
        self._used.update(shown)
        return ids

    def _ids(self, path: Path, mode: str, pixels: NDArray[np.uint8]) -> Mask:
        if mode == "grey" and _is_drawn(pixels):
            return self._coloured(path, np.repeat(pixels[..., None], 3, axis=2))
        if mode == "colour":
            return self._coloured(path, pixels)
        if np.array_equal(np.unique(pixels[pixels > 0]), [IGNORE_ID]):
            return np.asarray(pixels == IGNORE_ID, np.uint8)
        return pixels

    def _coloured(self, path: Path, pixels: NDArray[np.uint8]) -> Mask:
        """Converts ``H x W x 3`` colours to ids."""
        codes = _encode(pixels)
        colours, counts = np.unique(codes, return_counts=True)
        most = min(_MAX_COLOURS, max(_FEW_COLOURS, int(_MAX_COLOURS_SHARE * codes.size)))
        if len(colours) > most:
            raise DataError(
                f"{path}: expected a mask with at most {most} colours at this size, "
                f"found a picture with {len(colours)} colours"
            )
        solid = np.unique(codes[_inner(codes)])
        if len(solid) > MOST_OBJECTS:
            raise DataError(f"{path}: {len(solid)} coloured areas: a mask has at most {MOST_OBJECTS} objects")
        kept = _object_colours(colours, counts, solid)
        codes = _without_blends(pixels, codes, kept)
        ids = np.zeros(codes.shape, np.uint8)
        found, first = np.unique(codes, return_index=True)
        for code in found[np.argsort(first)].tolist():
            ids[codes == code] = self._id_of(path, code)
        return ids

    def _id_of(self, path: Path, code: int) -> int:
        """Returns the id of a colour; a colour that was not seen before gets a new id."""
        colour = _decode(np.array([code]))
        for known, value in self._colours.items():
            if np.abs(colour - _decode(np.array([known]))).max() <= _SAME:
                return value
        free = next((value for value in range(1, MOST_OBJECTS + 1) if value not in self._used), None)
        if free is None:
            raise DataError(f"{path}: more than {MOST_OBJECTS} objects in the masks so far")
        self._colours[code] = free
        self._used.add(free)
        return free


def _load(path: Path) -> tuple[str, NDArray[np.uint8]]:
    """Returns the kind of a mask, ``ids``, ``grey`` (both H x W) or ``colour`` (H x W x 3), and its pixels.

    Transparent pixels are black.
    """
    with open_image(path, "a mask") as image:
        if image.format == "JPEG":  # its blurred edges would be read as further ids
            raise DataError(f"{path}: expected a mask in a lossless format, such as PNG, found a JPEG")
        if image.mode in ("P", "1", "L"):
            return "grey" if image.mode == "L" else "ids", np.array(image, dtype=np.uint8)
        if image.mode not in ("RGB", "RGBA", "LA"):
            raise DataError(
                f"{path}: a mask must be indexed, or grey or coloured with 8 bits a channel, "
                f"found mode {image.mode}"
            )
        pixels = np.array(image.convert("RGBA"), dtype=np.uint8)
    return "colour", np.where(pixels[..., 3:] >= 128, pixels[..., :3], 0).astype(np.uint8)


def _is_drawn(levels: NDArray[np.uint8]) -> bool:
    """Returns True if grey levels (H x W) are a drawing with smooth edges, not ids."""
    solid = np.unique(levels[_inner(levels)])
    blends = len(np.unique(levels)) - len(solid)
    white_on_black = np.array_equal(solid[solid > 0], [255])
    return white_on_black or blends > _MAX_GREY_BLENDS


def _inner(values: NDArray[np.uint8] | Codes) -> NDArray[np.bool_]:
    """Finds pixels (H x W) whose eight neighbours have the same value."""
    exact = values.astype(np.float32)  # float32 holds whole numbers exactly up to 2^24
    square = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(exact, square) == cv2.dilate(exact, square))


def _object_colours(colours: Codes, counts: NDArray[np.int64], solid: Codes) -> Codes:
    """Returns black and the colours of objects.

    A colour is an object's if it has inner pixels, or if it has at least ``_MIN_PIXELS`` pixels and is not
    a mix of two colours with inner pixels (or of one and black).
    """
    ends = _decode(np.union1d(solid, [0]))
    rest = ~np.isin(colours, solid) & (counts >= _MIN_PIXELS)
    candidates = colours[rest]
    points = _decode(candidates)  # N x 3
    mixed = np.zeros(len(candidates), dtype=bool)
    for start, end in combinations(ends, 2):
        mixed |= _distance_to_segment(points, start, end) <= _ON_SEGMENT
    return np.unique(np.concatenate([[0], solid, candidates[~mixed]]))


def _distance_to_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Returns the distances (N) of points (N x 3) from the segment between ``start`` and ``end``."""
    along = end - start
    share = np.clip((points - start) @ along / (along @ along), 0, 1)
    return np.asarray(np.linalg.norm(points - start - share[:, None] * along, axis=1))


def _without_blends(pixels: NDArray[np.uint8], codes: Codes, kept: Codes) -> Codes:
    """Replaces each colour that is not kept by the most similar kept colour near the pixel (H x W)."""
    rows, columns = np.nonzero(~np.isin(codes, kept))
    blends = pixels[rows, columns].astype(np.float64)  # N x 3
    nearest, best = np.zeros(len(rows), np.int64), np.full(len(rows), np.inf)
    for code, colour in zip(kept.tolist(), _decode(kept), strict=True):
        near = cv2.dilate(np.asarray(codes == code, np.uint8), _NEAR)[rows, columns] > 0
        distance = np.where(near, np.linalg.norm(blends - colour, axis=1), np.inf)
        nearest[distance < best] = code
        best = np.minimum(best, distance)
    cleaned = codes.copy()
    cleaned[rows, columns] = nearest
    return cleaned


def _encode(pixels: NDArray[np.uint8]) -> Codes:
    """Converts ``H x W x 3`` colours to ``H x W`` codes."""
    return pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _decode(codes: Codes) -> NDArray[np.float64]:
    """Converts ``N`` codes to ``N x 3`` colours."""
    return np.stack([codes >> 16, (codes >> 8) & 255, codes & 255], axis=1).astype(np.float64)
