"""Defines the array types that MiniVOST draws with, and fast operations between one and three channels."""

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]  # positions, angles, transforms
Picture = NDArray[np.float32]  # h x w (x channels): colours 0..255, or shares 0..1
Silhouette = NDArray[np.uint8]  # 0 or 1 on a square canvas
Rng = np.random.Generator


def repeat_channels(values: Picture) -> Picture:
    """Repeats h x w values for red, green and blue: h x w x 3.

    Broadcasting in NumPy, three numbers at a time, would take many times as long.
    """
    return np.asarray(cv2.merge([values, values, values]))


def per_colour(values: Picture, factors: Picture) -> Picture:
    """Multiplies h x w values by a factor for each of three colours: h x w x 3."""
    return np.asarray(cv2.merge([values * factor for factor in factors]))


def composite(picture: Picture, pixels: Picture, brightness: float = 1.0) -> None:
    """Composites premultiplied RGBA (h x w x 4) over a picture (h x w x 3), in place."""
    red, green, blue, alpha = cv2.split(pixels)
    picture *= repeat_channels(1.0 - alpha)
    colours = cv2.merge([red, green, blue])
    picture += colours if brightness == 1.0 else colours * np.float32(brightness)
