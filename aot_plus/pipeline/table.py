"""Formats figures as tables: several evaluations side by side, and reproduced rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aot_plus.pipeline.reproduction import Outcome
from aot_plus.pipeline.rows import Row
from aot_plus.pipeline.run import Evaluation
from aot_plus.utils.paths import stored_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_frame", "compare", "render_page", "render_reasons", "render_table", "signed"]

Outcomes = Mapping[Row, Outcome]

_PAPER_FIGURES = ("J_tr", "J")
_COLUMNS = {"J_tr": "J_last-Mean", "J": "J-Mean", "F": "F-Mean", "J&F": "J&F-Mean"}  # in the metric's table


def compare(evaluations: Sequence[Evaluation]) -> str:
    """Formats J and J_tr of several jobs of one model on one dataset in VOST's layout, side by side."""
    import pandas as pd

    cfg = evaluations[0].job.cfg
    title = f"{cfg.MODEL_NAME} on {cfg.TEST_DATASET} {cfg.TEST_DATASET_SPLIT}"
    rows = [(each.job.folder.name, each.results.j, each.results.j_tr) for each in evaluations if each.results]
    return str(pd.DataFrame(rows, columns=[title, "J", "J_tr"]).to_string(index=False, float_format="%.4f"))


def as_frame(outcomes: Outcomes) -> pd.DataFrame:
    """Returns the CSV file's table: a line for each row; figures in percent, NaN where there are none."""
    import pandas as pd

    return pd.DataFrame([_line(row, outcome) for row, outcome in outcomes.items()])


def _line(row: Row, outcome: Outcome) -> dict[str, str | float]:
    """Returns a line of the CSV file. Tables of figures that the paper lacks have no published ones."""
    measured = _measured(row, outcome)
    published = _published(row) if row.figures == _PAPER_FIGURES else {}
    return {
        "row": row.name,
        "model": row.model,
        "policy": row.policy,
        "checkpoint": stored_path(row.checkpoint),
        **measured,
        **{f"published_{figure}": value for figure, value in published.items()},
        **{f"difference_{figure}": measured[figure] - value for figure, value in published.items()},
        "status": outcome.status,
        "reason": "; ".join(outcome.reasons),
        "results": str(outcome.folder or ""),
    }


def _figures(outcomes: Outcomes) -> tuple[str, ...]:
    """Returns the figures of a table, which are the same in all rows."""
    return next(iter(outcomes)).figures


def _measured(row: Row, outcome: Outcome) -> dict[str, float]:
    """Returns a row's figures in percent; NaN if there are none."""
    if outcome.results is None:
        return dict.fromkeys(row.figures, math.nan)
    overall = outcome.results.overall.iloc[0]
    return {figure: 100 * float(overall[_COLUMNS[figure]]) for figure in row.figures}


def _published(row: Row) -> dict[str, float]:
    """Returns the paper's figures of a row in percent; NaN if it has none."""
    values = (row.published.j_tr, row.published.j) if row.published else (math.nan, math.nan)
    return dict(zip(_PAPER_FIGURES, values, strict=True))


def render_page(outcomes: Outcomes, source: str, command: str) -> str:
    """Renders the Markdown page; ``source`` describes the data that the rows were measured on."""
    published = " Differences are measured minus published." if _has_published(outcomes) else ""
    last = "J_tr is J over the last quarter of each video. " if "J_tr" in _figures(outcomes) else ""
    return (
        f"# Reproduction\n\nMade by\n```\n{command}\n```\nOn {source}\n\n{last}All figures are means over "
        f"all objects, in percent.{published}\n\n{render_table(outcomes)}\n"
    )


def render_table(outcomes: Outcomes) -> str:
    """Renders a Markdown table that is legible as plain text, followed by ``render_reasons``."""
    frame = as_frame(outcomes)
    figures = _figures(outcomes)
    if _has_published(outcomes):
        table = _paper_table(frame)
    else:
        table = _small_table(frame) if figures == _PAPER_FIGURES else _zoo_table(frame, figures)
    return "\n\n".join(filter(None, [markdown(table), render_reasons(outcomes)]))


def render_reasons(outcomes: Outcomes) -> str:
    """Renders a Markdown list of what was not measured, and why; empty if all was measured."""
    reasons = [f"- {', '.join(labels)}: {reason}" for reason, labels in _reasons(outcomes).items()]
    return "\n".join(["Not measured:", "", *reasons]) if reasons else ""


def markdown(table: pd.DataFrame) -> str:
    """Formats a table; columns named ``method``, ``model`` and ``figure`` hold words, the others numbers."""
    lines = [list(table.columns), *table.to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = [name in ("method", "model", "figure") for name in table.columns]
    rule = [
        "-" * width if word else "-" * (width - 1) + ":" for width, word in zip(widths, words, strict=True)
    ]
    padded = [
        [
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def signed(difference: float) -> str:
    """Formats a number with a sign and two decimals; a number that rounds to zero has no sign."""
    text = f"{difference:+.2f}".replace("-", "−")
    return text[1:] if text[1:] == "0.00" else text


def _has_published(outcomes: Outcomes) -> bool:
    return any(row.published for row in outcomes)


def _cells(frame: pd.DataFrame, figure: str) -> pd.Series[str]:
    """Formats the measured figures; a row without one shows its status."""
    return frame[figure].map("{:.2f}".format).where(frame[figure].notna(), frame["status"])


def _paper_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Builds a table with three columns per figure: measured, published, difference."""
    import pandas as pd

    columns = [frame["row"].rename("method")]
    for figure in _PAPER_FIGURES:
        difference = frame[f"difference_{figure}"]
        columns += [
            _cells(frame, figure).rename(figure),
            frame[f"published_{figure}"].map("{:.1f}".format).rename("published"),
            difference.map(signed).where(difference.notna(), "–").rename("difference"),
        ]
    return pd.concat(columns, axis="columns")


def _zoo_table(frame: pd.DataFrame, figures: Sequence[str]) -> pd.DataFrame:
    """Builds a table with a line for each model, the figures as columns."""
    import pandas as pd

    columns = [_cells(frame, figure).rename(figure) for figure in figures]
    return pd.concat([frame["row"].rename("model"), *columns], axis="columns")


def _small_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Builds a table with a line for each model and figure, the policies as columns."""
    import pandas as pd

    policies = frame["policy"].unique().tolist()
    parts = [
        frame.assign(cell=_cells(frame, figure))
        .pivot(index="row", columns="policy", values="cell")
        .reindex(index=frame["row"].unique(), columns=policies)
        .assign(figure=figure)
        for figure in _PAPER_FIGURES
    ]
    table = pd.concat(parts).sort_index(kind="stable").reset_index(names="model")
    return table[["model", "figure", *policies]]


def _reasons(outcomes: Outcomes) -> dict[str, list[str]]:
    """Maps each reason to the rows, or the policies of a row, that it concerns."""
    found: dict[str, dict[str, list[str]]] = {}  # reason -> row -> policies
    for row, outcome in outcomes.items():
        for reason in outcome.reasons:
            found.setdefault(reason, {}).setdefault(row.name, []).append(row.policy)
    names = [row.name for row in outcomes]
    return {
        reason: [
            name if len(policies) == names.count(name) else f"{name} ({', '.join(policies)})"
            for name, policies in rows.items()
        ]
        for reason, rows in found.items()
    }
