"""Computes the figures of a result folder, writes them to two CSV files, reads these, formats them as text.

Only functions that need pandas import it: worker processes and ``--help`` do without it and start faster.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import DataError
from evaluation.figures import FIGURE_SETS
from evaluation.files import is_folder, replacing, require_regular
from evaluation.folder_lock import FolderLock, refuse_locked
from evaluation.layouts import scored_sequences
from evaluation.mask_record import check_record, read_masks, record_path, save_record
from evaluation.metrics import FIGURES
from evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from evaluation.scoring import ObjectScores, score_sequences
from evaluation.sequences import check_predictions
from evaluation.vost import check_split_name

if TYPE_CHECKING:
    import pandas as pd

# Figures are written with 6 decimals: a mean of rounded figures is this close to the rounded mean.
_ROUNDING = 2e-6
_PADDED_FILE = "results.csv"  # of vos-benchmark
_LINES_FILE = "scores.txt"  # of MOSE v2's scorer


@dataclass(frozen=True, eq=False)
class Results:
    """Holds the figures of a set: 0..1, or percent under vos-benchmark and sav.

    Attributes:
        objects: a row for each object: ``Sequence`` (``<sequence>_<object>``) and its figures; under VOST
            ``J-Mean`` and ``J_last-Mean``.
        overall: one row, over all objects; under VOST the columns ``metrics.FIGURES``.
        protocol: the protocol that the figures follow.
    """

    objects: pd.DataFrame
    overall: pd.DataFrame
    protocol: Protocol = PROTOCOLS["vost"]

    @property
    def j(self) -> float:
        """Returns ``J-Mean``; under vos-benchmark, sav and mosev2, read ``J`` from ``overall`` instead."""
        return float(self.overall["J-Mean"].iloc[0])

    @property
    def j_tr(self) -> float:
        """Returns J_tr (``J_last`` in the files), the mean over all objects. Only VOST has it."""
        return float(self.overall["J_last-Mean"].iloc[0])


def evaluate(
    folder: Path | str,
    dataset: Path | str,
    split: str | None = None,
    workers: int | None = None,
    protocol: Protocol | str = "vost",
) -> Results:
    """Scores predictions of all sequences of a set and writes the figures beside them.

    Args:
        folder: the predictions, ``<sequence>/<frame>.png``.
        dataset: a folder in the protocol's layout.
        split: the set; None for the protocol's default.
        workers: number of processes; None for one per core.
        protocol: a ``Protocol`` or its name.
    Raises:
        DataError: a mask or the set is missing or cannot be used (nothing is written, and the files of an
            earlier run are removed), or a run is writing masks there.
    """
    folder, dataset = Path(folder), Path(dataset)
    protocol = get_protocol(protocol) if isinstance(protocol, str) else protocol
    if not is_folder(folder):
        raise DataError(f"{folder}: there is no such result folder")
    with FolderLock(folder):
        set_name = protocol.set_name(split)
        _, overall = csv_paths(folder, set_name)
        for path in (*figure_paths(folder, split, protocol), record_path(overall)):
            path.unlink(missing_ok=True)
        sequences = scored_sequences(dataset, folder, split, protocol)
        check_predictions(folder, sequences)
        masks = read_masks(folder, sequences) if protocol == PROTOCOLS["vost"] else None
        results = summarise(score_sequences(sequences, folder, workers, protocol), protocol)
        write_results(folder, split, results)
        if masks is not None:  # only VOST's files are read again
            save_record(overall, masks)
    return results


def summarise(scores: list[ObjectScores], protocol: Protocol) -> Results:
    """Computes the results from the scores of all objects. Raises ``DataError`` if there are none."""
    import pandas as pd

    if not scores:
        raise DataError("no annotation that counts holds an object")
    figures = FIGURE_SETS[protocol.figures]
    rows = [figures.of_object(one) for one in scores]
    objects = pd.DataFrame(rows, columns=figures.object_columns)
    objects.insert(0, "Sequence", [f"{one.sequence}_{one.number}" for one in scores])
    return Results(objects, pd.DataFrame([figures.overall(scores, rows)]), protocol)


def csv_paths(folder: Path, split: str) -> tuple[Path, Path]:
    """Returns the per-sequence and the global CSV path. Raises ``DataError`` for an invalid split name."""
    check_split_name(split)
    return folder / f"per-sequence_results-{split}.csv", folder / f"global_results-{split}.csv"


def remove_results(folder: Path) -> None:
    """Removes the figures of all splits and protocols."""
    tables = (f"{kind}_results-*" for kind in ("global", "per-sequence", "per-frame"))
    for pattern in (*tables, _PADDED_FILE, _LINES_FILE):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def figure_paths(folder: Path, split: str | None, protocol: Protocol) -> tuple[Path, ...]:
    """Returns the files that a protocol's figures are written to."""
    form = FIGURE_SETS[protocol.figures].form
    if form == "padded":
        return (folder / _PADDED_FILE,)
    per_sequence, overall = csv_paths(folder, protocol.set_name(split))
    return (per_sequence, folder / _LINES_FILE if form == "lines" else overall)


def write_results(folder: Path, split: str | None, results: Results) -> None:
    """Writes the files of ``figure_paths``; each appears complete or not at all."""
    figures = FIGURE_SETS[results.protocol.figures]
    with ExitStack() as stack:
        paths = figure_paths(folder, split, results.protocol)
        files = [stack.enter_context(replacing(path)) for path in paths]
        if figures.form == "padded":
            files[0].write_text(_padded(results), encoding="utf-8")
            return
        write_table(results.objects, files[0], figures.decimals)
        if figures.form == "lines":
            files[1].write_text(_lines(results), encoding="utf-8")
        else:
            write_table(results.overall, files[1], figures.decimals)


def _padded(results: Results) -> str:
    """Formats vos-benchmark's table: its columns are padded, the first row is the dataset's."""
    rows = [("sequence", "obj", ["J&F", "J", "F"]), ("Global score", "", _percents(results.overall)[0])]
    for name, values in zip(results.objects["Sequence"], _percents(results.objects), strict=True):
        sequence, _, number = name.rpartition("_")
        rows.append((sequence, number.zfill(3), values))
    width = max(len(row[0]) for row in rows)
    return "".join(
        f"{name:<{width}},{number:<3}," + ",".join(f" {value:>4}" for value in values) + "\n"
        for name, number, values in rows
    )


def _percents(table: pd.DataFrame) -> list[list[str]]:
    return [[f"{value:.1f}" for value in row] for row in table[["J&F", "J", "F"]].to_numpy()]


def _lines(results: Results) -> str:
    """Formats MOSE v2's figures in percent, one per line, and then all of them in one line."""
    row = 100 * results.overall.iloc[0]
    lines = [f"{name}: {value:.2f}" for name, value in row.items()]
    return "\n".join([*lines, "Copy-Paste: " + ",".join(f"{value:.1f}" for value in row)]) + "\n"


def write_table(table: pd.DataFrame, path: Path, decimals: int) -> None:
    """Writes a CSV file with Unix line endings."""
    table.to_csv(path, index=False, float_format=f"%.{decimals}f", lineterminator="\n")


def read_current_results(folder: Path, dataset: Path, split: str) -> Results:
    """Reads both CSV files of VOST, if they are of the current masks, annotations and code.

    Raises ``DataError`` if they are not, if a run is working in the folder, and like ``read_results``.
    """
    refuse_locked(folder)
    results = read_results(folder, split)
    sequences = scored_sequences(dataset, folder, split, PROTOCOLS["vost"])
    check_record(csv_paths(folder, split)[1], sequences)
    return results


def read_results(folder: Path, split: str) -> Results:
    """Reads both CSV files of VOST. Raises ``DataError`` naming a file that is damaged or of another run."""
    object_path, overall_path = csv_paths(folder, split)
    objects = _read_figures(object_path, ("Sequence", *FIGURE_SETS["vost"].object_columns))
    overall = _read_figures(overall_path, FIGURES)
    if len(overall) != 1:
        raise _damaged(overall_path, f"expected one row of figures, found {len(overall)}")
    means = ["J-Mean", "J_last-Mean"]
    if not np.allclose(objects[means].mean(), overall[means].iloc[0], rtol=0, atol=_ROUNDING):
        raise _damaged(object_path, f"its means are not those of {overall_path}")
    return Results(objects, overall)


def _read_figures(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Reads a table of at least one row with these columns: finite numbers, except for ``Sequence``."""
    try:
        table = read_table(path, {column: str if column == "Sequence" else float for column in columns})
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not np.isfinite(table.select_dtypes("number")).all(axis=None):
        raise _damaged(path, "a figure is not a finite number")
    return table


def read_table(path: Path, types: Mapping[str, type | str]) -> pd.DataFrame:
    """Reads a CSV file with at least one row. Raises ``OSError``, ``ValueError`` or ``DataError`` (a pipe).

    ``types``: the type of each column. Numbers may be missing, text may not; no text is read as missing.
    """
    import pandas as pd

    require_regular(path)
    text = [column for column, of_column in types.items() if of_column is str]
    missing = {column: [""] for column in types if column not in text}
    try:
        table = pd.read_csv(path, dtype=dict(types), keep_default_na=False, na_values=missing)
    except (TypeError, OverflowError) as error:  # a number that the column's type cannot hold
        raise ValueError(str(error)) from error
    if list(table.columns) != list(types):
        raise ValueError(f"its first line should be {','.join(types)}")
    if table.empty or not isinstance(table.index, pd.RangeIndex) or table[text].isna().any(axis=None):
        raise ValueError(f"expected rows of {len(types)} values")
    return table


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: damaged ({problem}); --re evaluates again")


def format_table(results: Results) -> str:
    """Formats both tables for the terminal."""
    decimals = f"{{:.{FIGURE_SETS[results.protocol.figures].decimals}f}}".format
    objects = results.objects.set_index("Sequence").rename_axis(index=None).to_string(float_format=decimals)
    overall = results.overall.to_string(index=False, float_format=decimals)
    return f"{objects}\n\nOverall\n{overall}"
