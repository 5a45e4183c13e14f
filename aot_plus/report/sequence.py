"""Collects a sequence's part of the page's data."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.report.moments import contours, small_jpeg, worst_frames
from aot_plus.report.scores import ScoredFolder, SequenceScores
from aot_plus.report.timeline import read_timelines
from aot_plus.utils.errors import DataError
from evaluation.masks import Mask

__all__ = ["percent", "sequence_values"]

Values = dict[str, Any]

_DIGITS = 4  # decimals of a percentage: as many as in the metric's files, so that the page never rounds twice


def sequence_values(
    name: str, runs: Sequence[ScoredFolder], dataset: Dataset, pictures: int, limit: int
) -> Values:
    """Collects a sequence's J per frame, memory and pictures; ``notes`` say what is missing.

    Args:
        name: the sequence; at least one run has masks of it.
        runs: all runs.
        dataset: the dataset with its images and annotations.
        pictures: number of worst moments.
        limit: maximum number of characters of a picture.
    Raises:
        DataError: if runs were scored with different annotations.
    """
    notes: list[str] = []
    scores = _same_annotations(name, runs)
    j, last = (scores[0].j, scores[0].last) if scores else (pd.DataFrame(), None)
    video = _video(name, dataset, notes)
    images = {path.stem: path for path in video.images} if video else {}
    positions, length = _positions(j.index.tolist(), images, notes)
    made = []
    worst = np.nanmin([one.j.mean(axis=1) for one in scores], axis=0) if scores else np.empty(0)
    for index in worst_frames(worst, pictures):
        frame = j.index[index]
        try:
            if video is None or frame not in images:
                raise DataError(f"{dataset.root}: {name} has no image of frame {frame}")
            picture = _picture(video, frame, images[frame], runs, dataset, limit)
        except DataError as error:
            notes.append(f"No picture: {error}.")
        else:
            made.append({"index": index, "frame": frame, "position": positions[index]} | picture)
    return {
        "name": name,
        "length": length,
        "frames": positions,
        "frameNames": j.index.tolist(),
        "last": None if last is None else int(last.argmax()),
        "objects": j.columns.tolist(),
        "runs": [_run_values(name, run, notes) for run in runs],
        "pictures": made,
        "notes": notes,
    }


def percent(value: float) -> float:
    """Converts a share to percent."""
    return round(100 * float(value), _DIGITS)


def _same_annotations(name: str, runs: Sequence[ScoredFolder]) -> list[SequenceScores]:
    """Returns the scores of the runs that have any. Raises ``DataError`` if objects or frames differ."""
    present = [run for run in runs if name in run.scores]
    for run in present[1:]:
        first, j = present[0].scores[name].j, run.scores[name].j
        if not (j.index.equals(first.index) and j.columns.equals(first.columns)):
            raise DataError(
                f"{name}: {present[0].results.path} and {run.results.path} were scored with different "
                "annotations; remove their per-frame_results-*.csv"
            )
    return [run.scores[name] for run in present]


def _video(name: str, dataset: Dataset, notes: list[str]) -> VideoSequence | None:
    """Returns the video; None, with a note, if it cannot be opened, for example without images."""
    try:
        return dataset.sequence(name)
    except DataError as error:
        notes.append(f"{error}.")
        return None


def _positions(scored: Sequence[str], images: Iterable[str], notes: list[str]) -> tuple[list[int], int]:
    """Returns the scored frames' numbers in the video, as inference counts them, and the video's length."""
    numbers = {frame: number for number, frame in enumerate(images)}
    without = [frame for frame in scored if frame not in numbers]
    if not without:
        return [numbers[frame] for frame in scored], len(numbers)
    notes.append(f"Annotated frame {without[0]} has no image. Frames are numbered by annotation.")
    return list(range(1, len(scored) + 1)), len(scored) + 2


def _run_values(name: str, run: ScoredFolder, notes: list[str]) -> Values | None:
    """Collects J of each object and frame, figures and memory of one run; None if it has no masks."""
    if name not in run.results.sequences:
        notes.append(f"{run.results.name} has no masks of this sequence.")
        return None
    if name in run.problems:
        notes.append(f"{run.results.name} is not scored: {run.problems[name]}")
    memory = _memory(run.results.trace(name), notes)
    if name not in run.scores:
        return {"j": [], "figures": [], "memory": memory}
    scores = run.scores[name]
    return {"j": _percents(scores.j.T), "figures": _percents(scores.figures()), "memory": memory}


def _percents(shares: pd.DataFrame) -> list[list[float | None]]:
    """Converts rows of shares as ``percent`` does; NaN becomes None."""
    rows = (100 * shares).round(_DIGITS).to_numpy().tolist()
    return [[None if math.isnan(value) else value for value in row] for row in rows]


def _memory(trace: Path, notes: list[str]) -> list[Values] | None:
    """Returns the memory's timelines, one per group; None if there is no readable trace."""
    try:
        return [asdict(timeline) for timeline in read_timelines(trace)] if trace.is_file() else None
    except DataError as error:
        notes.append(f"{error}.")
        return None


def _picture(
    video: VideoSequence,
    frame: str,
    image: Path,
    runs: Sequence[ScoredFolder],
    dataset: Dataset,
    limit: int,
) -> Values:
    """Returns a moment's image, and the contours of the ground truth and each run (None if not scored).

    Raises ``DataError`` if an image or mask cannot be read.
    """
    picture = small_jpeg(image, limit)
    size, name = (picture.width, picture.height), video.name
    objects = next(run.scores[name].j.columns.tolist() for run in runs if name in run.scores)

    def outlines(mask: Mask | None) -> list[tuple[int, str]]:
        if mask is None:
            raise DataError(f"{name}: there is no mask of frame {frame}")
        return _contours(mask, video, size, objects)

    return asdict(picture) | {
        "truth": outlines(replace(video, masks=dataset.list_masks(name)).read_mask(frame)),
        "runs": [
            outlines(video.read_result(run.results.path / name, frame)) if name in run.scores else None
            for run in runs
        ],
    }


def _contours(
    mask: Mask, video: VideoSequence, size: tuple[int, int], objects: Sequence[int]
) -> list[tuple[int, str]]:
    """Outlines the objects of a video's mask."""
    if not video.objects:
        return contours(mask, size, objects)
    # The metric names an object after its folder, such as "000"; its id is the folder's position, from 1.
    numbers = [int(folder) for folder in video.objects]
    found = contours(mask, size, [numbers.index(number) + 1 for number in objects])
    return [(numbers[number - 1], path) for number, path in found]
