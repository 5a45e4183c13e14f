"""The cost of a frame with a full bank: seconds, units, operations, each also by parts, and memory."""

import math
from collections.abc import Sequence

from tqdm import tqdm

from aot_plus.networks.memory.policies import MemoryPolicy, build_policy
from aot_plus.networks.models.aot import STRIDE
from benchmarks.devices import peaks
from benchmarks.parts import (
    OTHER,
    LargestTensor,
    PartMeter,
    Target,
    frame_targets,
    metered,
    operation_counter,
    policy_targets,
)
from benchmarks.report import MIB, Record, format_table, resident_memory, spread
from benchmarks.streams import Setup, Stream
from benchmarks.units import UnitOfTime, make_clock

PROFILED_CYCLES = 3


def measure_frame(setup: Setup) -> tuple[str, Record]:
    """Times frames, then their parts in a second pass, then counts operations in a third.

    Seconds are means over a gap cycle: one frame that is written to the bank, the others not.

    Returns:
        The table and the record.
    """
    memory = {"memory_of_imports": resident_memory()}
    model = setup.load_for_size()
    stream = Stream(model, setup)
    stream.fill(setup.memory_frames)
    stream.cycle()  # with a decision
    memory |= peaks(setup.torch_device)  # now: the unit's matrices are not the network's
    unit = setup.unit()
    unit.measure()
    cycles = -(-setup.frames // setup.memory_gap)
    times = [stream.cycle() for _ in tqdm(range(cycles), desc="frames", unit="cycle")]
    unit.measure()
    seconds = spread(times)
    policy = type(build_policy(model.cfg))
    record = {
        "benchmark": "inference",
        "scenario": "frame",
        **setup.record(),
        "memory_frames": stream.memory_frames,
        "seconds_per_frame": seconds,
        "unit": unit.record(),
        "units": seconds["median"] / unit.seconds,
        **measure_parts(stream, setup, frame_targets(model, policy), unit),
        **measure_decision(stream, setup, policy),
        **memory,
    }
    return f"{_table(record)}\n{unit.describe()}", record


def measure_parts(stream: Stream, setup: Setup, targets: Sequence[Target], unit: UnitOfTime) -> Record:
    """Seconds and operations of a frame by parts, and what follows from them."""
    meter = PartMeter(make_clock(setup.torch_device))
    cycles = tqdm(range(PROFILED_CYCLES), desc="parts", unit="cycle")
    profiles = [profile(stream, meter, targets) for _ in cycles]
    with operation_counter() as counter:
        operations = profile(stream, PartMeter(counter.get_total_flops), targets)
    parts = _parts(profiles, operations, unit)
    seconds = sum(part["seconds"]["median"] for part in parts.values())
    decision = parts["policy"]["seconds"]["median"]
    total = sum(operations.values())
    return {
        "parts": parts,
        "profiled_seconds": seconds,
        "decision_share": decision / seconds,
        "operations": total,
        "operations_units": total / unit.operations,
    }


def measure_decision(stream: Stream, setup: Setup, policy: type[MemoryPolicy]) -> Record:
    """The largest tensor that a decision computes, and, to compare, N x (T*N) weights; both in MiB."""
    largest = LargestTensor()
    with metered(largest, policy_targets(policy)):
        stream.cycle()
    tokens = math.prod(-(-side // STRIDE) for side in setup.size)
    weights = tokens * stream.memory_frames * tokens * 4  # bytes
    return {"decision_largest_tensor": largest.bytes / MIB, "attention_weights": weights / MIB}


def profile(stream: Stream, meter: PartMeter, targets: Sequence[Target]) -> dict[str, float]:
    """What each part takes of a frame, by the meter's reading, on average over one gap cycle."""
    with metered(meter, [(stream, "segment", OTHER), *targets]):
        stream.cycle()
    return {part: total / stream.gap for part, total in meter.take().items()}


def _parts(profiles: Sequence[dict[str, float]], operations: dict[str, float], unit: UnitOfTime) -> Record:
    """For each part its seconds, units, operations, and the units that the operations alone would take."""
    parts = {}
    for part, count in operations.items():
        seconds = spread([of_cycle[part] for of_cycle in profiles])
        parts[part] = {
            "seconds": seconds,
            "units": seconds["median"] / unit.seconds,
            "operations": count,
            "operations_units": count / unit.operations,
        }
    return parts


def _table(record: Record) -> str:
    rows = [("part", "seconds", "units", "GFLOP", "operations alone, units")]
    rows += [
        (
            name,
            f"{part['seconds']['median']:.4f}",
            f"{part['units']:.3f}",
            f"{part['operations'] / 1e9:.2f}",
            f"{part['operations_units']:.3f}",
        )
        for name, part in record["parts"].items()
    ]
    seconds = record["seconds_per_frame"]
    rows.append(
        (
            "a frame (without hooks)",
            f"{seconds['median']:.4f}",
            f"{record['units']:.3f}",
            f"{record['operations'] / 1e9:.2f}",
            f"{record['operations_units']:.3f}",
        )
    )
    cuda = record["peak_cuda_memory"]
    notes = [
        f"Seconds of a frame: {seconds['min']:.4f} to {seconds['max']:.4f} in {seconds['runs']} cycles; "
        f"sum of the parts {record['profiled_seconds']:.4f}.",
        f"Policy: {record['decision_share']:.1%} of a frame; its largest tensor has "
        f"{record['decision_largest_tensor']:.1f} MiB, N x (T*N) weights would have "
        f"{record['attention_weights']:.1f}.",
        f"Peak memory: {record['peak_memory']:.0f} MiB, "
        f"{record['memory_of_imports']:.0f} of it before the model"
        + ("." if cuda is None else f", CUDA {cuda:.0f} MiB."),
    ]
    return "\n".join([format_table(rows), *notes])
