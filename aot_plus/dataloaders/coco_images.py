"""Reads COCO's images with masks drawn from its polygons."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.static_images import check_sizes
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import read_image
from evaluation.files import require_regular
from evaluation.masks import IGNORE_ID, MOST_OBJECTS, Mask

__all__ = ["CocoImage", "is_coco", "read_coco"]

IMAGES = "train2017"
OBJECTS = "annotations/instances_train2017.json"

Polygon = NDArray[np.int32]  # points x 2: column, row


@dataclass
class CocoImage:
    """Holds an image and the outlines of its objects; regions of crowds are ignored in the mask."""

    path: Path
    size: tuple[int, int]  # rows, columns
    objects: list[tuple[float, list[Polygon]]] = field(default_factory=list)  # area, parts
    crowds: list[NDArray[np.int32]] = field(default_factory=list)  # run lengths, column by column

    @property
    def name(self) -> str:
        """Returns the name of the image with its folder: ``<folder>/<image>``, without suffix."""
        return f"{self.path.parent.name}/{self.path.stem}"

    def read(self) -> tuple[Image, Mask]:
        """Reads the image and draws its mask. Small objects cover large ones. Raises ``DataError``."""
        image = read_image(self.path)
        check_sizes(self.path, image, self.size)
        mask = np.zeros(self.size, np.uint8)
        for runs in self.crowds:
            mask[_from_runs(runs, self.size)] = IGNORE_ID
        largest = sorted(self.objects, key=lambda one: -one[0])[:MOST_OBJECTS]
        for number, (_, parts) in enumerate(largest, start=1):
            for part in parts:  # filled in one call, overlapping parts would leave a hole
                cv2.fillPoly(mask, [part], number)
        return image, mask


def is_coco(folder: Path) -> bool:
    """Returns whether a folder contains COCO's training images and the file of their objects."""
    return (folder / IMAGES).is_dir() and (folder / OBJECTS).is_file()


def read_coco(folder: Path) -> Sequence[CocoImage]:
    """Lists the images that show an object. Raises ``DataError`` if the file is not in COCO's format.

    The file is large, and the start of a training needs it several times: it is kept until it changes.
    """
    path = folder / OBJECTS
    require_regular(path)
    facts = path.stat() if path.is_file() else None
    return _read(folder, (facts.st_mtime_ns, facts.st_size) if facts else (0, 0))


@lru_cache(maxsize=1)
def _read(folder: Path, _: tuple[int, int]) -> Sequence[CocoImage]:
    path = folder / OBJECTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = {
            one["id"]: CocoImage(folder / IMAGES / one["file_name"], (int(one["height"]), int(one["width"])))
            for one in content["images"]
        }
        for one in content["annotations"]:
            _add(images[one["image_id"]], one)
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise DataError(f"{path}: expected COCO's images and annotations ({error!r:.200})") from error
    return tuple(image for image in images.values() if image.objects)


def _add(image: CocoImage, one: Mapping[str, Any]) -> None:
    shape = one["segmentation"]
    if one.get("iscrowd"):
        runs = np.asarray(shape["counts"], np.int32)
        if runs.min(initial=0) < 0 or runs.sum(dtype=np.int64) != image.size[0] * image.size[1]:
            raise ValueError(f"the runs of a crowd do not fill image {image.path.name}")
        image.crowds.append(runs)
    else:
        parts = [_polygon(part, image.size) for part in shape if part]  # some exports have empty parts
        image.objects.append((float(one["area"]), parts))


def _polygon(numbers: Sequence[float], size: tuple[int, int]) -> Polygon:
    """Makes a polygon from alternating columns and rows, clipped to one pixel outside the image."""
    points = np.asarray(numbers, np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a polygon has a coordinate that is not a finite number")
    return np.round(np.clip(points, -1, size[::-1])).astype(np.int32)


def _from_runs(runs: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Expands run lengths, alternately outside and inside and column by column, to a mask, H x W."""
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return inside.reshape(size[::-1]).T
