"""The page of the policy comparison: figures in, Markdown out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.policy_runs import FORMER, Record, Setting
from benchmarks.policy_statistics import (
    Estimate,
    expected_by_chance,
    mean_over_objects,
    paired_difference,
    visible_difference,
)

BASELINE = "fifo"
FIGURE_NAMES = ("J", "J_tr")  # columns of Record.arrays
FACTS = ("model", "stage", "seed", "steps", "hours", "command", "commit")


@dataclass(frozen=True)
class Row:
    """A model under a setting; estimates as in ``FIGURE_NAMES``, no differences for the baseline."""

    setting: Setting
    means: tuple[Estimate, ...]
    differences: tuple[Estimate, ...]
    frames_per_second: float
    peak_memory: float  # MiB
    peak_cuda_memory: float | None  # MiB


@dataclass(frozen=True)
class Difference:
    """A paired difference to the baseline of the same capacity, with its names."""

    model: str
    setting: Setting
    figure: str
    estimate: Estimate


def make_rows(records: Mapping[Setting, Sequence[Record]]) -> list[Row]:
    """A row for each setting; its records are those of the seeds, the same ones for all settings."""
    rows = []
    for setting, parts in records.items():
        values = _columns(parts)
        baseline = _columns(records[Setting(BASELINE, setting.latter)])
        is_baseline = setting.policy == BASELINE
        cuda = [part.peak_cuda_memory for part in parts if part.peak_cuda_memory is not None]
        rows.append(
            Row(
                setting,
                tuple(mean_over_objects(column) for column in values),
                () if is_baseline else tuple(map(paired_difference, values, baseline)),
                sum(part.frames for part in parts) / sum(part.seconds for part in parts),
                max(part.peak_memory for part in parts),
                max(cuda, default=None),
            )
        )
    return rows


def _columns(parts: Sequence[Record]) -> list[list[np.ndarray]]:
    """For each figure, its values of every sequence of all seeds."""
    tables = [table for part in parts for table in part.arrays()]
    return [[table[:, column] for table in tables] for column in range(len(FIGURE_NAMES))]


def render_page(
    records: Mapping[str, Mapping[Setting, Sequence[Record]]],
    facts: Mapping[str, Mapping[str, object]],
    seeds: Sequence[int],
    command: str,
) -> str:
    """The whole page. ``records``: model -> setting -> one for each seed; ``facts``: model -> ``FACTS``."""
    tables = {model: make_rows(of_model) for model, of_model in records.items()}
    every = [part for of_model in records.values() for parts in of_model.values() for part in parts]
    first = next(iter(next(iter(records.values())).values()))
    counts = [len(rows) for part in first for rows in part.figures.values()]
    sections = [
        _introduction(counts, seeds, command),
        "## What the spread allows one to conclude\n\n" + conclusions(tables, len(counts)),
        *(f"## {model}\n\n{render_table(rows)}" for model, rows in tables.items()),
        _speed_note(every),
        "## How the models were made\n\n" + _facts_table(facts),
    ]
    return "\n\n".join(sections) + "\n"


def _introduction(counts: Sequence[int], seeds: Sequence[int], command: str) -> str:
    listed = ", ".join(map(str, seeds))
    return f"""# Memory policies on MiniVOST

{len(counts)} val sequences of MiniVOST (seed {listed}; never trained on), {sum(counts)} objects. Made by
```
{command}
```
J and J_tr (J over the last quarter of a video) are means over all objects, as the metric prints them, ± one
standard error. Objects of one video are not independent of each other, so the error is that over sequences:
from the spread of each sequence's mean about the mean over all, weighted by its number of objects.
Differences are paired: each object with itself under `{BASELINE}` at the same capacity (`unbounded`: at the
larger one). `*` marks those beyond two standard errors."""


def conclusions(tables: Mapping[str, Sequence[Row]], sequences: int) -> str:
    """What the paired differences say: which are clear, how many would be by chance, what can be seen."""
    found = [
        Difference(model, row.setting, figure, estimate)
        for model, rows in tables.items()
        for row in rows
        for figure, estimate in zip(FIGURE_NAMES, row.differences, strict=bool(row.differences))
    ]
    groups: dict[tuple[str, int], list[Difference]] = {}
    for difference in found:
        groups.setdefault((difference.model, difference.setting.latter), []).append(difference)
    if sequences < 2 or not found:
        return "Nothing: this takes at least two sequences, and another policy than the baseline."
    lines = [
        f"- {model}, {_capacity(latter)}: {_verdict(group)}" for (model, latter), group in groups.items()
    ]
    clear = sum(difference.estimate.is_clear for difference in found)
    visible = [
        f"{visible_difference([other.estimate for other in found if other.figure == figure]):.3f} in {figure}"
        for figure in FIGURE_NAMES
    ]
    lines.append(
        f"- In all, {clear} of {len(found)} differences are beyond two standard errors. If no policy "
        f"differed from `{BASELINE}`, {expected_by_chance(len(found), sequences):.1f} of them would be "
        "expected to be so by chance."
    )
    lines.append(f"- With this spread, a difference typically shows from about {' and '.join(visible)}.")
    return "\n".join(lines)


def _verdict(group: Sequence[Difference]) -> str:
    """Which policies are clearly better or worse than the baseline, and which are neither."""
    clear = [difference for difference in group if difference.estimate.is_clear]
    kinds = {
        "better than": [difference for difference in clear if difference.estimate.mean > 0],
        "worse than": [difference for difference in clear if difference.estimate.mean < 0],
        "not told from": [difference for difference in group if not difference.estimate.is_clear],
    }
    parts = [f"{kind} `{BASELINE}`: {_by_policy(found)}" for kind, found in kinds.items() if found]
    return "; ".join(parts) + "."


def _by_policy(differences: Sequence[Difference]) -> str:
    """Like ``emfs (J +0.010 ± 0.004, J_tr +0.020 ± 0.006), rmem (...)``."""
    policies: dict[str, list[str]] = {}
    for difference in differences:
        text = f"{difference.figure} {_signed(difference.estimate)}"
        policies.setdefault(difference.setting.policy, []).append(text)
    return ", ".join(f"`{policy}` ({', '.join(texts)})" for policy, texts in policies.items())


def render_table(rows: Sequence[Row]) -> str:
    """A model's table, a line for each row."""
    with_cuda = any(row.peak_cuda_memory is not None for row in rows)
    header = ["policy", "capacity", *FIGURE_NAMES, *(f"{name} − {BASELINE}" for name in FIGURE_NAMES)]
    header += ["frames/s", "peak MiB"] + ["GPU MiB"] * with_cuda
    lines = [_line(header), _line(["---"] * 2 + ["---:"] * (len(header) - 2))]
    for row in rows:
        bounded = row.setting.policy != "unbounded"
        differences = [_signed(estimate) + "*" * estimate.is_clear for estimate in row.differences]
        cells = [f"`{row.setting.policy}`", _capacity(row.setting.latter) if bounded else "all"]
        cells += [_plain(estimate) for estimate in row.means]
        cells += differences or ["–"] * len(FIGURE_NAMES)
        cells += [f"{row.frames_per_second:.1f}", f"{row.peak_memory:.0f}"]
        if with_cuda:
            cells.append("–" if row.peak_cuda_memory is None else f"{row.peak_cuda_memory:.0f}")
        lines.append(_line(cells))
    return "\n".join(lines)


def _speed_note(records: Sequence[Record]) -> str:
    machines = "; ".join(sorted({record.machine for record in records}))
    jobs = " or ".join(map(str, sorted({record.jobs for record in records})))
    return (
        f"Speed and memory: one process of one CPU thread for each run, {jobs} at a time, reading and "
        f"writing included; {machines}. Peak memory is the resident memory of the whole process, with its "
        "libraries."
    )


def _facts_table(facts: Mapping[str, Mapping[str, object]]) -> str:
    columns = [name for name in FACTS if name != "command"]
    lines = [_line([*columns, "config"]), _line(["---"] * (len(columns) + 1))]
    for model, of_model in facts.items():
        config = f"`aot_plus/configs/models/{model}.py`, `aot_plus/configs/{of_model['stage']}.py`"
        lines.append(_line([*(str(of_model[name]) for name in columns), config]))
    commands = "\n".join(str(of_model["command"]) for of_model in facts.values())
    return "\n".join(lines) + f"\n\n```\n{commands}\n```"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _capacity(latter: int) -> str:
    return f"{FORMER} + {latter}"


def _plain(estimate: Estimate) -> str:
    return f"{estimate.mean:.3f}{_error(estimate)}"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.mean:+.3f}{_error(estimate)}".replace("-", "−")


def _error(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.error) else f" ± {estimate.error:.3f}"
