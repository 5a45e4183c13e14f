"""Writes J of every scored frame as a table and a CSV file, even for an incomplete run.

Columns: ``Sequence``, ``Object`` (id), ``Frame`` (name without suffix), ``J`` (0..1, 6 decimals), ``Last``
(1 where the frame counts in J_tr, else 0) and ``Problem``. The mean of ``J`` over an object's rows is its J,
over its rows with ``Last`` its J_tr. A sequence that cannot be scored has one row, with its name and problem.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import DataError
from evaluation.files import is_folder, replacing, require_writable, writing
from evaluation.layouts import Finders, sequence_finders
from evaluation.mask_record import check_record, read_masks, record_path, save_record
from evaluation.metrics import last_frames
from evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from evaluation.results import read_table, write_table
from evaluation.scoring import ObjectScores, score_each
from evaluation.sequences import AnnotatedSequence, missing_predictions, nested_predictions
from evaluation.vost import check_split_name

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)

_DECIMALS = 6

Row = dict[str, object]


def _types(protocol: Protocol) -> dict[str, type | str]:
    """Returns the columns and their types. Only VOST has ``Last``."""
    types: dict[str, type | str] = {"Sequence": str, "Object": "Int64", "Frame": str}
    types |= dict.fromkeys(protocol.measures, float)
    return types | ({"Last": "Int64"} if protocol.figures == "vost" else {}) | {"Problem": str}


COLUMNS = tuple(_types(PROTOCOLS["vost"]))


def per_frame_path(folder: Path, split: str) -> Path:
    """Returns the CSV file's path. Raises ``DataError`` for an invalid split name."""
    check_split_name(split)
    return folder / f"per-frame_results-{split}.csv"


def evaluate_per_frame(
    folder: Path | str,
    dataset: Path | str,
    split: str | None = None,
    workers: int | None = None,
    protocol: Protocol | str = "vost",
    *,
    must_write: bool = True,
) -> pd.DataFrame:
    """Scores the sequences of the set that have a folder of predictions, and writes the CSV file.

    Unlike the metric, it continues when a sequence cannot be scored: the table names the problem.

    Args:
        folder: the predictions, ``<sequence>/<frame>.png``; ``per-frame_results-<set>.csv`` is written there.
        dataset, split, workers, protocol: as for ``results.evaluate``.
        must_write: whether a CSV file that cannot be written is an error. If not, the reason is logged.
    Returns:
        The protocol's columns; in rows with a problem, ``Object`` and the measures are missing values.
    Raises:
        DataError: an unusable split, no sequence with predictions, a worker that died, or a file that cannot
            be written. Nothing is written, and the file of an earlier run is removed.
    """
    folder, dataset = Path(folder), Path(dataset)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    if not is_folder(folder):
        raise DataError(f"{folder}: there is no such result folder")
    set_name = protocol.set_name(split)
    path = per_frame_path(folder, set_name)
    if must_write:
        require_writable(path)
    with _saving(must_write), writing(path):
        for old in (path, record_path(path)):
            old.unlink(missing_ok=True)
    listed = sequence_finders(dataset, folder, split, protocol)
    finders = _predicted(folder, listed)
    if not finders:
        nested = nested_predictions(folder, next(iter(listed), ""))
        raise DataError(f"{folder}: there are no predictions for any sequence of split {set_name!r}{nested}")
    found, problems = _find(finders)
    # Recorded before scoring, so that later changes are detected. Only VOST's file is read again.
    masks = read_masks(folder, found) if protocol == PROTOCOLS["vost"] else None
    problems |= _incomplete(folder, found) | _without_number(found)
    rows = _score(folder, found, problems, workers, protocol)
    table = _table([row for name in finders for row in rows[name]], protocol)
    with _saving(must_write):
        with replacing(path) as temporary:
            write_table(table, temporary, _DECIMALS)
        if masks is not None:
            save_record(path, masks)
    return table


def _table(rows: list[Row], protocol: Protocol) -> pd.DataFrame:
    import pandas as pd

    types = _types(protocol)
    table = pd.DataFrame(rows, columns=tuple(types)).astype(types)
    return table.round(dict.fromkeys(protocol.measures, _DECIMALS))


def _score(
    folder: Path,
    found: list[AnnotatedSequence],
    problems: Mapping[str, DataError],
    workers: int | None,
    protocol: Protocol,
) -> dict[str, list[Row]]:
    """Scores the sequences without problems. Returns the rows of each name, one where there is a problem."""
    rows = defaultdict(list, {name: [_problem_row(name, problem)] for name, problem in problems.items()})
    sequences = [sequence for sequence in found if _folder(sequence) not in problems]
    for sequence, outcome in zip(sequences, score_each(sequences, folder, workers, protocol), strict=True):
        name = _folder(sequence)
        rows[name] += [_problem_row(name, outcome)] if isinstance(outcome, DataError) else _rows(outcome)
    return rows


@contextmanager
def _saving(must_write: bool) -> Iterator[None]:
    """Logs that a file cannot be written; raises the ``DataError`` only if the file must be written."""
    try:
        yield
    except DataError as error:
        if must_write:
            raise
        _log.warning("%s; the figures are used all the same", error)


def read_current_per_frame(folder: Path, dataset: Path, split: str) -> pd.DataFrame:
    """Reads the file like ``read_per_frame``, if it is of the current masks, annotations and code.

    Raises ``DataError`` if it is not.
    """
    table = read_per_frame(folder, split)
    finders = sequence_finders(dataset, folder, split, PROTOCOLS["vost"])
    found, _ = _find(_predicted(folder, finders))
    check_record(per_frame_path(folder, split), found)
    return table


def read_per_frame(folder: Path, split: str) -> pd.DataFrame:
    """Reads what ``evaluate_per_frame`` wrote under VOST. Raises ``DataError`` for another file."""
    path = per_frame_path(folder, split)
    try:
        table = read_table(path, _types(PROTOCOLS["vost"]))
        scored = table[table["Problem"] == ""]
        if scored.isna().any(axis=None) or not scored["J"].between(0, 1).all():
            raise ValueError("expected J in 0..1 in every row without a problem")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as J per frame ({error})") from error
    return table


def _predicted(folder: Path, finders: Finders) -> Finders:
    """Keeps the names that have a folder of predictions."""
    return {name: find for name, find in finders.items() if (folder / name).is_dir()}


def _find(finders: Finders) -> tuple[list[AnnotatedSequence], dict[str, DataError]]:
    """Runs the finders; returns the sequences they find, and the problems by name."""
    found: list[AnnotatedSequence] = []
    problems: dict[str, DataError] = {}
    for name, find in finders.items():
        try:
            found += find()
        except DataError as error:
            problems[name] = error
    return found, problems


def _folder(sequence: AnnotatedSequence) -> str:
    """Returns the name of the folder of predictions; in SA-V it holds a folder for each object."""
    return sequence.name.partition("/")[0]


def _incomplete(folder: Path, sequences: list[AnnotatedSequence]) -> dict[str, DataError]:
    """Returns, by name, how many predictions of scored frames are missing and which is the first."""
    problems: dict[str, DataError] = {}
    for sequence in sequences:
        missing = missing_predictions(folder, sequence)
        if missing:
            count = f"{len(missing)} of {len(sequence.scored_frames)}"
            problem = f"{sequence.name}: {count} predictions are missing, the first: {missing[0]}"
            problems.setdefault(_folder(sequence), DataError(problem))
    return problems


def _without_number(sequences: list[AnnotatedSequence]) -> dict[str, DataError]:
    """Returns a problem for each name with an object folder (SA-V) that is not named by a number."""
    problems: dict[str, DataError] = {}
    for sequence in sequences:
        name = sequence.name.rpartition("/")[2]
        if sequence.binary and not name.isdecimal():
            text = f"{sequence.name}: expected a number as the name of an object's folder, found {name!r}"
            problems.setdefault(_folder(sequence), DataError(text))
    return problems


def _problem_row(name: str, problem: DataError) -> Row:
    return {"Sequence": name, "Frame": "", "Problem": str(problem)}


def _rows(objects: list[ObjectScores]) -> list[Row]:
    """Returns a row for each object and each frame that counts for it."""
    rows: list[Row] = []
    for one in objects:
        first_last = len(one.frames) - len(last_frames(one.values["J"]))
        for index, frame in enumerate(one.frames):
            measured = {name: values[index] for name, values in one.values.items()}
            if np.isnan(measured["J"]):
                continue
            row: Row = {"Sequence": one.sequence, "Object": int(one.number), "Frame": frame, **measured}
            rows.append(row | {"Last": int(index >= first_last), "Problem": ""})
    return rows
