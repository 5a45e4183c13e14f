"""What was reproduced, as text for the terminal, as a Markdown page and as a CSV file."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from aot_plus.pipeline.reproduction import Outcome
from aot_plus.pipeline.rows import SMALL_POLICIES, Run
from aot_plus.pipeline.run import Evaluation

FIGURES = {"J_tr": "j_tr", "J": "j"}  # as in tables, as in Figures
_CSV_COLUMNS = ("row", "model", "policy", "checkpoint", *FIGURES)
_CSV_COLUMNS += tuple(f"{kind}_{figure}" for kind in ("published", "difference") for figure in FIGURES)
_CSV_COLUMNS += ("status", "reason", "results")

Outcomes = Mapping[Run, Outcome]


def render_page(outcomes: Outcomes, source: str, command: str) -> str:
    """The Markdown page; ``source`` says in words what was measured on."""
    published = " Differences are measured minus published." if _has_published(outcomes) else ""
    return (
        f"# Reproduction\n\nMade by\n```\n{command}\n```\nOn {source}\n\nJ_tr (J over the last quarter of "
        f"each video) and J are means over all objects, in percent.{published}\n\n{render_table(outcomes)}\n"
    )


def render_table(outcomes: Outcomes) -> str:
    """A Markdown table that is legible as it stands, and below it ``render_reasons``."""
    lines = _paper_lines(outcomes) if _has_published(outcomes) else _small_lines(outcomes)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = 1 if _has_published(outcomes) else 2  # columns of words; the others hold numbers
    rule = ["-" * width if index < words else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    table = [_padded(line, widths, words) for line in (lines[0], rule, *lines[1:])]
    reasons = render_reasons(outcomes)
    return "\n".join([*table, "", reasons] if reasons else table)


def render_reasons(outcomes: Outcomes) -> str:
    """A Markdown list of what was not measured, and why; empty if there is nothing."""
    reasons = [f"- {', '.join(labels)}: {reason}" for reason, labels in _reasons(outcomes).items()]
    return "\n".join(["Not measured:", "", *reasons]) if reasons else ""


def render_csv(outcomes: Outcomes) -> str:
    """A line for each run; figures in percent with 4 decimals, empty where there are none."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for run, outcome in outcomes.items():
        line = {"row": run.row, "model": run.model, "policy": run.policy, "checkpoint": run.checkpoint}
        for figure in FIGURES:
            values = {figure: _measured(outcome, figure), f"published_{figure}": _published(run, figure)}
            values[f"difference_{figure}"] = _difference(run, outcome, figure)
            line |= {name: f"{value:.4f}" for name, value in values.items() if value is not None}
        line |= {"status": outcome.status, "reason": "; ".join(outcome.reasons)}
        writer.writerow(line | {"results": str(outcome.folder or "")})
    return text.getvalue()


def compare(evaluations: Sequence[Evaluation]) -> str:
    """J and J_tr of several jobs of one model on one dataset, side by side."""
    import pandas as pd

    cfg = evaluations[0].job.cfg
    columns = {
        f"{cfg.MODEL_NAME} on {cfg.TEST_DATASET} {cfg.TEST_DATASET_SPLIT}": [
            evaluation.job.folder.name for evaluation in evaluations
        ],
        "J": [evaluation.results.j for evaluation in evaluations],
        "J_tr": [evaluation.results.j_tr for evaluation in evaluations],
    }
    return str(pd.DataFrame(columns).to_string(index=False, float_format="{:.4f}".format))


def _has_published(outcomes: Outcomes) -> bool:
    return any(run.published for run in outcomes)


def _paper_lines(outcomes: Outcomes) -> list[list[str]]:
    """Header and rows: for each figure, measured, published, difference."""
    lines = [["method", *(name for figure in FIGURES for name in (figure, "published", "difference"))]]
    for run, outcome in outcomes.items():
        line = [run.row]
        for figure in FIGURES:
            published, difference = _published(run, figure), _difference(run, outcome, figure)
            line += [
                _cell(outcome, figure),
                "–" if published is None else f"{published:.1f}",
                "–" if difference is None else signed(difference),
            ]
        lines.append(line)
    return lines


def _small_lines(outcomes: Outcomes) -> list[list[str]]:
    """Header and rows: for each model and figure, the policies as columns."""
    lines = [["model", "figure", *SMALL_POLICIES]]
    for row in dict.fromkeys(run.row for run in outcomes):
        of_policy = {run.policy: outcome for run, outcome in outcomes.items() if run.row == row}
        lines += [
            [row, figure, *(_cell(of_policy[policy], figure) for policy in SMALL_POLICIES)]
            for figure in FIGURES
        ]
    return lines


def _cell(outcome: Outcome, figure: str) -> str:
    measured = _measured(outcome, figure)
    return outcome.status if measured is None else f"{measured:.2f}"


def signed(difference: float) -> str:
    """With a sign and two decimals; no sign for what rounds to zero."""
    text = f"{difference:+.2f}".replace("-", "−")
    return text[1:] if text[1:] == "0.00" else text


def _measured(outcome: Outcome, figure: str) -> float | None:
    return getattr(outcome.figures, FIGURES[figure]) if outcome.figures else None


def _published(run: Run, figure: str) -> float | None:
    return getattr(run.published, FIGURES[figure]) if run.published else None


def _difference(run: Run, outcome: Outcome, figure: str) -> float | None:
    measured, published = _measured(outcome, figure), _published(run, figure)
    return None if measured is None or published is None else measured - published


def _padded(cells: Sequence[str], widths: Sequence[int], words: int) -> str:
    texts = [
        cell.ljust(width) if index < words else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(texts)} |"


def _reasons(outcomes: Outcomes) -> dict[str, list[str]]:
    """Each reason with what it concerns: whole rows, or some policies of a row."""
    found: dict[str, dict[str, list[str]]] = {}  # reason -> row -> policies
    for run, outcome in outcomes.items():
        for reason in outcome.reasons:
            found.setdefault(reason, {}).setdefault(run.row, []).append(run.policy)
    return {
        reason: [
            row if len(policies) == _count(outcomes, row) else f"{row} ({', '.join(policies)})"
            for row, policies in rows.items()
        ]
        for reason, rows in found.items()
    }


def _count(outcomes: Iterable[Run], row: str) -> int:
    return sum(run.row == row for run in outcomes)
