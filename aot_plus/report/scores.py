"""Reads a result folder's J per frame, and F if the protocol has it, as the metric computes them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pandas as pd

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.report.result_folder import ResultFolder
from aot_plus.utils.errors import DataError
from evaluation.per_frame import evaluate_per_frame, read_current_per_frame
from evaluation.protocols import PROTOCOLS, Protocol

__all__ = ["ScoredFolder", "SequenceScores", "align_frames", "score_folder"]


@dataclass(frozen=True)
class SequenceScores:
    """Holds J (0..1) of a sequence, and the values from which J_tr or F is computed.

    Attributes:
        j: a row for each scored frame, by name and in order; a column for each object, by id. NaN where the
            frame does not count for the object, which happens only in protocols with F.
        last: for each frame, whether it counts in J_tr; None under a protocol with F.
        f: F, in the form of ``j``; None under VOST's protocol.
    """

    j: pd.DataFrame
    last: pd.Series | None
    f: pd.DataFrame | None

    def figures(self) -> pd.DataFrame:
        """Returns a row for each object, by id, with the columns ``j`` and ``second`` (J_tr or F)."""
        values = self.j[self.last] if self.f is None else self.f
        return pd.DataFrame({"j": self.j.mean(), "second": values.mean()})


@dataclass(frozen=True)
class ScoredFolder:
    """Holds a result folder, the scores of its sequences, and why others could not be scored."""

    results: ResultFolder
    scores: dict[str, SequenceScores]
    problems: dict[str, str]


def score_folder(
    results: ResultFolder,
    dataset: Dataset,
    *,
    protocol: Protocol = PROTOCOLS["vost"],
    workers: int | None = None,
) -> ScoredFolder:
    """Scores a folder. ``workers``: processes of the metric; None for one per core.

    The metric runs if its file of J per frame is missing, damaged or outdated (other masks or annotations).
    Under other protocols than VOST's, and without a list of sequences, it always runs. Raises ``DataError``
    if no sequence has masks.
    """
    root, set_name, protocol = dataset.truth(protocol)
    if protocol == PROTOCOLS["vost"]:
        with suppress(DataError, ValueError):  # missing, damaged or old
            table = read_current_per_frame(results.path, root, protocol.set_name(set_name))
            return _by_sequence(results, table)
    # The folder may belong to another user, or its disk be full.
    table = evaluate_per_frame(results.path, root, set_name, workers, protocol, must_write=False)
    return _by_sequence(results, table)


def align_frames(runs: Sequence[ScoredFolder]) -> None:
    """Aligns all runs with F to the same frames of a sequence: those that count in at least one run.

    An object may count only from the frame where it is first predicted, which can differ between runs.
    """
    for name in {name for run in runs for name in run.scores}:
        having = [run for run in runs if name in run.scores and run.scores[name].last is None]
        frames = sorted({frame for run in having for frame in run.scores[name].j.index})
        for run in having:
            one = run.scores[name]
            f = None if one.f is None else one.f.reindex(frames)
            run.scores[name] = replace(one, j=one.j.reindex(frames), f=f)


def _by_sequence(results: ResultFolder, table: pd.DataFrame) -> ScoredFolder:
    """Splits the metric's table by sequence. Raises ``ValueError`` for missing or duplicate rows."""
    scores = {}
    scored = table[table["Problem"] == ""]
    for name, rows in scored.groupby("Sequence"):
        frames = rows.drop_duplicates("Frame").set_index("Frame").sort_index()
        j = _by_frame(rows, "J").loc[frames.index]
        f = _by_frame(rows, "F").loc[frames.index] if "F" in table else None
        last = (frames["Last"] == 1).astype(bool) if "Last" in table else None
        if last is not None and (j.isna().any(axis=None) or not last.any()):
            raise ValueError(f"{name}: rows are missing")
        scores[str(name)] = SequenceScores(j, last, f)
    problems = table[table["Problem"] != ""]
    return ScoredFolder(results, scores, dict(zip(problems["Sequence"], problems["Problem"], strict=True)))


def _by_frame(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Arranges a measure by frame and object."""
    return rows.pivot(index="Frame", columns="Object", values=measure).astype(float)
