"""Names of the arrays that MiniVOST draws with."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]  # positions, angles, transforms
Picture = NDArray[np.float32]  # h x w (x channels): colours 0..255, or shares 0..1
Silhouette = NDArray[np.uint8]  # 0 or 1 on a square canvas
Rng = np.random.Generator
