"""J per frame of a result folder, as the metric computes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.report.result_folder import ResultFolder
from aot_plus.utils.errors import DataError
from evaluation.per_frame import evaluate_per_frame, per_frame_path, read_per_frame

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

    The metric runs if its file of J per frame is missing or damaged, or older than a mask or an annotation.
    Raises ``DataError`` if no sequence can be scored.
    """
    try:
        found = _by_sequence(results, read_per_frame(results.path, split))
        if _is_current(found, dataset, split):
            return found
    except (DataError, ValueError):  # missing or damaged
        pass
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


def _is_current(found: ScoredFolder, dataset: Dataset, split: str) -> bool:
    """No mask, annotation or sequence is newer than the metric's file, and it is of this dataset."""
    results = found.results
    names = set(results.sequences) & set(dataset.sequences(split))
    if not found.scores.keys() <= names <= found.scores.keys() | found.problems.keys():
        return False
    for name, scores in found.scores.items():
        annotated = (dataset.masks_folder / name).glob("[!.]*.png")
        if sorted(path.stem for path in annotated)[1:-1] != list(scores.j.index):
            return False
    written = per_frame_path(results.path, split).stat().st_mtime_ns
    folders = [root / name for name in names for root in (results.path, dataset.masks_folder)]
    return all(changed <= written for folder in folders for changed in _changes(folder))


def _changes(folder: Path) -> Iterable[int]:
    """Yields the times at which the folder and its files were last changed, in nanoseconds."""
    if folder.is_dir():
        yield folder.stat().st_mtime_ns
        yield from (file.stat().st_mtime_ns for file in folder.iterdir())
