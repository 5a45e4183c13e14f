"""Clips made of one image and its mask, for training before any video: every frame is another random warp."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from aot_plus.dataloaders.clips import RawClip, object_ids
from aot_plus.dataloaders.eval_datasets import IMAGE_SUFFIXES
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import read_image
from evaluation.masks import Mask, read_mask
from evaluation.vost import ANNOTATIONS

IMAGES = "JPEGImages"
_MIN_FRAMES = 3
_MAX_OBJECT_SHARE = 0.9  # of the image: a mask that covers nearly all of it leaves nothing to tell apart
_CONTROL_POINTS = 4  # a side of the thin-plate spline's grid
# How far a warp may go: angles in degrees, lengths as a share of the image's shorter side.
_ROTATION = 20.0
_SHEAR = 10.0
_ZOOM = 1.2  # 1/zoom..zoom, for each axis
_SHIFT = 0.1
_BEND = 0.04  # standard deviation of the thin-plate control points
_COARSE = 33  # points a side that the spline is evaluated at; bilinear between them


def list_static_images(root: Path) -> list[tuple[Path, Path]]:
    """Image and mask of every ``root/JPEGImages/<path>``; the mask is ``root/Annotations/<path>.png``.

    Raises ``DataError`` for a folder or a mask that is not there.
    """
    images = root / IMAGES
    if not images.is_dir():
        raise DataError(
            f"{images}: there is no such folder; static images go there, their masks to {root / ANNOTATIONS}"
        )
    pairs = []
    for image in sorted(images.rglob("*")):
        if image.suffix.lower() in IMAGE_SUFFIXES and not image.name.startswith("."):
            mask = root / ANNOTATIONS / image.relative_to(images).with_suffix(".png")
            pairs.append((image, mask))
    if not pairs:
        raise DataError(f"{images}: there is no image ({', '.join(IMAGE_SUFFIXES)})")
    missing = [str(mask) for _, mask in pairs if not mask.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} images have no mask: {', '.join(missing[:5])}{' ...' * (len(missing) > 5)}"
        )
    return pairs


class StaticClips:
    """Random clips of static images: ``length`` affine and thin-plate warps of one image and its mask."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], length: int) -> None:
        if length < _MIN_FRAMES:
            raise ConfigError(
                f"DATA_SEQ_LEN: static images need at least {_MIN_FRAMES} frames, found {length}"
            )
        self._pairs = pairs
        self._length = length

    def __len__(self) -> int:
        return len(self._pairs)

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Draws a clip of one image; None if its mask or first warp shows no object, or little background.

        Raises ``DataError`` for an unreadable file or a mask of another size.
        """
        image, mask = self._read(index)
        ids = object_ids(mask)
        if not ids or np.count_nonzero(mask) > _MAX_OBJECT_SHARE * mask.size:
            return None
        images, labels = [], []
        for _ in range(self._length):
            warp = random_warp(mask.shape, rng)
            images.append(warp_image(image, warp))
            labels.append(warp_mask(mask, warp))
        if not object_ids(labels[0]):
            return None
        return RawClip(images, list(labels), [self._pairs[index][0].stem])

    def check(self, index: int) -> None:
        """Raises ``DataError`` if an image or its mask cannot be used."""
        self._read(index)

    def _read(self, index: int) -> tuple[Image, Mask]:
        image_path, mask_path = self._pairs[index]
        image, mask = read_image(image_path), read_mask(mask_path)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{mask_path}: the mask is {mask.shape}, its image {image.shape[:2]} (rows, columns)"
            )
        return image, mask


def random_warp(size: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """For each pixel of the result (H x W x 2), the x and y in the source it comes from, in pixels."""
    height, width = size
    short = min(height, width)
    matrix = _random_affine(rng)
    centre = np.array([width - 1, height - 1]) / 2
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * short
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    grid = np.stack([columns, rows], axis=-1)
    affine = (grid - centre) @ matrix.T + centre + shift
    return (affine + _bend(size, _BEND * short, rng)).astype(np.float32)


def _random_affine(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = np.deg2rad(rng.uniform(-_ROTATION, _ROTATION))
    shear = np.tan(np.deg2rad(rng.uniform(-_SHEAR, _SHEAR)))
    zoom = np.exp(rng.uniform(-1, 1, 2) * np.log(_ZOOM))
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(rotation @ np.array([[1.0, shear], [0.0, 1.0]]) @ np.diag(zoom))


def _bend(size: tuple[int, ...], deviation: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Displacements (H x W x 2, pixels) of a thin-plate spline through randomly moved control points.

    The spline (Bookstein, 1989) is smooth, so it is evaluated on a coarse grid and interpolated.
    """
    side = np.linspace(0, 1, _CONTROL_POINTS)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    moved = rng.normal(0, deviation, points.shape)
    fine = np.linspace(0, 1, _COARSE)
    places = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    coarse = RBFInterpolator(points, moved, kernel="thin_plate_spline")(places).reshape(_COARSE, _COARSE, 2)
    return np.asarray(cv2.resize(coarse.astype(np.float32), (size[1], size[0])), dtype=np.float32)


def warp_image(image: Image, warp: NDArray[np.float32]) -> Image:
    """H x W x 3, bilinear; beyond its borders the image is mirrored."""
    warped = cv2.remap(image, warp[..., 0], warp[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, dtype=np.uint8)


def warp_mask(mask: Mask, warp: NDArray[np.float32]) -> Mask:
    """H x W ids, nearest; mirrored like the image, so that a mirrored part of an object keeps its id."""
    warped = cv2.remap(mask, warp[..., 0], warp[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, dtype=np.uint8)
