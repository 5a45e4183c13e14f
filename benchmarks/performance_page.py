"""The page of speed and memory: records of the benchmarks in, Markdown out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.performance_goals import MEMORY_TARGET, UNITS_TARGETS, Goal, gigabytes, goals_of
from benchmarks.report import Record

MODELS = ("r50_aotl", "r50_deaotl")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Measured:
    """A benchmark's command and what it found."""

    command: str
    record: Record


def render_page(
    measured: Mapping[str, Measured], missing: Mapping[str, str], command: str, *, quick: bool = False
) -> str:
    """The whole page.

    Args:
        measured: by the names of ``benchmarks.performance.items``.
        missing: commands of what has not been measured, by the same names.
        command: that made the page.
        quick: small sizes were measured: the page says so.
    """
    records = {name: one.record for name, one in measured.items()}
    goals = [goal for name, record in records.items() for goal in goals_of(name, record)]
    sections = [
        _introduction(command, quick),
        "## Targets\n\n" + _goals_table(goals),
        "## What misses its target\n\n" + _misses(goals, missing),
        "## A frame\n\n" + _frame_table(records),
        *(_parts_section(model, records) for model in MODELS if f"frame-{model}-float32" in records),
        "## Training\n\n" + _training_table(records),
        "## How it was made\n\n" + _commands(measured, missing),
    ]
    return "\n\n".join(sections) + "\n"


def _introduction(command: str, quick: bool) -> str:
    warning = (
        "**Small sizes, made with `--quick` to try the command: targets do not apply.**\n\n" if quick else ""
    )
    return f"""# Speed and memory

{warning}Made by
```
{command}
```
Every benchmark is a process of its own. Machines differ and are shared, so times are given in **units** as
well: seconds divided by the median time of a 4096 x 4096 float32 matrix product, measured in the same process
with the same threads, five times before and five times after. Seconds of a frame are means over a gap cycle
of 5 frames, one of which is written to the bank; the figure is the median of the cycles, with the fastest and
the slowest one. The video is synthetic and the weights are random: neither time nor memory depends on
them. Memory is the largest resident memory of the process, libraries included."""


def _goals_table(goals: Sequence[Goal]) -> str:
    if not goals:
        return "Nothing has been measured yet."
    rows = [(goal.what, goal.found, goal.target, goal.verdict) for goal in goals]
    return _markdown(("", "measured", "target", ""), rows)


def _misses(goals: Sequence[Goal], missing: Mapping[str, str]) -> str:
    lines = []
    for goal in goals:
        if not goal.met:
            reason = f"; {goal.reason}" if goal.reason else ""
            lines.append(f"- {goal.what}: {goal.found}, should be {goal.target}{reason}.")
    if missing:
        lines.append(f"- Not measured yet: {', '.join(missing)}.")
    return "\n".join(lines) or "Nothing."


def _frame_table(records: Mapping[str, Record]) -> str:
    header = (
        "model",
        "format",
        "units",
        "target",
        "operations alone, units",
        "seconds (fastest to slowest)",
        "GB",
        "target",
        "GB of GPU memory",
        "one unit, s (range)",
    )
    rows = []
    for model in MODELS:
        for dtype in DTYPES:
            record = records.get(f"frame-{model}-{dtype}")
            target = f"{UNITS_TARGETS[model, dtype]:.1f}"
            memory_target = f"{MEMORY_TARGET:.1f}" if dtype == "float32" else "–"
            if record is None:
                rows.append((model, dtype, "not measured", target, "–", "–", "–", memory_target, "–", "–"))
                continue
            cuda = record["peak_cuda_memory"]
            rows.append(
                (
                    model,
                    dtype,
                    f"{record['units']:.2f}",
                    target,
                    f"{record['operations_units']:.2f}",
                    _range(record["seconds_per_frame"]),
                    f"{gigabytes(record['peak_memory']):.2f}",
                    memory_target,
                    "–" if cuda is None else f"{gigabytes(cuda):.2f}",
                    _range(record["unit"]["seconds"]),
                )
            )
    text = (
        "The bank is full. Operations alone are the floating-point operations of matrix products, "
        "convolutions and attention (two for a multiplication and an addition; norms, activations, softmax "
        "and resizing are not counted), divided by those of a unit: what a frame would take if all of it "
        "ran as fast as the matrix product. The targets are those of a CPU with two cores."
    )
    return f"{text}\n\n{_size_note(records)}{_markdown(header, rows)}"


def _size_note(records: Mapping[str, Record]) -> str:
    """What was measured, from the settings of the records."""
    notes = set()
    for name, record in records.items():
        if name.startswith("frame-"):
            settings = record["settings"]
            height, width = settings["size"]
            notes.add(
                f"{height} x {width} pixels, {settings['objects']} objects, {record['memory_frames']} frames "
                f"in the bank, policy `{settings['policy']}`, a write every {settings['memory_gap']} frames"
            )
    return "".join(f"{note}.\n" for note in sorted(notes)) + "\n" if notes else ""


def _parts_section(model: str, records: Mapping[str, Record]) -> str:
    """A model's parts: operations, and units in each number format that was measured."""
    measured = [dtype for dtype in DTYPES if f"frame-{model}-{dtype}" in records]
    parts = {dtype: records[f"frame-{model}-{dtype}"]["parts"] for dtype in measured}
    header = ("part", "GFLOP", "operations alone, units", *(f"{dtype}, units (s)" for dtype in measured))
    rows = []
    for name, part in parts["float32"].items():
        cells = [f"`{name}`", f"{part['operations'] / 1e9:.2f}", f"{part['operations_units']:.3f}"]
        for dtype in measured:
            of_dtype = parts[dtype][name]
            cells.append(f"{of_dtype['units']:.3f} ({of_dtype['seconds']['median']:.4f})")
        rows.append(cells)
    text = (
        "Measured in a second pass, in which every part is timed by itself. `layerN.other` is what a layer "
        "does outside its attentions and feed-forward part, `propagate` what is left of the transformer, "
        "`other` the frame's way into the network and from logits to labels."
    )
    return f"## Parts of a frame: {model}\n\n{text}\n\n{_markdown(header, rows)}"


def _training_table(records: Mapping[str, Record]) -> str:
    header = (
        "activations",
        "units",
        "seconds (fastest to slowest)",
        "forward, s",
        "backward, s",
        "update, s",
        "data, s",
        "GB",
        "GB before the first step",
    )
    rows, notes = [], set()
    for name, label in (("training", "kept"), ("training-recompute", "recomputed")):
        if name not in records:
            rows.append((label, "not measured", *["–"] * 7))
            continue
        record = records[name]
        settings = record["settings"]
        crop = " x ".join(map(str, settings["crop"]))
        notes.add(
            f"`{settings['model']}`, {settings['batch']} clip(s) of {settings['frames']} frames of {crop} "
            f"pixels, {settings['dtype']}"
        )
        seconds = [f"{record['parts'][part]['median']:.2f}" for part in ("forward", "backward", "update")]
        rows.append(
            (
                label,
                f"{record['units']:.2f}",
                _range(record["seconds_per_step"]),
                *seconds,
                f"{record['data_seconds_per_step']['median']:.2f}",
                f"{gigabytes(record['peak_memory']):.2f}",
                f"{gigabytes(record['memory_before']):.2f}",
            )
        )
    note = "".join(f"{one}.\n" for one in sorted(notes))
    text = "A step; data is what one process takes to make its batch, which workers do beside the training."
    return f"{text}\n{note}\n{_markdown(header, rows)}"


def _commands(measured: Mapping[str, Measured], missing: Mapping[str, str]) -> str:
    machines: dict[str, list[str]] = {}
    for name, one in measured.items():
        facts = one.record["machine"]
        machine = (
            f"{facts['processor']}, {facts['cores']} cores, device {facts['device']}, "
            f"PyTorch {facts['torch']}, Python {facts['python']}"
        )
        when = f"{facts['date']}, commit {(facts['commit'] or 'unknown')[:10]}, {facts['threads']} thread(s)"
        machines.setdefault(machine, []).append(f"  - {name}: {when}")
    lines = [line for machine, runs in machines.items() for line in (f"- {machine}", *runs)]
    commands = [one.command for one in measured.values()] + list(missing.values())
    listed = "\n".join(commands)
    return "\n".join(
        [
            *lines,
            *([""] if lines else []),
            "The commands, each of which can be run by itself:",
            "```",
            listed,
            "```",
        ]
    )


def _range(values: Mapping[str, float]) -> str:
    return f"{values['median']:.3f} ({values['min']:.3f} to {values['max']:.3f})"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
