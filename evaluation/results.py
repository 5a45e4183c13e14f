"""The two CSV files of a result folder, and the table on the terminal."""

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.errors import DataError
from evaluation.metrics import FIGURES, FloatArray, global_figures

_OBJECT_COLUMNS = ("Sequence", "J-Mean", "J_last-Mean")
_J_MEAN, _J_LAST_MEAN = FIGURES.index("J-Mean"), FIGURES.index("J_last-Mean")
# Figures are written with 6 decimals: a mean of rounded figures is this close to the rounded mean.
_ROUNDING = 2e-6


@dataclass(frozen=True)
class Results:
    """The figures of a split: means over all objects, as in ``FIGURES``, and (object, J, J_last) rows."""

    overall: tuple[float, ...]
    objects: tuple[tuple[str, float, float], ...]


def summarise(names: Iterable[str], figures: list[FloatArray]) -> Results:
    """Results of sequences: their ``names``, and K x 6 ``figures`` of each (``metrics.object_figures``)."""
    objects = tuple(
        (f"{name}_{index}", float(row[_J_MEAN]), float(row[_J_LAST_MEAN]))
        for name, rows in zip(names, figures, strict=True)
        for index, row in enumerate(rows, start=1)
    )
    return Results(tuple(float(value) for value in global_figures(figures)), objects)


def csv_paths(folder: Path, split: str) -> tuple[Path, Path]:
    """The per-sequence and the global CSV file. Raises ``DataError`` for an impossible split."""
    check_split_name(split)
    return folder / f"per-sequence_results-{split}.csv", folder / f"global_results-{split}.csv"


def check_split_name(split: str) -> None:
    """Raises ``DataError`` for a name that is not that of a file."""
    if Path(split).name != split:
        raise DataError(f"{split!r} cannot be the name of a split")


def write_results(folder: Path, split: str, results: Results) -> None:
    """Writes both CSV files; each appears whole, under its name, or not at all."""
    per_object = [[name, f"{j:.6f}", f"{j_last:.6f}"] for name, j, j_last in results.objects]
    overall = [[f"{value:.6f}" for value in results.overall]]
    paths = csv_paths(folder, split)
    texts = (csv_text(_OBJECT_COLUMNS, per_object), csv_text(FIGURES, overall))
    write_whole(dict(zip(paths, texts, strict=True)))


def write_whole(texts: Mapping[Path, str]) -> None:
    """Writes files (path -> text); each appears whole, under its name, or not at all."""
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in texts}
    try:
        for path, file in temporary.items():
            file.write_text(texts[path], encoding="utf-8", newline="")
        for path, file in temporary.items():
            file.replace(path)
    finally:
        for file in temporary.values():
            file.unlink(missing_ok=True)


def csv_text(header: tuple[str, ...], rows: list[list[str]]) -> str:
    """A CSV file's text, lines ending in a newline alone."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def read_results(folder: Path, split: str) -> Results:
    """Reads both CSV files. Raises ``DataError`` naming a file that is damaged or of another run."""
    object_path, overall_path = csv_paths(folder, split)
    objects = []
    for name, *values in _read_csv(object_path, _OBJECT_COLUMNS):
        j, j_last = _figures(object_path, values)
        objects.append((name, j, j_last))
    rows = _read_csv(overall_path, FIGURES)
    if len(rows) != 1:
        raise _damaged(overall_path, f"expected one row of figures, found {len(rows)}")
    overall = _figures(overall_path, rows[0])
    means = np.mean([row[1:] for row in objects], axis=0)
    if not np.allclose(means, (overall[_J_MEAN], overall[_J_LAST_MEAN]), rtol=0, atol=_ROUNDING):
        raise _damaged(object_path, f"its means are not those of {overall_path}")
    return Results(overall, tuple(objects))


def _read_csv(path: Path, header: tuple[str, ...]) -> list[list[str]]:
    """The rows under ``header``; at least one."""
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _damaged(path, str(error)) from error
    if not lines or tuple(lines[0]) != header:
        raise _damaged(path, f"its first line should be {','.join(header)}")
    rows = lines[1:]
    if not rows or any(len(row) != len(header) for row in rows):
        raise _damaged(path, f"expected rows of {len(header)} values")
    return rows


def _figures(path: Path, values: list[str]) -> tuple[float, ...]:
    try:
        figures = tuple(float(value) for value in values)
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not all(math.isfinite(figure) for figure in figures):
        raise _damaged(path, f"a figure is not finite: {', '.join(values)}")
    return figures


def _damaged(path: Path, problem: str) -> DataError:
    return DataError(f"{path}: damaged ({problem}); --re evaluates again")


def format_table(results: Results) -> str:
    """Both tables as text for the terminal."""
    width = max(len("Sequence"), *(len(name) for name, _, _ in results.objects))
    lines = [f"{'Sequence':<{width}}  {'J-Mean':>9}  {'J_last-Mean':>11}"]
    lines += [f"{name:<{width}}  {j:9.6f}  {j_last:11.6f}" for name, j, j_last in results.objects]
    lines += ["", "Mean over all objects", "  ".join(f"{name:>13}" for name in FIGURES)]
    lines += ["  ".join(f"{value:13.6f}" for value in results.overall)]
    return "\n".join(lines)
