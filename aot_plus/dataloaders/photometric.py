"""Augments the colours of training frames, drawn for each frame: the two kinds of the AOT recipes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image as PILImage
from torchvision.transforms.v2 import (
    ColorJitter,
    Compose,
    GaussianBlur,
    RandomApply,
    RandomGrayscale,
    Transform,
)

from aot_plus.dataloaders.clips import RawClip

__all__ = ["Photometric", "colours_of_images", "colours_of_videos", "drawing_from"]

Kind = Literal["v1", "v2"]

_NONE = Compose([torch.nn.Identity()])
_WEAK_JITTER = ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1, hue=0.03)
_STRONG_JITTER = RandomApply([ColorJitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)], p=0.8)
_GREY_AND_BLUR = Compose(
    [RandomGrayscale(0.2), RandomApply([GaussianBlur(kernel_size=13, sigma=(0.1, 2.0))], p=0.3)]
)


@dataclass(frozen=True)
class Photometric:
    """Changes a frame's colours, partly before and partly after it is cropped."""

    before_crop: Transform
    after_crop: Transform

    def apply(self, clip: RawClip, rng: np.random.Generator) -> RawClip:
        """Applies both parts to the frames of a clip that is already cropped."""
        with drawing_from(rng):
            images = [
                np.asarray(self.after_crop(self.before_crop(PILImage.fromarray(image))))
                for image in clip.images
            ]
        return RawClip(images, clip.labels, clip.names)


def colours_of_images(kind: Kind) -> Photometric:
    """Returns the changes for views of static images: weak ones for v1, stronger ones for v2."""
    return Photometric(_WEAK_JITTER, _NONE) if kind == "v1" else Photometric(_STRONG_JITTER, _GREY_AND_BLUR)


def colours_of_videos(kind: Kind) -> Photometric | None:
    """Returns the changes for the frames of a video: None for v1, those of static images for v2."""
    return None if kind == "v1" else colours_of_images(kind)


@contextmanager
def drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """Seeds torchvision's transforms from ``rng``; torch's random state is restored afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(2**63)))
        yield
