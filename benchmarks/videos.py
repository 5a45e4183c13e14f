"""A synthetic video in memory: discs that circle over a moving texture."""

import cv2
import numpy as np
from numpy.typing import NDArray


class SyntheticVideo:
    """As many frames as are asked for, each made when it is. The same numbers give the same video."""

    def __init__(self, size: tuple[int, int], objects: int, seed: int = 0) -> None:
        """``size``: height and width in pixels; ``objects``: 1..254, with ids from 1."""
        rng = np.random.default_rng(seed)
        height, width = self.size = size
        coarse = rng.integers(0, 256, (max(height // 8, 1), max(width // 8, 1), 3), dtype=np.uint8)
        self._texture = np.asarray(cv2.resize(coarse, (width, height)), dtype=np.uint8)
        columns = int(np.ceil(np.sqrt(objects * width / height)))
        rows = -(-objects // columns)
        self._cell = (height / rows, width / columns)
        places = [divmod(index, columns) for index in range(objects)]
        self._centres = (np.array(places) + 0.5) * self._cell  # K x 2, y and x
        self._phases = rng.uniform(0, 2 * np.pi, objects)
        self._colours = rng.integers(0, 256, (objects, 3)).tolist()

    def frame(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Frame ``index``: image ``H x W x 3`` RGB and mask ``H x W`` of ids 0..K, both uint8."""
        image = np.ascontiguousarray(np.roll(self._texture, index, axis=1))
        mask = np.zeros(self.size, dtype=np.uint8)
        radius = max(round(0.3 * min(self._cell)), 1)
        for number, (centre, phase) in enumerate(zip(self._centres, self._phases, strict=True), start=1):
            angle = phase + 0.1 * index
            y, x = centre + 0.15 * min(self._cell) * np.array([np.sin(angle), np.cos(angle)])
            place = (round(float(x)), round(float(y)))
            cv2.circle(image, place, radius, self._colours[number - 1], thickness=-1)
            cv2.circle(mask, place, radius, number, thickness=-1)
        return image, mask
