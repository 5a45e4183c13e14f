"""The figures of a result folder: made, written as two CSV files, read from them, shown as text.

Functions that need pandas import it, since worker processes and ``--help`` would wait for it in vain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evaluation.errors import DataError
from evaluation.files import replacing, require_regular
from evaluation.folder_lock import FolderLock
from evaluation.metrics import FIGURES, FloatArray, global_figures, object_figures
from evaluation.scoring import score_sequences
from evaluation.vost import check_predictions, check_split_name, find_sequences

if TYPE_CHECKING:
    import pandas as pd

_OBJECT_COLUMNS = ("Sequence", "J-Mean", "J_last-Mean")
# Figures are written with 6 decimals: a mean of rounded figures is this close to the rounded mean.
_ROUNDING = 2e-6


@dataclass(frozen=True, eq=False)
class Results:
    """The figures of a split, 0..1.

    Attributes:
        objects: a row for each object: ``Sequence`` (``<sequence>_<object>``), ``J-Mean``, ``J_last-Mean``.
        overall: one row, the means over all objects, with the columns ``FIGURES``.
    """

    objects: pd.DataFrame
    overall: pd.DataFrame

    @property
    def j(self) -> float:
        """J, the mean over all objects."""
        return float(self.overall["J-Mean"].iloc[0])

    @property
    def j_tr(self) -> float:
        """J_tr (``J_last`` in the files), the mean over all objects."""
        return float(self.overall["J_last-Mean"].iloc[0])


def evaluate(folder: Path, dataset: Path, split: str, workers: int | None = None) -> Results:
    """Scores predictions of all sequences of a split and writes both CSV files beside them.

    Args:
        folder: of the predictions, ``<sequence>/<frame>.png``.
        dataset: a folder in VOST's layout.
        workers: processes; None for as many as there are processors.
    Raises:
        DataError: a mask is missing or cannot be used, or the split. Nothing is written, and files of an
            earlier run are gone. Or a run is writing masks there.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such result folder")
    with FolderLock(folder):
        for path in csv_paths(folder, split):
            path.unlink(missing_ok=True)
        sequences = find_sequences(dataset, split)
        check_predictions(folder, sequences)
        ious = score_sequences(sequences, folder, workers)
        names = [sequence.name for sequence in sequences]
        results = summarise(names, [object_figures(table) for table in ious])
        write_results(folder, split, results)
    return results


def summarise(names: Iterable[str], figures: list[FloatArray]) -> Results:
    """Results of sequences: their ``names``, and K x 6 ``figures`` of each (``metrics.object_figures``)."""
    import pandas as pd

    objects = pd.DataFrame(np.concatenate(figures), columns=FIGURES)
    objects["Sequence"] = [
        f"{name}_{number}"
        for name, rows in zip(names, figures, strict=True)
        for number in range(1, len(rows) + 1)
    ]
    overall = pd.DataFrame([global_figures(figures)], columns=FIGURES)
    return Results(objects[list(_OBJECT_COLUMNS)], overall)


def csv_paths(folder: Path, split: str) -> tuple[Path, Path]:
    """Returns the per-sequence and the global CSV path. Raises ``DataError`` for an impossible split."""
    check_split_name(split)
    return folder / f"per-sequence_results-{split}.csv", folder / f"global_results-{split}.csv"


def remove_results(folder: Path) -> None:
    """Removes the CSV files of all splits."""
    for kind in ("global", "per-sequence", "per-frame"):
        for path in folder.glob(f"{kind}_results-*"):
            path.unlink(missing_ok=True)


def write_results(folder: Path, split: str, results: Results) -> None:
    """Writes both CSV files; each appears whole, under its name, or not at all."""
    objects, overall = csv_paths(folder, split)
    with replacing(objects) as objects_file, replacing(overall) as overall_file:
        write_table(results.objects, objects_file)
        write_table(results.overall, overall_file)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Writes a CSV file with 6 decimals, its lines ending in a newline alone."""
    table.to_csv(path, index=False, float_format="%.6f", lineterminator="\n")


def read_results(folder: Path, split: str) -> Results:
    """Reads both CSV files. Raises ``DataError`` naming a file that is damaged or of another run."""
    object_path, overall_path = csv_paths(folder, split)
    objects = _read_figures(object_path, _OBJECT_COLUMNS)
    overall = _read_figures(overall_path, FIGURES)
    if len(overall) != 1:
        raise _damaged(overall_path, f"expected one row of figures, found {len(overall)}")
    means = ["J-Mean", "J_last-Mean"]
    if not np.allclose(objects[means].mean(), overall[means].iloc[0], rtol=0, atol=_ROUNDING):
        raise _damaged(object_path, f"its means are not those of {overall_path}")
    return Results(objects, overall)


def _read_figures(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """At least one row of these columns, all of them finite numbers but ``Sequence``."""
    try:
        table = read_table(path, {column: str if column == "Sequence" else float for column in columns})
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if not np.isfinite(table.select_dtypes("number")).all(axis=None):
        raise _damaged(path, "a figure is not a finite number")
    return table


def read_table(path: Path, types: Mapping[str, type | str]) -> pd.DataFrame:
    """Reads a CSV file with at least one row. Raises ``OSError``, ``ValueError`` or ``DataError`` (a pipe).

    ``types``: of its columns. A number may be missing, text may not; no text stands for a missing value.
    """
    import pandas as pd

    require_regular(path)
    text = [column for column, of_column in types.items() if of_column is str]
    missing = {column: [""] for column in types if column not in text}
    table = pd.read_csv(path, dtype=dict(types), keep_default_na=False, na_values=missing)
    if list(table.columns) != list(types):
        raise ValueError(f"its first line should be {','.join(types)}")
    if table.empty or not isinstance(table.index, pd.RangeIndex) or table[text].isna().any(axis=None):
        raise ValueError(f"expected rows of {len(types)} values")
    return table


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: damaged ({problem}); --re evaluates again")


def format_table(results: Results) -> str:
    """Formats both tables for the terminal."""
    decimals = "{:.6f}".format
    objects = results.objects.set_index("Sequence").rename_axis(index=None).to_string(float_format=decimals)
    overall = results.overall.to_string(index=False, float_format=decimals)
    return f"{objects}\n\nMean over all objects\n{overall}"
