"""Computes J, F and J_tr as the published tools define them, on mask arrays or folders, or as a command.

>>> ious = score_sequence(annotations, predictions)  # iterables of H x W uint8 masks; K x frames
>>> object_figures(ious)  # K x 6, columns as in FIGURES
>>> evaluate(folder, dataset, "val").j_tr  # scores a folder of predictions and writes the CSV files there
>>> evaluate(folder, davis, "val", protocol="davis").overall  # J&F, J and F under a protocol of PROTOCOLS
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
    from evaluation.per_frame import evaluate_per_frame, read_per_frame
    from evaluation.protocols import PROTOCOLS, get_protocol
    from evaluation.results import Results, evaluate, read_current_results, read_results

__all__ = [
    "FIGURES",
    "PROTOCOLS",
    "DataError",
    "Results",
    "count_objects",
    "decay",
    "evaluate",
    "evaluate_per_frame",
    "frame_ious",
    "get_protocol",
    "global_figures",
    "last_frames",
    "object_figures",
    "read_current_results",
    "read_per_frame",
    "read_results",
    "recall",
    "score_frames",
    "score_sequence",
]

_MODULES = {
    "PROTOCOLS": "protocols",
    "Results": "results",
    "evaluate": "results",
    "evaluate_per_frame": "per_frame",
    "get_protocol": "protocols",
    "read_per_frame": "per_frame",
    "read_current_results": "results",
    "read_results": "results",
}


def __getattr__(name: str) -> Any:
    """Imports a name on first use, so that importing an error class does not load OpenCV."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"evaluation.{_MODULES.get(name, 'metrics')}"), name)
