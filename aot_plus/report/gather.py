"""Everything that the page shows, as one structure that JSON can hold."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.report.moments import contours, small_jpeg, worst_frames
from aot_plus.report.runs import Run
from aot_plus.report.scores import SequenceScores, read_scores
from aot_plus.report.timeline import read_timelines
from aot_plus.utils.errors import DataError
from aot_plus.utils.paper import PAPER_DATASET, PAPER_ROWS

__all__ = ["gather"]

PICTURE_BUDGET = 20 * 2**20  # characters of base64 on a page
_PAPER_SPLIT = "val"
_PAPER_CAPACITY = "1 + 8"
_TRACE_DIGITS = 4
Values = dict[str, Any]


@dataclass(frozen=True)
class _Scored:
    """A run with its scores, and the reasons for those it has not, by sequence."""

    run: Run
    scores: Mapping[str, SequenceScores]
    problems: Mapping[str, str]


def gather(
    runs: Sequence[Run], dataset: VOSTDataset, split: str, *, pictures: int, workers: int | None = None
) -> Values:
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
    scored = [_Scored(run, *read_scores(run, dataset, split, workers=workers)) for run in runs]
    names = [name for name in order if any(name in run.sequences for run in runs)]
    limit = PICTURE_BUDGET // max(1, len(names) * pictures)
    is_paper = dataset.name == PAPER_DATASET and split == _PAPER_SPLIT
    return {
        "dataset": dataset.root.resolve().name,
        "split": split,
        "splitSequences": len(order),
        "runs": [_run(one, _common(scored), order) for one in scored],
        "paper": _paper() if is_paper else [],
        "sequences": [
            _sequence(name, scored, dataset, pictures, limit)
            for name in tqdm(names, desc="gather", unit="sequence")
        ],
    }


def _paper() -> list[Values]:
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


def _common(scored: Sequence[_Scored]) -> set[str]:
    """Sequences that every run has scores of."""
    return set.intersection(*(set(one.scores) for one in scored))


def _run(one: _Scored, common: set[str], order: Sequence[str]) -> Values:
    run, summary = one.run, one.run.summary
    notes = list(run.notes)
    strangers = sorted(set(run.sequences) - set(order))
    if strangers:
        notes.append(f"Not in the split, so not shown: {', '.join(strangers)}.")
    return {
        "name": run.name,
        "folder": str(run.folder),
        "model": run.config.get("MODEL_NAME"),
        "checkpoint": run.checkpoint,
        "policy": run.policy,
        "capacity": run.capacity,
        "framesPerSecond": _number(summary.get("frames_per_second")),
        "memory": _number(summary.get("peak_memory")),
        "gpuMemory": _number(summary.get("peak_cuda_memory")),
        "sequences": len(one.scores),
        "all": _means(one.scores.values()),
        "common": _means(one.scores[name] for name in common),
        "notes": notes,
    }


def _means(sequences: Iterable[SequenceScores]) -> Values:
    """Number of objects, J and J_tr in percent: means over objects, as the metric's."""
    figures = [figure for sequence in sequences for figure in sequence.figures().values()]
    if not figures:
        return {"objects": 0, "j": None, "jTr": None}
    j, j_tr = np.mean(figures, axis=0)
    return {"objects": len(figures), "j": _percent(j), "jTr": _percent(j_tr)}


def _sequence(
    name: str, scored: Sequence[_Scored], dataset: VOSTDataset, pictures: int, limit: int
) -> Values:
    notes: list[str] = []
    scores = next((one.scores[name] for one in scored if name in one.scores), SequenceScores())
    _check_same_annotations(name, scored)
    positions, length = _positions(name, scores.frames, dataset, notes)
    values: Values = {
        "name": name,
        "length": length,
        "frames": positions,
        "labels": scores.frames,
        "last": scores.last.index(True) if scores.last else None,
        "objects": sorted(scores.objects),
        "runs": [_run_in_sequence(name, one, notes) for one in scored],
        "pictures": _pictures(name, scored, dataset, positions, pictures, limit, notes),
        "notes": notes,
    }
    return values


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


def _check_same_annotations(name: str, scored: Sequence[_Scored]) -> None:
    """Raises ``DataError`` if two runs were scored with different objects or frames."""
    present = [one for one in scored if name in one.scores]
    for one in present[1:]:
        ours, first = one.scores[name], present[0].scores[name]
        if (ours.frames, ours.objects.keys()) != (first.frames, first.objects.keys()):
            raise DataError(
                f"{name}: {present[0].run.folder} and {one.run.folder} were scored with different "
                "annotations; remove their per-frame_results-*.csv"
            )


def _run_in_sequence(name: str, one: _Scored, notes: list[str]) -> Values | None:
    """J of each object and frame, figures and memory of one run; None where it has no masks."""
    if name not in one.run.sequences:
        notes.append(f"{one.run.name} has no masks of this sequence.")
        return None
    if name in one.problems:
        notes.append(f"{one.run.name} is not scored: {one.problems[name]}")
    scores = one.scores.get(name, SequenceScores())
    figures = scores.figures()
    return {
        "j": [[_percent(value) for value in scores.objects[number]] for number in sorted(figures)],
        "figures": [[_percent(value) for value in figures[number]] for number in sorted(figures)],
        "memory": _memory(name, one.run, notes),
    }


def _memory(name: str, run: Run, notes: list[str]) -> list[Values] | None:
    """The memory's timelines, a group each; None where there is no trace."""
    path = run.trace(name)
    if not path.is_file():
        return None
    try:
        timelines = read_timelines(path)
    except DataError as error:
        notes.append(f"{error}.")
        return None
    return [
        {
            "group": timeline.group,
            "names": timeline.names,
            "stored": [
                {
                    "frame": row.frame,
                    "until": row.until,
                    "scores": [[frame, *map(_trace_number, values)] for frame, values in row.scores],
                }
                for row in timeline.stored
            ],
        }
        for timeline in timelines
    ]


def _pictures(
    name: str,
    scored: Sequence[_Scored],
    dataset: VOSTDataset,
    positions: Sequence[int],
    count: int,
    limit: int,
    notes: list[str],
) -> list[Values]:
    """The moments at which the worst run is at its worst."""
    present = [one.scores[name] for one in scored if name in one.scores]
    if not present or not count:
        return []
    made = []
    for index in worst_frames(np.min([scores.mean() for scores in present], axis=0), count):
        try:
            made.append({"position": positions[index]} | _picture(name, scored, dataset, index, limit))
        except DataError as error:
            notes.append(f"No picture: {error}.")
    return made


def _picture(name: str, scored: Sequence[_Scored], dataset: VOSTDataset, index: int, limit: int) -> Values:
    """One moment: the image, and the contours of the truth and of every run (None where it is not scored)."""
    first = next(one.scores[name] for one in scored if name in one.scores)
    frame, objects = first.frames[index], sorted(first.objects)
    video = dataset.sequence(name)
    path = next((path for path in video.frames if path.stem == frame), None)
    if path is None:
        raise DataError(f"{dataset.root}: {name} has no image of frame {frame}")
    picture = small_jpeg(path, limit)
    size = (picture.width, picture.height)
    return {
        "index": index,
        "frame": frame,
        "width": picture.width,
        "height": picture.height,
        "jpeg": picture.jpeg,
        "truth": contours(video.annotation.with_name(f"{frame}.png"), size, objects),
        "runs": [
            contours(one.run.mask(name, frame), size, objects) if name in one.scores else None
            for one in scored
        ],
    }


def _percent(value: float) -> float:
    return round(100 * float(value), 2)


def _trace_number(value: float | None) -> float | None:
    """A score with as many digits as a reader can use; None where it is not a number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{_TRACE_DIGITS}g}")


def _number(value: object) -> float | None:
    """A number of a summary, if it is one."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
