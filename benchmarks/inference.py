"""Measures time, memory and operations of inference: ``python -m benchmarks.inference --help``.

Without ``--scenario`` it measures a frame with a full bank and its stages. The video is synthetic, and the
weights are random unless a checkpoint is given: neither time nor memory depends on them.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from aot_plus.networks.engines.inference import InferenceEngine
from aot_plus.networks.memory.policies import build_policy
from aot_plus.networks.models import AOT
from aot_plus.tools.common import add_overrides_argument, run_tool, whole_number
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import ConfigError
from benchmarks.attentions import measure_attentions
from benchmarks.launches import measure_launches
from benchmarks.real_videos import measure_agreement, measure_pipeline
from benchmarks.report import DTYPES, Figures, add_arguments, image_size, resident_memory, show, spread
from benchmarks.streams import Stream, alternate, load_for_size
from benchmarks.units import UNIT_SIZE, booked, device_name, make_clock, memory_facts, unit_times
from evaluation.masks import MOST_OBJECTS

STAGE_CYCLES = 3
COMPARED_CYCLES = 40  # of each of two streams that take turns
EARLY, LATE = 200, 2000  # frames whose times are compared
MEMORY_SAMPLES = 10
FEW, MANY = 10, 30  # objects
FIRST = 5  # frames in the unbounded bank when timing starts
UNBOUNDED_RUNS = 3

SCENARIOS = """scenarios:
  frame      a frame with a full bank: step and streamed, stages, operations, memory; --frames are timed
  attention  each attention of a frame with all implementations for the device, repeated --frames times
  launches   operations that the host starts per frame, eagerly and with captured graphs, on any device
  filling    the first frames of a video, until its bank is full, and of a second video of the same size
  growth     frame 2000 against frame 200, and the memory over a stream of --frames
  objects    30 objects against 10; --frames of each are timed
  unbounded  time against the number of frames in a bank that grows from 5 to --frames
  agreement  share of equal labels of float32 and --dtype on a MiniVOST video, and on --video with --mask
  pipeline   the time of an evaluation on MiniVOST against the computing time in it
"""
# Default flags of each scenario that differ from those of "frame".
DEFAULTS: dict[str, dict[str, Any]] = {
    "frame": {"model": "r50_aotl", "size": (481, 849), "frames": 25, "dtype": "float32"},
    "attention": {"frames": 3},
    "launches": {"size": (97, 129)},
    "filling": {},
    "growth": {"model": "aot_mini", "size": (97, 129), "frames": 10000},
    "objects": {"frames": 15},
    "unbounded": {"size": (241, 433), "frames": 50},
    "agreement": {"model": "aot_mini", "frames": 100, "dtype": "bfloat16"},
    "pipeline": {"model": "aot_mini"},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Returns the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _measure(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description="Measures time, memory and operations of inference.",
        epilog=SCENARIOS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scenario", choices=list(DEFAULTS), default="frame", help="what to measure (default: frame)")
    add("--model", help="config of the model (default: r50_aotl, aot_mini for growth and real videos)")
    weights = "checkpoint file (default: random weights)"
    add("--checkpoint", "--ckpt_path", dest="ckpt_path", type=Path, help=weights)
    size = "size of the network's input (default: 481x849 for frame)"
    add("--size", type=image_size, metavar="HxW", help=size)
    bank = "frames in the bank (default: 9)"
    add("--capacity", "--memory_frames", dest="memory_frames", type=whole_number(2), default=9, help=bank)
    add("--objects", type=whole_number(1), default=2, help="objects in the synthetic video (default: 2)")
    add("--dtype", choices=DTYPES, help="number format (default: float32; bfloat16 for agreement)")
    add("--frames", type=whole_number(1), help="number of frames, see below (default: 25 for frame)")
    add("--policy", default="emfs", help="memory policy, or package.module:ClassName (default: emfs)")
    add("--memory_gap", type=whole_number(1), default=5, help="store every n-th frame (default: 5)")
    add_overrides_argument(parser)
    add("--video", type=Path, help="agreement: a video or a folder of images")
    add("--mask", type=Path, help="agreement: the mask of its first frame")
    add_arguments(parser)
    args = parser.parse_args(argv)
    if (args.video is None) != (args.mask is None):
        parser.error("--video and --mask belong together")
    if args.video is not None and args.scenario != "agreement":
        parser.error(f"--video: expected with --scenario agreement, found {args.scenario}")
    if args.objects > MOST_OBJECTS:
        parser.error(f"--objects: expected at most {MOST_OBJECTS}, found {args.objects}")
    for name, value in (DEFAULTS["frame"] | DEFAULTS[args.scenario]).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _measure(args: argparse.Namespace) -> int:
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device, "--device")
    show(args, device_name(device), torch.get_num_threads(), MEASURES[args.scenario](args))
    return 0


def measure_frame(flags: argparse.Namespace) -> Figures:
    """Times frames with a full bank, then their stages in a second pass, then counts operations in a third.

    Seconds are means over a gap cycle, in which one frame is written to the bank. On a GPU, frames are
    captured and replayed as CUDA graphs; eager execution is timed as well ("plain"), and the stages are timed
    eagerly.
    """
    imports = resident_memory()
    model = load_for_size(flags)
    stream = Stream(model, flags)
    stream.fill(flags.memory_frames)
    device = stream.segmenter.device
    memory = memory_facts(imports, device)  # before the matrices of the unit are allocated
    plain = stream
    if device.type == "cuda":
        plain = Stream(model, flags, graphs=False)
        plain.fill(flags.memory_frames)
    products = unit_times(device)
    cycles = tqdm(range(-(-flags.frames // flags.memory_gap)), desc="frames", unit="cycle")
    ways = {"step": stream.step_cycle, "streamed": stream.streamed_cycle}
    if plain is not stream:
        ways |= {"step, plain": plain.step_cycle, "streamed, plain": plain.streamed_cycle}
    times = [{name: cycle() for name, cycle in ways.items()} for _ in cycles]
    profiles = [stage_totals(plain, model, make_clock(device)) for _ in range(STAGE_CYCLES)]
    products += unit_times(device)
    unit = statistics.median(products)
    with _operation_counter() as counter:
        operations = stage_totals(plain, model, counter.get_total_flops)
    total = sum(operations.values())
    figures = {name: spread([time[name] for time in times], unit) for name in ways}
    figures["step"]["operations"] = total
    return {
        **figures,
        **{
            name: {**spread([profile[name] for profile in profiles], unit), "operations": count}
            for name, count in operations.items()
        },
        "unit": spread(products),
        "operations_units": total / (2 * UNIT_SIZE**3),  # if all operations ran as fast as the unit
        "memory_frames": stream.memory_frames,
        **memory,
    }


def stage_totals(stream: Stream, model: AOT, read: Callable[[], float]) -> dict[str, float]:
    """Returns the increase of ``read()`` per frame in each stage, on average over one gap cycle."""
    policy = type(build_policy(model.cfg))
    methods = [
        *((model, name, name) for name in ("encode", "propagate", "decode")),
        (InferenceEngine, "commit", "commit"),
        *((policy, name, "policy") for name in ("keep", "observe", "drop")),
    ]
    images = stream.images()
    with booked(read, methods) as totals:
        for image in images:
            stream.segmenter.step(image)
    return {stage: total / len(images) for stage, total in totals.items()}


def _operation_counter() -> FlopCounterMode:
    """Counts operations of matrix products, convolutions and attention; not of norms, softmax or resizing."""
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # PyTorch's counter lacks it
    return FlopCounterMode(display=False, custom_mapping={on_cpu: attention_operations})


def attention_operations(
    queries: Sequence[int], keys: Sequence[int], values: Sequence[int], *_: Any, **__: Any
) -> int:
    """Counts 2 B H N M (d + e), from shapes ``B x H x N x d``, ``B x H x M x d``, ``B x H x M x e``."""
    batch, heads, num_queries, width = queries
    return 2 * batch * heads * num_queries * keys[2] * (width + values[3])


def measure_filling(flags: argparse.Namespace) -> Figures:
    """Times the gap cycles of a video until its bank is full, of the next video, and with a full bank.

    The process runs another video first, so that the times do not include work done once per process.
    """
    model = load_for_size(flags)
    Stream(model, flags).fill(flags.memory_frames)
    stream, cycles = Stream(model, flags), range(flags.memory_frames)
    first = [stream.step_cycle() for _ in cycles]
    stream.restart()
    following = [stream.step_cycle() for _ in cycles]
    full = statistics.median(stream.step_cycle() for _ in range(COMPARED_CYCLES))
    return {
        name: {"mean": statistics.mean(times), "ratio": statistics.mean(times) / full}
        for name, times in {"first": first, "next": following, "full": [full]}.items()
    }


def measure_growth(flags: argparse.Namespace) -> Figures:
    """Times streams at frames ``EARLY`` and ``LATE`` in turns; the second then continues to ``frames``."""
    model = load_for_size(flags)
    old, young = Stream(model, flags), Stream(model, flags)
    old.advance(LATE)
    young.advance(EARLY)
    times = alternate([young, old], COMPARED_CYCLES)
    del young
    resident = {}
    marks = np.linspace(old.frame, max(flags.frames, old.frame), MEMORY_SAMPLES + 1).round().astype(int)
    for mark in tqdm(marks.tolist(), desc="memory", unit="sample"):
        old.advance(mark)
        resident[str(mark)] = resident_memory()
    return {
        "early": spread(times[0]),
        "late": spread(times[1]),
        "time_ratio": _median_ratio(times),
        "resident_mb": resident,
        "memory_ratio": resident[str(marks[-1])] / resident[str(marks[0])],
    }


def measure_objects(flags: argparse.Namespace) -> Figures:
    """Times streams of ``FEW`` and ``MANY`` objects in turns, with full banks, and then their stages."""
    model = load_for_size(flags)
    streams = [Stream(model, flags, objects=objects) for objects in (FEW, MANY)]
    for stream in streams:
        stream.fill(flags.memory_frames)
    times = alternate(streams, -(-flags.frames // flags.memory_gap))
    clock = make_clock(streams[0].segmenter.device)
    return {
        "few": {**spread(times[0]), **stage_totals(streams[0], model, clock)},
        "many": {**spread(times[1]), **stage_totals(streams[1], model, clock)},
        "ratio": _median_ratio(times),
    }


def measure_unbounded(flags: argparse.Namespace) -> Figures:
    """Times frames against T, the number of frames in an unbounded bank that stores each one; fits a line.

    ``residual``: root mean square distance from the line, as a share of the mean.
    """
    if flags.frames < FIRST + 2:
        raise ConfigError(f"--frames: expected at least {FIRST + 2}, found {flags.frames}")
    model = load_for_size(flags, MEM_POLICY="unbounded")
    counts = np.arange(FIRST, flags.frames + 1)
    runs = []
    for _ in tqdm(range(UNBOUNDED_RUNS), desc="unbounded", unit="run"):
        stream = Stream(model, flags, gap=1)
        stream.advance(FIRST - 1)
        runs.append([stream.step_cycle() for _ in counts])
    seconds = np.median(runs, axis=0)
    from scipy.stats import linregress  # takes a second to import

    line = linregress(counts, seconds)
    distance = seconds - (line.slope * counts + line.intercept)
    return {
        "seconds": dict(zip(map(str, counts), seconds.tolist(), strict=True)),
        "slope": float(line.slope),
        "intercept": float(line.intercept),
        "residual": float(np.sqrt(np.mean(distance**2)) / seconds.mean()),
        "r_squared": float(line.rvalue**2),
    }


def _median_ratio(times: Sequence[Sequence[float]]) -> float:
    """Returns the second stream's time divided by the first's: the median over pairs of adjacent cycles."""
    return statistics.median(late / early for early, late in zip(*times, strict=True))


MEASURES: dict[str, Callable[[argparse.Namespace], Figures]] = {
    "frame": measure_frame,
    "attention": measure_attentions,
    "launches": measure_launches,
    "filling": measure_filling,
    "growth": measure_growth,
    "objects": measure_objects,
    "unbounded": measure_unbounded,
    "agreement": measure_agreement,
    "pipeline": measure_pipeline,
}

if __name__ == "__main__":
    sys.exit(main())
