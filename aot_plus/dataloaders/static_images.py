"""Makes clips from single images with masks, for pre-training: every frame is another random view."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image as PILImage
from torchvision.transforms import InterpolationMode, RandomAffine, RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from aot_plus.dataloaders.clips import RawClip
from aot_plus.dataloaders.photometric import Photometric, drawing_from
from aot_plus.dataloaders.video_transforms import PADDING_COLOUR, PADDING_ID
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import object_ids
from evaluation.masks import Mask

__all__ = ["StaticClips", "StaticImage", "StaticTransform", "check_sizes"]

# The published augmentation. Angles are in degrees, lengths are shares of the image's sides.
_FLIP = 0.5  # probability for the image, and so for all of its views
_FLIP_VIEW = 0.3  # probability for each view but the first
_ROTATION = (-20.0, 20.0)
_SHIFT = (0.1, 0.1)
_ZOOM = (0.9, 1.1)
_SHEAR = (-10.0, 10.0)
_CROP_AREA = [0.8, 1.0]
_CROP_ASPECT = [3 / 4, 4 / 3]

View = tuple[PILImage.Image, PILImage.Image]  # image and mask


class StaticImage(Protocol):
    """Provides an image with its mask."""

    @property
    def name(self) -> str:
        """Returns the name for messages and pictures."""

    def read(self) -> tuple[Image, Mask]:
        """Reads the image, H x W x 3 RGB, and its mask, H x W ids.

        Raises ``DataError`` for an unreadable file or a mask of another size.
        """


class StaticClips:
    """Makes clips of ``length`` times the same image, which ``StaticTransform`` turns into views."""

    def __init__(self, images: Sequence[StaticImage], length: int) -> None:
        self._images = images
        self._length = length

    def __len__(self) -> int:
        return len(self._images)

    @property
    def entries(self) -> Sequence[int]:
        """Lists every image once."""
        return range(len(self))

    @property
    def keys(self) -> Sequence[str]:
        """Lists the name of every image."""
        return [image.name for image in self._images]

    def related(self, index: int) -> Sequence[int]:
        """Lists all images."""
        return range(len(self))

    def draw(self, index: int, rng: np.random.Generator) -> RawClip | None:
        """Makes a clip from one image; None if its mask shows no object. Raises ``DataError``."""
        image, mask = self._images[index].read()
        if not object_ids(mask):
            return None
        return RawClip([image] * self._length, [mask] * self._length, [self._images[index].name])

    def check(self, index: int) -> None:
        """Raises ``DataError`` if an image or its mask cannot be used."""
        self._images[index].read()


def check_sizes(path: Path, image: Image, size: tuple[int, ...]) -> None:
    """Raises ``DataError`` if the ``size`` (H, W) of a mask is not that of its image, the file ``path``."""
    if image.shape[:2] != size:
        raise DataError(f"{path}: the mask is {size}, its image {image.shape[:2]} (rows, columns)")


@dataclass(frozen=True)
class StaticTransform:
    """Makes views of an image that differ in colours, position and crop, as in the AOT recipe.

    ``crop``: rows and columns of the result.
    """

    crop: tuple[int, int]
    colours: Photometric

    def apply(self, clip: RawClip, rng: np.random.Generator) -> RawClip:
        """Returns the views; in ``clip``, all frames are the same image and mask."""
        image, mask = PILImage.fromarray(clip.images[0]), PILImage.fromarray(clip.reference)
        images: list[Image] = []
        labels: list[Mask | None] = []
        with drawing_from(rng):
            if torch.rand(()) < _FLIP:
                image, mask = F.hflip(image), F.hflip(mask)
            for index in range(len(clip.images)):
                pixels, label = self._view((image, mask), first=index == 0)
                images.append(np.asarray(pixels))
                labels.append(np.asarray(label))
        return RawClip(images, labels, clip.names)

    def _view(self, view: View, *, first: bool) -> View:
        image, mask = view if first else _moved(*view)
        image, mask = self._cut(self.colours.before_crop(image), mask)
        return self.colours.after_crop(image), mask

    def _cut(self, image: PILImage.Image, mask: PILImage.Image) -> View:
        box = RandomResizedCrop.get_params(image, _CROP_AREA, _CROP_ASPECT)
        size = list(self.crop)
        return (
            F.resized_crop(image, *box, size, InterpolationMode.BICUBIC),
            F.resized_crop(mask, *box, size, InterpolationMode.NEAREST),
        )


def _moved(image: PILImage.Image, mask: PILImage.Image) -> View:
    """Flips, rotates, shifts, scales and shears both alike; new borders get the mean colour."""
    if torch.rand(()) < _FLIP_VIEW:
        image, mask = F.hflip(image), F.hflip(mask)
    place = RandomAffine.get_params(_ROTATION, _SHIFT, _ZOOM, _SHEAR, list(image.size))
    fill = [int(value) for value in PADDING_COLOUR]
    return (
        F.affine(image, *place, interpolation=InterpolationMode.BICUBIC, fill=fill),
        F.affine(mask, *place, interpolation=InterpolationMode.NEAREST, fill=[PADDING_ID]),
    )
