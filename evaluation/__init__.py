"""The VOST metric: a library of pure functions on mask arrays, and a command that reads PNG files.

>>> ious = score_sequence(annotations, predictions)  # iterables of H x W uint8 masks; K x frames
>>> object_figures(ious)  # K x 6, columns as in FIGURES
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evaluation.errors import DataError

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Imports the metric when it is asked for: who needs an error class does not need OpenCV."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("evaluation.metrics"), name)
