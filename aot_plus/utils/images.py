"""Images as the networks take them."""

import numpy as np
from numpy.typing import NDArray

# ImageNet statistics of RGB values in 0..1, as all encoders were trained with.
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def normalise(pixels: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
    """RGB values 0..255, ``H x W x 3``, to normalised float32 ``3 x H x W``."""
    scale, shift = 1 / (255 * STD), -MEAN / STD
    return np.ascontiguousarray((pixels * scale + shift).astype(np.float32).transpose(2, 0, 1))
