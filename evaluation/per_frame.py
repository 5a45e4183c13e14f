"""J of every scored frame as a table and a CSV file, also of a run that is not complete.

Columns: ``Sequence``, ``Object`` (id), ``Frame`` (name without suffix), ``J`` (0..1, 6 decimals), ``Last``
(1 where the frame counts in J_tr, else 0) and ``Problem``. The mean of an object's ``J`` is its J, that of
its rows with ``Last`` its J_tr. A sequence that cannot be scored has one row: its name and its problem.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.errors import DataError
from evaluation.files import replacing
from evaluation.metrics import FloatArray, last_frames
from evaluation.results import read_table, write_table
from evaluation.scoring import score_each
from evaluation.vost import (
    AnnotatedSequence,
    check_split_name,
    find_sequence,
    missing_predictions,
    read_split,
)

if TYPE_CHECKING:
    import pandas as pd

_TYPES: dict[str, type | str] = {
    "Sequence": str,
    "Object": "Int64",
    "Frame": str,
    "J": float,
    "Last": "Int64",
    "Problem": str,
}
COLUMNS = tuple(_TYPES)


def per_frame_path(folder: Path, split: str) -> Path:
    """Returns the CSV file's path. Raises ``DataError`` for an impossible split."""
    check_split_name(split)
    return folder / f"per-frame_results-{split}.csv"


def evaluate_per_frame(folder: Path, dataset: Path, split: str, workers: int | None = None) -> pd.DataFrame:
    """Scores the sequences of the split that have a folder of predictions, and writes the CSV file.

    Unlike the metric, it continues when a sequence cannot be scored: the table names the problem.

    Args:
        folder: of the predictions, ``<sequence>/<frame>.png``; ``per-frame_results-<split>.csv`` goes there.
        dataset: a folder in VOST's layout.
        workers: processes; None for as many as there are processors.
    Returns:
        The columns ``COLUMNS``; where there is a problem, ``Object``, ``J`` and ``Last`` are missing values.
    Raises:
        DataError: an unusable split, no sequence with predictions, or a worker that died; nothing is
            written, and a file of an earlier run is gone.
    """
    import pandas as pd

    path = per_frame_path(folder, split)
    path.unlink(missing_ok=True)
    names = [name for name in read_split(dataset, split) if (folder / name).is_dir()]
    if not names:
        raise DataError(f"{folder}: there are no predictions for any sequence of split {split!r}")
    rows: dict[str, list[tuple[object, ...]]] = {}
    sequences = []
    for name in names:
        try:
            sequences.append(_complete_sequence(folder, dataset, name))
        except DataError as error:
            rows[name] = [_problem_row(name, error)]
    for sequence, outcome in zip(sequences, score_each(sequences, folder, workers), strict=True):
        if isinstance(outcome, DataError):
            rows[sequence.name] = [_problem_row(sequence.name, outcome)]
        else:
            rows[sequence.name] = _rows(sequence, outcome)
    table = pd.DataFrame([row for name in names for row in rows[name]], columns=COLUMNS)
    table = table.astype(_TYPES).round({"J": 6})
    with replacing(path) as temporary:
        write_table(table, temporary)
    return table


def read_per_frame(folder: Path, split: str) -> pd.DataFrame:
    """Reads what ``evaluate_per_frame`` wrote. Raises ``DataError`` for a file that it did not write."""
    path = per_frame_path(folder, split)
    try:
        table = read_table(path, _TYPES)
        scored = table[table["Problem"] == ""]
        if scored.isna().any(axis=None) or not scored["J"].between(0, 1).all():
            raise ValueError("expected J in 0..1 in every row without a problem")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as J per frame ({error})") from error
    return table


def _complete_sequence(folder: Path, dataset: Path, name: str) -> AnnotatedSequence:
    """Returns the sequence; raises ``DataError`` if a scored frame has no prediction."""
    sequence = find_sequence(dataset, name)
    missing = missing_predictions(folder, sequence)
    if missing:
        count = f"{len(missing)} of {len(sequence.scored_frames)}"
        raise DataError(f"{name}: {count} predictions are missing, the first: {missing[0]}")
    return sequence


def _problem_row(name: str, problem: DataError) -> tuple[object, ...]:
    return name, None, "", None, None, str(problem)


def _rows(sequence: AnnotatedSequence, ious: FloatArray) -> list[tuple[object, ...]]:
    """``ious``: K x scored frames."""
    frames = [Path(frame).stem for frame in sequence.scored_frames]
    first_last = len(frames) - last_frames(ious).shape[1]
    return [
        (sequence.name, number, frame, value, int(index >= first_last), "")
        for number, values in enumerate(ious, start=1)
        for index, (frame, value) in enumerate(zip(frames, values, strict=True))
    ]
