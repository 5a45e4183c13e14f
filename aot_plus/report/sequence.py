"""What the page shows of one sequence."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.report.moments import contours, small_jpeg, worst_frames
from aot_plus.report.runs import Run
from aot_plus.report.scores import ScoredRun, SequenceScores
from aot_plus.report.timeline import GroupTimeline, read_timelines
from aot_plus.utils.errors import DataError
from evaluation.vost import ANNOTATIONS

__all__ = ["percent", "sequence_values"]

_TRACE_DIGITS = 4
Values = dict[str, Any]


def sequence_values(
    name: str, runs: Sequence[ScoredRun], dataset: VOSTDataset, pictures: int, limit: int
) -> Values:
    """A sequence's J per frame, memory and pictures; what is missing is said in ``notes``.

    Args:
        name: of the sequence; at least one run has masks of it.
        runs: all runs.
        dataset: where its images and annotations are.
        pictures: how many worst moments.
        limit: characters of one picture.
    Raises:
        DataError: runs were scored with different annotations.
    """
    notes: list[str] = []
    present = [one.scores[name] for one in runs if name in one.scores]
    _check_same_annotations(name, runs)
    scores = present[0] if present else SequenceScores()
    positions, length = _positions(name, scores.frames, dataset, notes)
    made = []
    for index in worst_frames(np.min([one.mean() for one in present], axis=0), pictures) if present else []:
        try:
            made.append(_picture(name, runs, dataset, index, limit) | {"position": positions[index]})
        except DataError as error:
            notes.append(f"No picture: {error}.")
    return {
        "name": name,
        "length": length,
        "frames": positions,
        "labels": scores.frames,
        "last": scores.last.index(True) if scores.last else None,
        "objects": sorted(scores.objects),
        "runs": [_run_values(name, one, notes) for one in runs],
        "pictures": made,
        "notes": notes,
    }


def percent(value: float) -> float:
    """A share in percent, with the digits that the page needs."""
    return round(100 * float(value), 2)


def _check_same_annotations(name: str, runs: Sequence[ScoredRun]) -> None:
    """Raises ``DataError`` if two runs were scored with different objects or frames."""
    present = [one for one in runs if name in one.scores]
    for one in present[1:]:
        ours, first = one.scores[name], present[0].scores[name]
        if (ours.frames, ours.objects.keys()) != (first.frames, first.objects.keys()):
            raise DataError(
                f"{name}: {present[0].run.folder} and {one.run.folder} were scored with different "
                "annotations; remove their per-frame_results-*.csv"
            )


def _positions(
    name: str, scored: Sequence[str], dataset: VOSTDataset, notes: list[str]
) -> tuple[list[int], int]:
    """Numbers of the scored frames in the video, as inference counts them, and the video's length."""
    try:
        frames = {path.stem: index for index, path in enumerate(dataset.sequence(name).frames)}
        return [frames[frame] for frame in scored], len(frames)
    except DataError as error:
        notes.append(f"{error}. Frames are numbered by annotation.")
    except KeyError as error:
        notes.append(f"Annotated frame {error} has no image. Frames are numbered by annotation.")
    return list(range(1, len(scored) + 1)), len(scored) + 2


def _run_values(name: str, one: ScoredRun, notes: list[str]) -> Values | None:
    """J of each object and frame, figures and memory of one run; None where it has no masks."""
    if name not in one.run.sequences:
        notes.append(f"{one.run.name} has no masks of this sequence.")
        return None
    if name in one.problems:
        notes.append(f"{one.run.name} is not scored: {one.problems[name]}")
    scores = one.scores.get(name, SequenceScores())
    figures = scores.figures()
    return {
        "j": [[percent(value) for value in scores.objects[number]] for number in sorted(figures)],
        "figures": [[percent(value) for value in figures[number]] for number in sorted(figures)],
        "memory": _memory(name, one.run, notes),
    }


def _memory(name: str, run: Run, notes: list[str]) -> list[Values] | None:
    """The memory's timelines, a group each; None where there is no trace."""
    path = run.trace(name)
    if not path.is_file():
        return None
    try:
        return [_timeline_values(timeline) for timeline in read_timelines(path)]
    except DataError as error:
        notes.append(f"{error}.")
        return None


def _timeline_values(timeline: GroupTimeline) -> Values:
    """The timeline's attributes by name; a score is [frame, value, ...]."""
    values = asdict(timeline)
    for row in values["stored"]:
        row["scores"] = [[frame, *map(_score, scores)] for frame, scores in row["scores"]]
    return values


def _score(value: float | None) -> float | None:
    """A score with as many digits as a reader can use; None where it is not a number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_TRACE_DIGITS}g}")


def _picture(name: str, runs: Sequence[ScoredRun], dataset: VOSTDataset, index: int, limit: int) -> Values:
    """One moment: the image, and the contours of the truth and of every run (None where it is not scored).

    Raises ``DataError`` if an image or mask cannot be read.
    """
    scores = next(one.scores[name] for one in runs if name in one.scores)
    frame, objects = scores.frames[index], sorted(scores.objects)
    path = next((path for path in dataset.sequence(name).frames if path.stem == frame), None)
    if path is None:
        raise DataError(f"{dataset.root}: {name} has no image of frame {frame}")
    picture = small_jpeg(path, limit)
    size = (picture.width, picture.height)
    truth = dataset.root / ANNOTATIONS / name / f"{frame}.png"
    return asdict(picture) | {
        "index": index,
        "frame": frame,
        "truth": contours(truth, size, objects),
        "runs": [
            contours(one.run.mask(name, frame), size, objects) if name in one.scores else None for one in runs
        ],
    }
