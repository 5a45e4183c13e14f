"""J of every scored frame as a CSV file: for pictures of a run, also of one that is not complete.

Columns: ``Sequence``, ``Object`` (id), ``Frame`` (name without suffix), ``J`` (0..1, 6 decimals), ``Last``
(1 where the frame counts in J_tr, else 0) and ``Problem``. The mean of an object's ``J`` is its J, that of
its rows with ``Last`` its J_tr. A sequence that cannot be scored has one row: its name and its problem.
"""

from pathlib import Path

from evaluation.errors import DataError
from evaluation.metrics import FloatArray, last_frames
from evaluation.parallel import score_each
from evaluation.results import check_split_name, csv_text, write_whole
from evaluation.vost import Sequence, find_sequence, missing_predictions, read_split

COLUMNS = ("Sequence", "Object", "Frame", "J", "Last", "Problem")


def write_per_frame(folder: Path, dataset: Path, split: str, workers: int) -> tuple[Path, list[str]]:
    """Scores the sequences of the split that have a folder of predictions.

    Unlike the metric, it goes on where a sequence cannot be scored: the problem is in the file.

    Args:
        folder: of the predictions, ``<sequence>/<frame>.png``; ``per-frame_results-<split>.csv`` goes there.
        workers: processes.
    Returns:
        The file, and the problems of the sequences that could not be scored.
    Raises:
        DataError: an unusable split, no sequence with predictions, or a worker that died; nothing is
            written, and a file of an earlier run is gone.
    """
    check_split_name(split)
    path = folder / f"per-frame_results-{split}.csv"
    path.unlink(missing_ok=True)
    names = [name for name in read_split(dataset, split) if (folder / name).is_dir()]
    if not names:
        raise DataError(f"{folder}: there are no predictions for any sequence of split {split!r}")
    problems: dict[str, str] = {}
    sequences = []
    for name in names:
        try:
            sequences.append(_complete_sequence(folder, dataset, name))
        except DataError as error:
            problems[name] = str(error)
    rows: dict[str, list[list[str]]] = {}
    outcomes = score_each(sequences, folder, max(1, min(workers, len(sequences))))
    for sequence, outcome in zip(sequences, outcomes, strict=True):
        if isinstance(outcome, DataError):
            problems[sequence.name] = str(outcome)
        else:
            rows[sequence.name] = _rows(sequence, outcome)
    rows |= {name: [[name, "", "", "", "", problem]] for name, problem in problems.items()}
    write_whole({path: csv_text(COLUMNS, [row for name in names for row in rows[name]])})
    return path, [problems[name] for name in names if name in problems]


def _complete_sequence(folder: Path, dataset: Path, name: str) -> Sequence:
    """The sequence; raises ``DataError`` if a scored frame has no prediction."""
    sequence = find_sequence(dataset, name)
    missing = missing_predictions(folder, sequence)
    if missing:
        count = f"{len(missing)} of {len(sequence.scored_frames)}"
        raise DataError(f"{name}: {count} predictions are missing, the first: {missing[0]}")
    return sequence


def _rows(sequence: Sequence, ious: FloatArray) -> list[list[str]]:
    """``ious``: K x scored frames."""
    frames = [Path(frame).stem for frame in sequence.scored_frames]
    first_last = len(frames) - last_frames(ious).shape[1]
    return [
        [sequence.name, str(number), frame, f"{value:.6f}", str(int(index >= first_last)), ""]
        for number, values in enumerate(ious, start=1)
        for index, (frame, value) in enumerate(zip(frames, values, strict=True))
    ]
