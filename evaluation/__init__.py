"""The VOST metric: a library of pure functions on mask arrays, and a command that reads PNG files.

>>> ious = score_sequence(annotations, predictions)  # iterables of H x W uint8 masks; K x frames
>>> object_figures(ious)  # K x 6, columns as in FIGURES
"""

from evaluation.errors import DataError
from evaluation.metrics import (
    FIGURES,
    count_objects,
    decay,
    frame_ious,
    global_figures,
    last_frames,
    object_figures,
    recall,
    score_frames,
    score_sequence,
)

__all__ = [
    "FIGURES",
    "DataError",
    "count_objects",
    "decay",
    "frame_ious",
    "global_figures",
    "last_frames",
    "object_figures",
    "recall",
    "score_frames",
    "score_sequence",
]
