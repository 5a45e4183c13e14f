"""How a frame's time and the memory grow: with the video, the objects, and an unbounded bank."""

import statistics
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from aot_plus.utils.errors import ConfigError
from benchmarks.frame_cost import profile
from benchmarks.parts import PartMeter, stage_targets
from benchmarks.report import Record, format_table, resident_memory, spread
from benchmarks.streams import Setup, Stream, alternate
from benchmarks.units import make_clock

EARLY, LATE = 200, 2000  # frames whose times are compared
FEW, MANY = 10, 30  # objects
FIRST = 5  # frames in the unbounded bank, T, from which times count
UNBOUNDED_RUNS = 3
MEMORY_SAMPLES = 10
CYCLES = 40


def measure_growth(setup: Setup, early: int = EARLY, late: int = LATE) -> tuple[str, Record]:
    """Time per frame of two streams, one at frame ``early`` and one at ``late``, which then take turns.

    Afterwards the second goes on to the setup's ``frames``, and the resident memory is noted on the way.
    """
    model = setup.load_for_size()
    old, young = Stream(model, setup), Stream(model, setup)
    for stream, frame in ((old, late), (young, early)):
        stream.advance(frame)
    times = alternate([young, old], CYCLES)
    del young
    marks = np.linspace(old.frame, max(setup.frames, old.frame), MEMORY_SAMPLES + 1).round().astype(int)
    resident = {}
    for mark in tqdm(marks.tolist(), desc="memory", unit="sample"):
        old.advance(mark)
        resident[str(mark)] = resident_memory()
    values = list(resident.values())
    record = {
        "benchmark": "inference",
        "scenario": "growth",
        **setup.record(),
        "frames_compared": [early, late],
        "seconds_per_frame": [spread(of_stream) for of_stream in times],
        "ratio": _median_ratio(times[1], times[0]),
        "resident_memory": resident,
        "memory_ratio": values[-1] / values[0],
    }
    rows = [("frame", "resident MiB"), *((mark, f"{value:.1f}") for mark, value in resident.items())]
    text = f"Frame {late} takes {record['ratio']:.3f} times as long as frame {early}."
    return f"{text}\n{format_table(rows)}", record


def measure_objects(setup: Setup, few: int = FEW, many: int = MANY) -> tuple[str, Record]:
    """Time per frame with ``few`` and with ``many`` objects, banks full, in turns; then by stages."""
    model = setup.load_for_size()
    streams = [Stream(model, setup, objects=objects) for objects in (few, many)]
    for stream in streams:
        stream.fill(setup.memory_frames)
    times = alternate(streams, -(-setup.frames // setup.memory_gap))
    meter = PartMeter(make_clock(setup.torch_device))
    stages = [profile(stream, meter, stage_targets(model)) for stream in streams]
    record = {
        "benchmark": "inference",
        "scenario": "objects",
        **setup.record(),
        "objects_compared": [few, many],
        "seconds_per_frame": [spread(of_stream) for of_stream in times],
        "stages": [dict(of_stream) for of_stream in stages],
        "ratio": _median_ratio(times[1], times[0]),
    }
    rows = [("objects", "seconds per frame", *stages[0])]
    rows += [
        (str(objects), *(f"{value:.4f}" for value in (statistics.median(of_stream), *of_stages.values())))
        for objects, of_stream, of_stages in zip((few, many), times, stages, strict=True)
    ]
    return f"{format_table(rows)}\nratio {record['ratio']:.2f}", record


def measure_unbounded(setup: Setup, runs: int = UNBOUNDED_RUNS) -> tuple[str, Record]:
    """Time per frame over T, the frames of an unbounded bank, from ``FIRST`` to the setup's ``frames``.

    Every frame is written to the bank. Raises ``ConfigError`` for too few frames to see a line.
    """
    if setup.frames < FIRST + 2:
        raise ConfigError(f"--frames: expected at least {FIRST + 2}, found {setup.frames}")
    model = setup.load_for_size(MEM_POLICY="unbounded")
    times: dict[int, list[float]] = {count: [] for count in range(FIRST, setup.frames + 1)}
    for _ in tqdm(range(runs), desc="unbounded", unit="run"):
        stream = Stream(model, setup, gap=1)
        stream.advance(FIRST - 1)
        for count in times:
            times[count].append(stream.step())
    medians = [statistics.median(values) for values in times.values()]
    record = {
        "benchmark": "inference",
        "scenario": "unbounded",
        **setup.record(),
        "seconds": dict(zip(map(str, times), medians, strict=True)),
        **linear_fit(list(times), medians),
    }
    rows = [
        ("T", "seconds"),
        *((str(count), f"{value:.4f}") for count, value in zip(times, medians, strict=True)),
    ]
    text = (
        f"{record['intercept']:.4f} s + {record['slope']:.5f} s for each frame; "
        f"residual {record['residual']:.1%} of the mean, R2 {record['r_squared']:.4f}"
    )
    return f"{format_table(rows)}\n{text}", record


def linear_fit(counts: Sequence[int], seconds: Sequence[float]) -> dict[str, float]:
    """The line through (T, seconds) by least squares.

    ``residual``: root mean square distance from it as a share of the mean; ``r_squared``: the share of the
    variance that it explains.
    """
    x, y = np.array(counts, dtype=np.float64), np.array(seconds)
    slope, intercept = np.polyfit(x, y, 1)
    distance = float(np.sqrt(np.mean((y - (slope * x + intercept)) ** 2)))
    return {
        "slope": float(slope),
        "intercept": float(intercept),
        "residual": distance / float(y.mean()),
        "r_squared": 1 - (distance / float(y.std())) ** 2,
    }


def _median_ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    """The median over pairs of neighbouring cycles."""
    return statistics.median(one / other for one, other in zip(upper, lower, strict=True))
