"""Everything that the page shows, as one structure that JSON can hold."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.report.runs import Run
from aot_plus.report.scores import ScoredRun, SequenceScores, score_run
from aot_plus.report.sequence import percent, sequence_values
from aot_plus.utils.catalogue import PAPER_DATASET, PAPER_ROWS

__all__ = ["PICTURE_BUDGET", "gather"]

PICTURE_BUDGET = 20 * 2**20  # characters of base64 on a page
_PAPER_SPLIT = "val"
_PAPER_CAPACITY = "1 + 8"


def gather(
    runs: Sequence[Run], dataset: VOSTDataset, split: str, *, pictures: int, workers: int | None = None
) -> dict[str, Any]:
    """Runs the metric where its figures are missing, and gathers what the page shows.

    Args:
        runs: over the same dataset and split; each may hold any part of its sequences.
        pictures: worst moments of each sequence to show.
        workers: processes of the metric; None for as many as there are processors.
    Returns:
        ``dataset``, ``split``, ``runs``, ``paper`` (rows, only for VOST val) and ``sequences``, in the
        split's order. J and J_tr are in percent.
    Raises:
        DataError: an unusable split, or a run that the metric cannot score at all.
    """
    order = dataset.sequences(split)
    scored = [score_run(run, dataset, split, workers=workers) for run in runs]
    common = set.intersection(*(set(one.scores) for one in scored))
    names = [name for name in order if any(name in run.sequences for run in runs)]
    limit = PICTURE_BUDGET // max(1, len(names) * pictures)
    is_paper = dataset.name == PAPER_DATASET and split == _PAPER_SPLIT
    return {
        "dataset": dataset.root.resolve().name,
        "split": split,
        "splitSequences": len(order),
        "runs": [_run_values(one, common, order) for one in scored],
        "paper": _paper_values() if is_paper else [],
        "sequences": [
            sequence_values(name, scored, dataset, pictures, limit)
            for name in tqdm(names, desc="gather", unit="sequence")
        ],
    }


def _paper_values() -> list[dict[str, Any]]:
    return [
        {
            "method": row.method,
            "model": row.model,
            "policy": row.policy,
            "capacity": _PAPER_CAPACITY,
            "j": row.j,
            "jTr": row.j_tr,
        }
        for row in PAPER_ROWS
    ]


def _run_values(one: ScoredRun, common: set[str], order: Sequence[str]) -> dict[str, Any]:
    """A run's facts and figures; ``common``: sequences that all runs have scores of."""
    run, summary = one.run, one.run.summary
    notes = list(run.notes)
    strangers = sorted(set(run.sequences) - set(order))
    if strangers:
        notes.append(f"Not in the split, so not shown: {', '.join(strangers)}.")
    return {
        "name": run.name,
        "folder": str(run.folder),
        "model": run.model,
        "checkpoint": run.checkpoint,
        "policy": run.policy,
        "capacity": run.capacity,
        "framesPerSecond": _number(summary.get("frames_per_second")),
        "memory": _number(summary.get("peak_memory")),
        "gpuMemory": _number(summary.get("peak_cuda_memory")),
        "sequences": len(one.scores),
        "all": _means(one.scores.values()),
        "common": _means(one.scores[name] for name in sorted(common)),
        "notes": notes,
    }


def _means(sequences: Iterable[SequenceScores]) -> dict[str, Any]:
    """Number of objects, J and J_tr in percent: means over objects, as the metric's."""
    figures = [figure for sequence in sequences for figure in sequence.figures().values()]
    if not figures:
        return {"objects": 0, "j": None, "jTr": None}
    j, j_tr = np.mean(figures, axis=0)
    return {"objects": len(figures), "j": percent(j), "jTr": percent(j_tr)}


def _number(value: object) -> float | None:
    """A number of a summary, if it is one."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
