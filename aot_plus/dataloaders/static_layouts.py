"""Reads folders of images with masks, in the layouts of the datasets for pre-training."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aot_plus.dataloaders.coco_images import is_coco, read_coco
from aot_plus.dataloaders.coloured_masks import MaskReader
from aot_plus.dataloaders.dataset import IMAGE_SUFFIXES
from aot_plus.dataloaders.static_images import StaticImage, check_sizes
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import read_image
from aot_plus.utils.words import format_list
from evaluation.masks import Mask, open_image
from evaluation.vost import visible_folders

__all__ = ["STATIC_FOLDER", "find_static_images"]

STATIC_FOLDER = "Static"
_DEPTH = 2  # levels below the root at which a dataset may be, as in VOCdevkit/VOC2012
_WHITE = 128  # lowest grey level of the object in a mask of one object
_HOW_TO_GET = (
    "Put images of your own into JPEGImages there and their masks into Annotations, or unpack one or more of "
    "COCO 2017 (https://cocodataset.org), "
    "ECSSD (https://www.cse.cuhk.edu.hk/leojia/projects/hsaliency/dataset.html), "
    "MSRA10K (https://mmcheng.net/msra10k), "
    "PASCAL-S (https://cbs.ic.gatech.edu/salobj) and "
    "PASCAL VOC 2012 (http://host.robots.ox.ac.uk/pascal/VOC/voc2012) there; the AOT benchmark "
    "(https://github.com/yoxu515/aot-benchmark) has a link to all five, prepared"
)


@dataclass(frozen=True)
class Layout:
    """Describes a layout of two folders: a mask has the relative path of its image, with the suffix .png.

    ``binary``: whether everything that is more white than black is one object. ``partial``: whether images
    without a mask are skipped; in other layouts they are an error.
    """

    images: str
    masks: str
    binary: bool = False
    partial: bool = False


# The first that fits is used: VOC also has a folder Annotations, which holds boxes.
_LAYOUTS = (
    Layout("JPEGImages", "SegmentationObject", partial=True),  # PASCAL VOC
    Layout("JPEGImages", "Annotations"),  # a user's own, and the AOT benchmark's copy of all five
    Layout("images", "ground_truth_mask", binary=True),  # ECSSD
    Layout("Imgs", "Imgs", binary=True),  # MSRA10K, and some copies of PASCAL-S
    Layout("datasets/imgs/pascal", "datasets/masks/pascal", binary=True),  # PASCAL-S
)


@dataclass(frozen=True)
class PairedImage:
    """Holds the files of an image and its mask."""

    image: Path
    mask: Path
    binary: bool

    @property
    def name(self) -> str:
        """Returns the name of the image with its folder: ``<folder>/<image>``, without suffix."""
        return f"{self.image.parent.name}/{self.image.stem}"

    def read(self) -> tuple[Image, Mask]:
        """Reads both; a mask may show no object. Raises ``DataError``."""
        image, mask = read_image(self.image), self._read_mask()
        check_sizes(self.image, image, mask.shape)
        return image, mask

    def _read_mask(self) -> Mask:
        if not self.binary:
            return MaskReader().read(self.mask, may_be_empty=True)
        with open_image(self.mask, "a mask") as grey:
            return np.asarray(np.asarray(grey.convert("L")) >= _WHITE, np.uint8)


def find_static_images(root: Path) -> list[StaticImage]:
    """Finds the images of a folder in one of the known layouts, or of all such folders in it.

    Raises ``DataError`` if the folder is missing or has no images (with the remedy), or if masks are missing.
    """
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder of static images. {_HOW_TO_GET}")
    images = [image for folder in _set_folders(root, _DEPTH) for image in _read_set(folder)]
    if not images:
        raise DataError(f"{root}: there is no image with a mask in a known layout. {_HOW_TO_GET}")
    return images


def _set_folders(folder: Path, depth: int) -> Iterator[Path]:
    """Finds the folders that have one of the layouts, in the order of their names."""
    if is_coco(folder) or _layout(folder) is not None:
        yield folder
    elif depth:
        for name in visible_folders(folder):
            yield from _set_folders(folder / name, depth - 1)


def _layout(folder: Path) -> Layout | None:
    known = (one for one in _LAYOUTS if (folder / one.images).is_dir() and (folder / one.masks).is_dir())
    return next(known, None)


def _read_set(folder: Path) -> list[StaticImage]:
    layout = _layout(folder)
    return [*read_coco(folder)] if layout is None else [*_pairs(folder, layout)]


def _pairs(folder: Path, layout: Layout) -> list[PairedImage]:
    """Pairs images with masks. Raises ``DataError`` for images without a mask, if each must have one."""
    images, masks = folder / layout.images, folder / layout.masks
    there = {path.relative_to(masks) for path in masks.rglob("*.png")}
    pairs, missing = [], []
    for image in sorted(images.rglob("*")):
        if image.suffix.lower() not in IMAGE_SUFFIXES or image.name.startswith("."):
            continue
        mask = image.relative_to(images).with_suffix(".png")
        if mask in there:
            pairs.append(PairedImage(image, masks / mask, layout.binary))
        else:
            missing.append(str(masks / mask))
    if layout.images == layout.masks:  # the masks in it are not images
        pairs = [pair for pair in pairs if pair.image != pair.mask]
    if missing and not layout.partial:
        raise DataError(f"{len(missing)} images have no mask: {format_list(missing, 5)}")
    return pairs
