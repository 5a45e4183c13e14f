"""J per frame of a run, as the metric computes it.

The metric stands alone: it is run as a program, and its file of J per frame is read.
"""

import csv
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aot_plus.dataloaders.eval_datasets import VOSTDataset
from aot_plus.report.runs import Run
from aot_plus.utils.errors import DataError
from evaluation.home import home
from evaluation.vost import ANNOTATIONS

__all__ = ["ScoredRun", "SequenceScores", "score_run"]

_COLUMNS = ["Sequence", "Object", "Frame", "J", "Last", "Problem"]


@dataclass
class SequenceScores:
    """J of every object and scored frame of a sequence.

    Attributes:
        frames: names of the n scored frames, in order.
        last: n, whether the frame counts in J_tr.
        objects: id -> n values in 0..1.
    """

    frames: list[str] = field(default_factory=list)
    last: list[bool] = field(default_factory=list)
    objects: dict[int, list[float]] = field(default_factory=dict)

    def figures(self) -> dict[int, tuple[float, float]]:
        """J and J_tr (0..1) of every object."""
        last = np.array(self.last)
        return {
            number: (float(np.mean(values)), float(np.mean(np.array(values)[last])))
            for number, values in self.objects.items()
        }

    def mean(self) -> NDArray[np.float64]:
        """J of every frame (n), the mean over objects."""
        return np.mean(list(self.objects.values()), axis=0)


@dataclass(frozen=True)
class ScoredRun:
    """A run with the scores of its sequences, and the problems of those that could not be scored."""

    run: Run
    scores: dict[str, SequenceScores]
    problems: dict[str, str]


def score_run(run: Run, dataset: VOSTDataset, split: str, *, workers: int | None = None) -> ScoredRun:
    """The run's scores. ``workers``: processes of the metric; None for as many as there are processors.

    The metric is run if its file of J per frame is missing, or older than a mask or an annotation.
    Raises ``DataError`` if the metric fails or its file is not what it should be.
    """
    path = run.folder / f"per-frame_results-{split}.csv"
    if not _is_current(path, run, dataset, split):
        _run_metric(run, dataset, split, workers)
    return ScoredRun(run, *_read_csv(path))


def _is_current(path: Path, run: Run, dataset: VOSTDataset, split: str) -> bool:
    if not path.is_file():
        return False
    try:
        scores, problems = _read_csv(path)
    except DataError:
        return False
    names = set(run.sequences) & set(dataset.sequences(split))
    if not scores.keys() <= names <= scores.keys() | problems.keys():
        return False
    annotated = {name: _annotated_frames(dataset, name) for name in scores}
    if any(scores[name].frames != frames[1:-1] for name, frames in annotated.items()):
        return False  # it was made with another dataset
    written = path.stat().st_mtime_ns
    folders = [root / name for name in names for root in (run.folder, dataset.root / ANNOTATIONS)]
    return all(changed <= written for folder in folders for changed in _changes(folder))


def _annotated_frames(dataset: VOSTDataset, sequence: str) -> list[str]:
    folder = dataset.root / ANNOTATIONS / sequence
    return sorted(path.stem for path in folder.glob("*.png") if not path.name.startswith("."))


def _changes(folder: Path) -> Iterable[int]:
    """When the folder and its files were last changed, in nanoseconds."""
    if folder.is_dir():
        yield folder.stat().st_mtime_ns
        yield from (file.stat().st_mtime_ns for file in folder.iterdir())


def _run_metric(run: Run, dataset: VOSTDataset, split: str, workers: int | None) -> None:
    """Runs the metric, which shows its progress and its errors itself."""
    command = [sys.executable, "-m", "evaluation.evaluation_method", "--per_frame", "--set", split]
    command += ["--results_path", str(run.folder), "--dataset_path", str(dataset.root.resolve())]
    command += [] if workers is None else ["--workers", str(workers)]
    done = subprocess.run(command, cwd=home(), stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise DataError(f"{run.folder}: the metric could not score this run (what it said is above)")


def _read_csv(path: Path) -> tuple[dict[str, SequenceScores], dict[str, str]]:
    """Scores and problems by sequence. Raises ``DataError`` for a file that the metric did not write."""
    scores: dict[str, SequenceScores] = {}
    problems: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != _COLUMNS:
                raise ValueError(f"its first line should be {','.join(_COLUMNS)}")
            for name, number, frame, value, last, problem in reader:
                if problem:
                    problems[name] = problem
                else:
                    sequence = scores.setdefault(name, SequenceScores())
                    _add(sequence, int(number), frame, float(value), last == "1")
        for sequence in scores.values():
            _check(sequence)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as J per frame ({error})") from error
    return scores, problems


def _add(sequence: SequenceScores, number: int, frame: str, value: float, last: bool) -> None:
    if number == next(iter(sequence.objects), number):  # the first object's rows say which frames there are
        sequence.frames.append(frame)
        sequence.last.append(last)
    if not 0 <= value <= 1:  # nor NaN
        raise ValueError(f"expected J in 0..1, found {value}")
    sequence.objects.setdefault(number, []).append(value)


def _check(sequence: SequenceScores) -> None:
    lengths = {len(sequence.frames), *map(len, sequence.objects.values())}
    if len(lengths) != 1 or not any(sequence.last):
        raise ValueError("rows are missing")
