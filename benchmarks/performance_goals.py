"""The targets of speed and memory, and what a benchmark's record says to them."""

from dataclasses import dataclass

from benchmarks.report import MIB, Record

UNITS_TARGETS = {
    ("r50_aotl", "float32"): 2.0,
    ("r50_aotl", "bfloat16"): 1.1,
    ("r50_deaotl", "float32"): 2.5,
    ("r50_deaotl", "bfloat16"): 1.1,
}
MEMORY_TARGET = 1.2  # GB, of a process in float32
DECISION_TARGET = 0.05
GROWTH_TARGET = 1.05
FLAT_TARGET = 1.02  # memory at the end of the stream over memory at frame 2,000 or so
OBJECTS_TARGET = 2.2
RESIDUAL_TARGET = 0.05
AGREEMENT_TARGET = 0.995
PIPELINE_TARGET = 1.1
METRIC_TARGET = 1.3
METRIC_MEMORY_TARGET = 200.0  # MB, of a process

WORST_PARTS = 3  # named where a frame misses its target


@dataclass(frozen=True)
class Goal:
    """A target and what was measured."""

    what: str
    found: str
    target: str
    met: bool
    reason: str = ""  # why it is missed, as far as the figures tell

    @property
    def verdict(self) -> str:
        return "met" if self.met else "**missed**"


def goals_of(name: str, record: Record) -> list[Goal]:
    """The targets that a benchmark's record answers, by the item's name."""
    if name.startswith("frame-"):
        return _frame_goals(record)
    makers = {
        "growth": _growth_goals,
        "objects": _objects_goals,
        "unbounded": _unbounded_goals,
        "agreement": _agreement_goals,
        "pipeline": _pipeline_goals,
        "metric": _metric_goals,
        "training": _training_goals,
    }
    return makers[name](record) if name in makers else []


def _at_most(what: str, found: float, target: float, form: str, reason: str = "") -> Goal:
    return Goal(what, form.format(found), f"at most {form.format(target)}", found <= target, reason)


def _frame_goals(record: Record) -> list[Goal]:
    """Those of time and memory are for a CPU."""
    settings = record["settings"]
    model, dtype = settings["model"], settings["dtype"]
    name = f"{model}, {dtype}"
    goals = []
    on_cpu = record["machine"]["device"] == "cpu"
    if on_cpu and (model, dtype) in UNITS_TARGETS:
        target = UNITS_TARGETS[model, dtype]
        goals.append(_at_most(f"{name}: a frame", record["units"], target, "{:.2f} units", _worst(record)))
    if on_cpu and dtype == "float32":
        memory = gigabytes(record["peak_memory"])
        before = f"{gigabytes(record['memory_of_imports']):.2f} GB of it before the model is built"
        goals.append(_at_most(f"{name}: memory of the process", memory, MEMORY_TARGET, "{:.3f} GB", before))
    share = record["decision_share"]
    goals.append(_at_most(f"{name}: share of a decision", share, DECISION_TARGET, "{:.1%}"))
    if dtype == "float32":
        largest, weights = record["decision_largest_tensor"], record["attention_weights"]
        what = f"{name}: largest tensor of a decision, against N x (T*N) weights"
        goals.append(Goal(what, f"{largest:.1f} MiB", f"below {weights:.1f} MiB", largest < weights))
    return goals


def _worst(record: Record) -> str:
    """The parts that take longest beyond what their operations alone would take."""
    parts = record["parts"]
    beyond = {name: part["units"] - part["operations_units"] for name, part in parts.items()}
    worst = sorted(beyond, key=lambda name: -beyond[name])[:WORST_PARTS]
    listed = ", ".join(
        f"`{name}` ({parts[name]['units']:.2f} units, alone {parts[name]['operations_units']:.2f})"
        for name in worst
    )
    return f"furthest from their operations are {listed}"


def _growth_goals(record: Record) -> list[Goal]:
    early, late = record["frames_compared"]
    marks = list(record["resident_memory"])
    span = f"memory at frame {marks[-1]} over frame {marks[0]}"
    return [
        _at_most(f"time of frame {late} over frame {early}", record["ratio"], GROWTH_TARGET, "{:.3f}"),
        _at_most(span, record["memory_ratio"], FLAT_TARGET, "{:.3f}"),
    ]


def _objects_goals(record: Record) -> list[Goal]:
    few, many = record["objects_compared"]
    stages = record["stages"][0]
    share = stages["encode"] / sum(stages.values())
    times = many / few
    reason = (
        f"with {few} objects, {share:.0%} of a frame is its encoding, the stage that groups of ten share: "
        f"with {times:g} times all the rest, it would be {share + times * (1 - share):.2f}"
    )
    return [_at_most(f"{many} objects over {few}", record["ratio"], OBJECTS_TARGET, "{:.2f}", reason)]


def _unbounded_goals(record: Record) -> list[Goal]:
    counts = list(record["seconds"])
    what = f"time over T = {counts[0]}..{counts[-1]} is linear: residual"
    return [_at_most(what, record["residual"], RESIDUAL_TARGET, "{:.1%}")]


def _agreement_goals(record: Record) -> list[Goal]:
    one, other = record["compared"]
    return [
        Goal(
            f"labels of {other} that are {one}'s, {name}",
            f"{facts['mean']:.2%}",
            f"at least {AGREEMENT_TARGET:.2%}",
            facts["mean"] >= AGREEMENT_TARGET,
        )
        for name, facts in record["agreement"].items()
    ]


def _pipeline_goals(record: Record) -> list[Goal]:
    return [_at_most("an evaluation over its computing", record["ratio"], PIPELINE_TARGET, "{:.2f}")]


def _metric_goals(record: Record) -> list[Goal]:
    memory = record["peak_memory"] * MIB / 1e6
    return [
        _at_most("the metric over decoding alone", record["ratio"]["median"], METRIC_TARGET, "{:.2f}"),
        _at_most("the metric: memory of a process", memory, METRIC_MEMORY_TARGET, "{:.0f} MB"),
    ]


def _training_goals(record: Record) -> list[Goal]:
    encoded, frames = record["frames_encoded_per_step"], record["frames_per_step"]
    return [Goal("training: frames encoded in a step", str(encoded), str(frames), encoded == frames)]


def gigabytes(mebibytes: float) -> float:
    """MiB to 10^9 bytes."""
    return mebibytes * MIB / 1e9
