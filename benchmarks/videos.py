"""Draws a synthetic video in memory, and writes videos in VOST's layout."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aot_plus.utils.masks import write_mask
from evaluation.files import replace_text

Image = NDArray[np.uint8]  # H x W x 3, RGB; masks H x W


class SyntheticVideo:
    """Draws discs that circle over a moving texture. Equal arguments give the same video."""

    def __init__(self, size: tuple[int, int], objects: int) -> None:
        """``size``: height and width in pixels; ``objects``: 1..254, with ids from 1."""
        rng = np.random.default_rng(0)
        height, width = self.size = size
        coarse = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
        self._texture = np.asarray(cv2.resize(coarse, (width, height)), dtype=np.uint8)
        columns = int(np.ceil(np.sqrt(objects * width / height)))
        self._cell = np.array([height / -(-objects // columns), width / columns])
        places = np.array([divmod(index, columns) for index in range(objects)])
        self._centres = (places + 0.5) * self._cell  # K x 2, y and x
        self._phases = rng.uniform(0, 2 * np.pi, objects)
        self._colours = rng.integers(0, 256, (objects, 3)).tolist()

    def frame(self, index: int) -> tuple[Image, Image]:
        """Returns the image of frame ``index`` and its mask of ids ``H x W``, both uint8."""
        image = np.ascontiguousarray(np.roll(self._texture, index, axis=1))
        mask = np.zeros(self.size, dtype=np.uint8)
        radius = max(round(0.3 * float(self._cell.min())), 1)
        for number, (centre, phase) in enumerate(zip(self._centres, self._phases, strict=True), start=1):
            angle = phase + 0.1 * index
            y, x = (centre + 0.15 * self._cell.min() * np.array([np.sin(angle), np.cos(angle)])).round()
            cv2.circle(image, (int(x), int(y)), radius, self._colours[number - 1], thickness=-1)
            cv2.circle(mask, (int(x), int(y)), radius, number, thickness=-1)
        return image, mask


def write_video(root: Path, name: str, frames: Iterable[tuple[Image, Image]]) -> None:
    """Writes images (RGB) and masks like VOST at 10 fps, where every second frame is annotated."""
    images, masks = root / "JPEGImages_10fps" / name, root / "Annotations" / name
    images.mkdir(parents=True, exist_ok=True)
    for number, (image, mask) in enumerate(frames):
        cv2.imwrite(str(images / f"frame{number:05d}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        if number % 2 == 0:
            write_mask(masks / f"frame{number:05d}.png", mask)


def write_list(root: Path, split: str, names: Iterable[str]) -> None:
    """Writes the list of a split's sequences, complete or not at all."""
    replace_text(root / "ImageSets" / f"{split}.txt", "".join(f"{name}\n" for name in names))
