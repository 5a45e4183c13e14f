"""Loads real pictures as textures, from the wheels of scikit-learn and scikit-image."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost.arrays import Picture, Rng
from aot_plus.dataloaders.mini_vost.textures import random_part, sample_photograph

OF_SCIKIT_LEARN = ("china.jpg", "flower.jpg")
OF_SCIKIT_IMAGE = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "retina",
    "rocket",
    "stereo_motorcycle",
)
"""Functions of ``skimage.data`` whose files are in the wheel, so that nothing is downloaded."""
_NAMES = OF_SCIKIT_LEARN + OF_SCIKIT_IMAGE
_LONG_SIDE = 640  # pixels; larger pictures are reduced


@cache
def photograph(name: str) -> NDArray[np.uint8]:
    """Loads a picture by name, H x W x 3 RGB. Do not modify it: it is cached."""
    picture = sample_photograph(name) if name in OF_SCIKIT_LEARN else _of_scikit_image(name)
    if picture.ndim == 2:
        picture = np.asarray(cv2.merge([picture] * 3), np.uint8)
    shrink = min(_LONG_SIDE / max(picture.shape), 1.0)
    return np.asarray(cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)


def photo_texture(rng: Rng, height: int, width: int) -> Picture:
    """Cuts a random part out of a random picture and changes its colours: h x w x 3."""
    photo = photograph(str(rng.choice(_NAMES)))
    largest = min(photo.shape[0] / height, photo.shape[1] / width)
    zoom = largest * float(np.exp(rng.uniform(np.log(0.25), 0.0)))
    rows, columns = max(int(height * zoom), 2), max(int(width * zoom), 2)
    part = random_part(rng, photo, rows, columns)
    patch = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR)
    return recoloured(rng, patch.astype(np.float32))


def recoloured(rng: Rng, picture: Picture) -> Picture:
    """Changes a picture's contrast, brightness and colour balance; often permutes its colour channels."""
    mixing = np.diag(rng.uniform(0.6, 1.4, 3))
    if rng.random() < 0.4:
        mixing = mixing[rng.permutation(3)]
    contrast, level = float(rng.uniform(0.5, 1.5)), float(rng.uniform(60, 190))
    matrix = np.concatenate([contrast * mixing, np.full((3, 1), level)], axis=1)
    centred = picture - np.float32(picture.mean())
    return np.asarray(np.clip(cv2.transform(centred, matrix), 0, 255), np.float32)


def _of_scikit_image(name: str) -> NDArray[np.uint8]:
    import skimage.data  # here, because the import takes a second

    found = getattr(skimage.data, name)()
    return np.asarray(found[0] if isinstance(found, tuple) else found, np.uint8)  # left of a pair
