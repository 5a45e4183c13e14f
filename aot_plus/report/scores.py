"""J per frame of a result folder, as the metric computes it."""

from dataclasses import dataclass

import pandas as pd

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.report.result_folder import ResultFolder
from aot_plus.utils.errors import DataError
from evaluation.per_frame import evaluate_per_frame, read_current_per_frame

__all__ = ["ScoredFolder", "SequenceScores", "score_folder"]


@dataclass(frozen=True)
class SequenceScores:
    """J (0..1) of a sequence.

    Attributes:
        j: a row for each scored frame, by its name and in order; a column for each object, by its id.
        last: by frame, whether it counts in J_tr.
    """

    j: pd.DataFrame
    last: pd.Series

    def figures(self) -> pd.DataFrame:
        """Returns the columns ``j`` and ``jTr`` of each object (a row, by its id)."""
        return pd.DataFrame({"j": self.j.mean(), "jTr": self.j[self.last].mean()})


@dataclass(frozen=True)
class ScoredFolder:
    """A result folder with the scores of its sequences, and the problems of those without."""

    results: ResultFolder
    scores: dict[str, SequenceScores]
    problems: dict[str, str]


def score_folder(
    results: ResultFolder, dataset: Dataset, split: str, *, workers: int | None = None
) -> ScoredFolder:
    """Scores a folder. ``workers``: processes of the metric; None for as many as there are processors.

    The metric runs if its file of J per frame is missing or damaged, or of other masks or annotations.
    Raises ``DataError`` if no sequence can be scored.
    """
    try:
        return _by_sequence(results, read_current_per_frame(results.path, dataset.root, split))
    except (DataError, ValueError):  # missing, damaged or old
        return _by_sequence(results, evaluate_per_frame(results.path, dataset.root, split, workers))


def _by_sequence(results: ResultFolder, table: pd.DataFrame) -> ScoredFolder:
    """Splits the metric's table by sequence. Raises ``ValueError`` for rows that are missing or doubled."""
    scores = {}
    scored = table[table["Problem"] == ""]
    for name, rows in scored.groupby("Sequence"):
        frames = rows.drop_duplicates("Frame").set_index("Frame")
        j = rows.pivot(index="Frame", columns="Object", values="J").astype(float).loc[frames.index]
        last = frames["Last"] == 1
        if j.isna().any(axis=None) or not last.any():
            raise ValueError(f"{name}: rows are missing")
        scores[str(name)] = SequenceScores(j, last.astype(bool))
    problems = table[table["Problem"] != ""]
    return ScoredFolder(results, scores, dict(zip(problems["Sequence"], problems["Problem"], strict=True)))
