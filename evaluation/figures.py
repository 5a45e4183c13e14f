"""Computes the figures of objects and datasets under each protocol, and defines how they are written."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import FIGURES, FloatArray, decay, object_figures, recall
from evaluation.scoring import ObjectScores

__all__ = ["FIGURE_SETS", "FigureSet", "Row"]

_log = logging.getLogger(__name__)

Row = dict[str, float]

GROUPS = ("seen", "unseen")
_V_DECIMALS = 4


@dataclass(frozen=True)
class FigureSet:
    """Describes the figures that are computed from the scores.

    Attributes:
        of_object: computes the figures of an object.
        overall: computes the figures of the dataset, from the scores and figures of all objects.
        object_columns: the figures of an object that are written.
        decimals: the number of decimals in the files.
        form: ``tables``, two CSV files with the set in their names; ``padded``, vos-benchmark's
            ``results.csv``; ``lines``, MOSE v2's ``scores.txt``.
    """

    of_object: Callable[[ObjectScores], Row]
    overall: Callable[[Sequence[ObjectScores], Sequence[Row]], Row]
    object_columns: tuple[str, ...]
    decimals: int
    form: str = "tables"


def _mean(values: Iterable[float] | FloatArray) -> float:
    """Averages the values that are not NaN; returns NaN if there are none."""
    counted = np.array([value for value in values if not math.isnan(value)])
    return float(counted.mean()) if counted.size else math.nan


def _means(scores: Sequence[ObjectScores], rows: Sequence[Row]) -> Row:
    return {name: _mean([row[name] for row in rows]) for name in rows[0]}


def _vost_object(scores: ObjectScores) -> Row:
    return dict(zip(FIGURES, object_figures(scores.values["J"][None])[0].tolist(), strict=True))


def _davis_object(scores: ObjectScores) -> Row:
    row: Row = {}
    for name, values in scores.values.items():
        row |= {
            f"{name}-Mean": float(values.mean()),
            f"{name}-Recall": float(recall(values)),
            f"{name}-Decay": float(decay(values)),
        }
    return row


def _davis_overall(scores: Sequence[ObjectScores], rows: Sequence[Row]) -> Row:
    means = _means(scores, rows)
    return {"J&F-Mean": (means["J-Mean"] + means["F-Mean"]) / 2, **means}


def _percent_object(scores: ObjectScores) -> Row:
    j, f = (100 * _mean(scores.values[name]) for name in ("J", "F"))
    return {"J&F": (j + f) / 2, "J": j, "F": f}


def _lvos_object(scores: ObjectScores) -> Row:
    """Computes J, F and V, the standard deviation of (J + F) / 2 over the frames."""
    j, f = scores.values["J"], scores.values["F"]
    variance = round(float(np.nanvar((j + f) / 2)), _V_DECIMALS)
    return {"J-Mean": _mean(j), "F-Mean": _mean(f), "V-Mean": math.sqrt(variance)}


def _grouped(
    scores: Sequence[ObjectScores], rows: Sequence[Row], measures: str, without: str
) -> dict[str, list[float]]:
    """Returns the mean of each measure (by its letter) over the seen and over the unseen objects.

    ``without``: what a missing group means for the other figures, for a warning.
    """
    if absent := [group for group in GROUPS if all(one.group != group for one in scores)]:
        _log.warning("no object counts as %s: %s", " or ".join(absent), without)
    return {
        measure: [
            _mean(row[f"{measure}-Mean"] for one, row in zip(scores, rows, strict=True) if one.group == group)
            for group in GROUPS
        ]
        for measure in measures
    }


def _lvos_overall(scores: Sequence[ObjectScores], rows: Sequence[Row]) -> Row:
    """Computes the mean of seen and unseen videos, each of which is the mean over its objects.

    With videos of one kind only, such as a part of the set, the figures are those of that kind. The published
    tool defines none.
    """
    groups = _grouped(scores, rows, "JFV", "the overall figures are those of the other objects alone")
    row = {"J&F-Mean": _mean([*groups["J"], *groups["F"]])}
    for measure, (seen, unseen) in groups.items():
        row |= {
            f"{measure}-Mean": _mean([seen, unseen]),
            f"{measure}-seen-Mean": seen,
            f"{measure}-unseen-Mean": unseen,
        }
    return row


def _youtube_vos_object(scores: ObjectScores) -> Row:
    return {f"{name}-Mean": _mean(values) for name, values in scores.values.items()}


def _youtube_vos_overall(scores: Sequence[ObjectScores], rows: Sequence[Row]) -> Row:
    """Computes J and F over all objects, and G, the mean of J and F over the seen and the unseen objects.

    G is NaN unless there are objects of both kinds.
    """
    groups = _grouped(scores, rows, "JF", "G and the figures that need one are empty")
    row = {"G-Mean": float(np.mean([groups["J"], groups["F"]]))}
    for measure, (seen, unseen) in groups.items():
        row |= {f"{measure}-seen-Mean": seen, f"{measure}-unseen-Mean": unseen}
    return row | _means(scores, rows)


def _mosev2_object(scores: ObjectScores) -> Row:
    """Computes means over all frames, over runs without the object, and over runs in which it is back."""
    row = {name: _mean(values) for name, values in scores.values.items()}
    runs = _runs(scores.annotated)
    for name, back in (("disappear", False), ("reappear", True)):
        for measure in ("J", "F_new"):
            values = scores.values[measure]
            row[f"{name}_{measure}"] = _mean(
                float(values[run].mean()) for run in runs if scores.annotated[run.start] == back
            )
    return row


def _runs(annotated: NDArray[np.bool_]) -> list[slice]:
    """Returns the runs of frames with or without the object, except the run that starts the sequence."""
    starts = (np.flatnonzero(annotated[1:] != annotated[:-1]) + 1).tolist()
    return [slice(start, end) for start, end in pairwise([*starts, len(annotated)])]


def _mosev2_overall(scores: Sequence[ObjectScores], rows: Sequence[Row]) -> Row:
    means = _means(scores, rows)
    back, gone = ((means[f"{name}_J"] + means[f"{name}_F_new"]) / 2 for name in ("reappear", "disappear"))
    return {
        "J&F_new": (means["J"] + means["F_new"]) / 2,
        "J": means["J"],
        "F_new": means["F_new"],
        "disappear_J&F_new": gone,
        "reappear_J&F_new": back,
        "F": means["F"],
        "J&F": (means["J"] + means["F"]) / 2,
    }


FIGURE_SETS = {
    "vost": FigureSet(_vost_object, _means, ("J-Mean", "J_last-Mean"), 6),
    "davis": FigureSet(_davis_object, _davis_overall, ("J-Mean", "F-Mean"), 3),
    "percent": FigureSet(_percent_object, _means, ("J&F", "J", "F"), 1, "padded"),
    "lvos": FigureSet(_lvos_object, _lvos_overall, ("J-Mean", "F-Mean", "V-Mean"), 3),
    "mosev2": FigureSet(_mosev2_object, _mosev2_overall, ("J", "F_new", "F"), 4, "lines"),
    "youtube-vos": FigureSet(_youtube_vos_object, _youtube_vos_overall, ("J-Mean", "F-Mean"), 3),
}
