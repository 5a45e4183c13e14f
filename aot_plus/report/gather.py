"""Gathers everything that the page shows, as one JSON-serialisable structure."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pandas as pd

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.networks.managers.given_record import changed_inputs
from aot_plus.report.result_folder import ResultFolder
from aot_plus.report.scores import ScoredFolder, SequenceScores, align_frames, score_folder
from aot_plus.report.sequence import percent, sequence_values
from aot_plus.utils.catalogue import PAPER_DATASET, PAPER_ROWS
from aot_plus.utils.errors import DataError
from aot_plus.utils.words import format_count, format_list
from evaluation.progress import ProgressBar
from evaluation.protocols import get_protocol

__all__ = ["PICTURE_BUDGET", "gather"]

PICTURE_BUDGET = 20 * 2**20  # characters of base64 on a page
_LISTED = 10  # maximum number of names in a note
_LARGEST = 1e15  # highest plausible speed, or size in MiB
_PAPER_SPLIT = "val"
_PAPER_CAPACITY = "1 + 8"
# Notes on figures that a protocol defines besides J and F, the means over objects.
_OWN_FIGURES = {
    "lvos": "LVOS's own J and F, in the metric's table, give seen and unseen videos the same weight.",
    "mosev2": "MOSE v2's own figure, in the metric's table, is J&F_new; its F depends on the object's size.",
    "youtube-vos": "YouTube-VOS's own figure G, in the metric's table, gives seen and unseen categories the "
    "same weight.",
}


def gather(
    folders: Sequence[ResultFolder],
    dataset: Dataset,
    *,
    pictures: int,
    workers: int | None = None,
    protocol: str = "vost",
) -> dict[str, Any]:
    """Scores runs whose figures are missing, and gathers the page's data.

    Args:
        folders: the runs' folders, for the same dataset and split; each may hold any part of its sequences.
        dataset: the images and annotations, opened for the split.
        pictures: number of worst moments to show per sequence.
        workers: processes of the metric; None for one per core.
        protocol: the metric's protocol.
    Returns:
        ``dataset``, ``split``, ``runs``, ``paper`` (rows, only for VOST val), ``notes`` and ``sequences``,
        in the split's order. J and ``second`` (J_tr or F) are in percent.
    Raises:
        DataError: for an unusable split, or a folder without masks of its sequences.
    """
    rules = get_protocol(protocol)
    order = dataset.sequences()
    runs = [score_folder(folder, dataset, protocol=rules, workers=workers) for folder in folders]
    align_frames(runs)
    common = set(order).intersection(*(run.scores for run in runs if run.scores))  # one without excludes none
    names = [name for name in order if any(name in folder.sequences for folder in folders)]
    videos = list(_videos(dataset, names))
    limit = PICTURE_BUDGET // max(1, len(names) * pictures)
    return {
        "dataset": dataset.root.resolve().name,
        "split": dataset.split,
        "splitSequences": len(order),
        "second": "F" if "F" in rules.measures else "J_tr",
        "notes": [_OWN_FIGURES[protocol]] if protocol in _OWN_FIGURES else [],
        "runs": [_run_values(run, common, order, videos) for run in runs],
        "paper": _paper_values(dataset),
        "sequences": [
            sequence_values(name, runs, dataset, pictures, limit)
            for name in ProgressBar(names, desc="gather", unit="sequence")
        ],
    }


def _paper_values(dataset: Dataset) -> list[dict[str, Any]]:
    """Returns the rows of the paper's table; none if the runs are on other data."""
    if dataset.name != PAPER_DATASET or dataset.split != _PAPER_SPLIT:
        return []
    return [asdict(row) | {"second": row.j_tr, "capacity": _PAPER_CAPACITY} for row in PAPER_ROWS]


def _videos(dataset: Dataset, names: Iterable[str]) -> Iterator[VideoSequence]:
    """Opens the sequences, skipping those that cannot be opened: their notes on the page say why."""
    for name in names:
        with suppress(DataError):
            yield dataset.sequence(name)


def _run_values(
    run: ScoredFolder, common: set[str], order: Sequence[str], videos: Sequence[VideoSequence]
) -> dict[str, Any]:
    """Returns a run's facts and figures. ``common``: sequences that all runs with scores share."""
    results, summary = run.results, run.results.summary
    return {
        "name": results.name,
        "folder": str(results.path),
        **results.facts(),
        "framesPerSecond": _number(summary.get("frames_per_second")),
        "memory": _number(summary.get("peak_memory")),
        "gpuMemory": _number(summary.get("peak_cuda_memory")),
        "sequences": len(run.scores),
        "all": _means(run.scores.values()),
        "common": _means(scores for name, scores in run.scores.items() if name in common),
        "notes": [*results.notes, *_doubts(run, order, videos)],
    }


def _doubts(run: ScoredFolder, order: Sequence[str], videos: Sequence[VideoSequence]) -> list[str]:
    """Returns notes on sequences missing from a run's means, and on results whose data has changed since."""
    scored = [video for video in videos if video.name in run.scores]
    found = {
        "Not in the split, so not shown": set(run.results.sequences).difference(order),
        "Could not be scored": run.problems,
        "Made from other masks or images than those there now": changed_inputs(run.results.path, scored),
    }
    part = f"Scored: {len(run.scores)} of {format_count(len(order), 'sequence')}."
    doubts = [f"{what}: {format_list(sorted(names), _LISTED)}." for what, names in found.items() if names]
    return [part, *doubts] if len(run.scores) < len(order) else doubts


def _means(sequences: Iterable[SequenceScores]) -> dict[str, Any]:
    """Counts objects, and averages J and the second figure over them as the metric does, in percent."""
    tables = [one.figures() for one in sequences]
    figures = pd.concat(tables) if tables else pd.DataFrame(columns=["j", "second"])
    means = {name: percent(figures[name].mean()) if len(figures) else None for name in figures}
    return {"objects": len(figures), **means}


def _number(value: object) -> float | None:
    """Returns a summary's value if it is a plausible number, else None."""
    if not isinstance(value, int | float) or not abs(value) < _LARGEST:
        return None
    return float(value)
