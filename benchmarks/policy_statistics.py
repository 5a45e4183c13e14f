"""What the spread over sequences says about mean figures and their differences: numbers in, numbers out.

Objects of one video share its frames and its memory, so their figures are correlated: the independent unit
is the sequence. The mean is nevertheless the metric's, over all objects. Figures are passed as one array for
each sequence, of as many values as it has objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

CLEAR = 2.0  # standard errors from which a difference is told from none


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, which is NaN for a single sequence."""

    mean: float
    error: float

    @property
    def is_clear(self) -> bool:
        """Whether the mean is more than two standard errors from 0; False where these are unknown."""
        return abs(self.mean) > CLEAR * self.error


def mean_over_objects(sequences: Sequence[FloatArray]) -> Estimate:
    """The mean over all objects, and its standard error with sequences as the independent unit.

    The mean is a ratio of two sums over the n sequences: of their values and of their numbers of objects k_i.
    Its variance is n / (n - 1) * sum((s_i - mean k_i)^2) / (sum k_i)^2, with s_i the sum of a sequence's
    values (the ratio estimator: Cochran, Sampling Techniques, 1977, chapter 6). With equally many objects in
    each sequence it is the usual standard error of the sequences' means.

    Args:
        sequences: for each sequence an array of k_i >= 1 values. Raises ``ValueError`` without a sequence.
    """
    if not sequences:
        raise ValueError("expected figures of at least one sequence")
    sums = np.array([values.sum() for values in sequences])
    counts = np.array([values.size for values in sequences])
    n, objects = len(sequences), int(counts.sum())
    mean = float(sums.sum() / objects)
    if n == 1:
        return Estimate(mean, float("nan"))
    residuals = sums - mean * counts
    return Estimate(mean, float(np.sqrt(n / (n - 1) * (residuals**2).sum()) / objects))


def paired_difference(sequences: Sequence[FloatArray], baseline: Sequence[FloatArray]) -> Estimate:
    """The mean of the objects' differences to the same objects of ``baseline``; see ``mean_over_objects``."""
    differences = []
    for values, other in zip(sequences, baseline, strict=True):
        if values.shape != other.shape:
            raise ValueError(f"expected the same objects, found {values.shape} and {other.shape}")
        differences.append(values - other)
    return mean_over_objects(differences)


def expected_by_chance(differences: int, sequences: int) -> float:
    """How many of the differences would be clear if none was real (Student's t, normal spread).

    ``sequences``: at least 2.
    """
    return float(2 * stats.t.sf(CLEAR, sequences - 1) * differences)


def visible_difference(differences: Sequence[Estimate]) -> float:
    """The size a difference typically needs to be clear: two median standard errors."""
    return CLEAR * float(np.median([difference.error for difference in differences]))
