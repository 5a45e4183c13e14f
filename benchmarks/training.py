"""Measures time and memory of training: ``python -m benchmarks.training --help``.

Runs the real learner on real batches, of MiniVOST unless the stage has other data. On a GPU, steps are
captured and replayed as CUDA graphs; eager execution is timed as well ("plain"), and the parts of a step are
timed eagerly.
"""

import argparse
import gc
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Batch
from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.engines.training import TrainingEngine
from aot_plus.networks.managers.learner import Learner
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.models import build_model
from aot_plus.tools.common import add_overrides_argument, run_tool, whole_number
from aot_plus.utils.config import get_config, parse_assignments
from aot_plus.utils.device import resolve_device
from benchmarks.report import DTYPES, add_arguments, image_size, resident_memory, show, spread
from benchmarks.units import booked, device_name, make_clock, memory_facts, unit_times

SHORT_SIDE = 480 / 465  # ratio of a frame's shorter side to its crop, as in the published recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Returns the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _measure(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="Measures time and memory of a training step."
    )
    add = parser.add_argument
    add("--model", default="aot_mini", help="config of the model (default: aot_mini)")
    add("--stage", default="mini_vost", help="config of the stage (default: mini_vost)")
    add("--batch", type=whole_number(1), help="clips per step (default: the stage's)")
    add("--frames", type=whole_number(2), help="frames per clip (default: the stage's)")
    add("--crop", type=image_size, metavar="HxW", help="crop size, sides 16k + 1 (default: the stage's)")
    add("--dtype", choices=DTYPES, help="type of automatic mixed precision (default: the stage's)")
    add("--steps", type=whole_number(1), default=5, help="timed steps, after the first ones (default: 5)")
    add("--checkpoint_activations", action="store_true", help="recompute activations in the backward pass")
    add_overrides_argument(parser)
    add_arguments(parser)
    return parser.parse_args(argv)


def _config(args: argparse.Namespace) -> Config:
    """Returns the stage's config with the values of the flags."""
    values = {
        "TRAIN_BATCH_SIZE": args.batch,
        "DATA_SEQ_LEN": args.frames,
        "DATA_RANDOMCROP": args.crop,
        "DATA_SHORT_EDGE_LEN": None if args.crop is None else round(min(args.crop) * SHORT_SIDE),
        "TRAIN_DTYPE": args.dtype,
        "TRAIN_CHECKPOINT_ACTIVATIONS": args.checkpoint_activations or None,
        "DATA_WORKERS": 0,  # so that the data's time is that of one process
    }
    given = {name: value for name, value in values.items() if value is not None}
    return get_config(args.stage, args.model, overrides=given | parse_assignments(args.overrides))


def _measure(args: argparse.Namespace) -> int:
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    imports = resident_memory()
    cfg, device = _config(args), resolve_device(args.device, "--device")
    loader = iter(build_train_loader(cfg))
    learner = _ready_learner(cfg, device, loader)
    memory = memory_facts(imports, device)  # before the matrices of the unit are allocated
    products = unit_times(device)
    times = _times(learner, loader, args.steps)
    if learner.is_recorded:
        del learner
        gc.collect()  # its memory is for the next learner
        torch.cuda.empty_cache()
        cfg.TRAIN_CUDA_GRAPH = False
        plain = _times(_ready_learner(cfg, device, loader), loader, args.steps)
        times = {**plain, "step, plain": plain["step"], "step": times["step"]}
    products += unit_times(device)
    unit = statistics.median(products)
    figures = {
        **{name: spread(seconds, unit) for name, seconds in times.items()},
        "unit": spread(products),
        **memory,
    }
    show(args, device_name(device), torch.get_num_threads(), figures)
    return 0


def _ready_learner(cfg: Config, device: torch.device, loader: Iterator[Batch]) -> Learner:
    """Returns a learner after the first steps, which do extra work."""
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=device, place=ProcessPlace())
    for step in range(2 if learner.is_recorded else 1):  # the second step captures the graph
        learner.train_step(next(loader), step)
    return learner


def _times(learner: Learner, loader: Iterator[Batch], count: int) -> dict[str, list[float]]:
    """Times steps, the making of their batches and, unless steps are captured, their parts, in seconds."""
    clock = make_clock(learner.device)
    times: dict[str, list[float]] = defaultdict(list)
    for step in tqdm(range(1, count + 1), desc="training", unit="step"):
        started = time.perf_counter()
        batch = next(loader)
        times["data"].append(time.perf_counter() - started)
        with booked(clock, [] if learner.is_recorded else _methods(learner)) as seconds:
            learner.train_step(batch, step)
        for name, value in {**seconds, "step": sum(seconds.values())}.items():
            times[name].append(value)
    return times


def _methods(learner: Learner) -> list[tuple[Any, str, str]]:
    return [
        (TrainingEngine, "__call__", "forward"),
        (Tensor, "backward", "backward"),
        (nn.utils, "clip_grad_norm_", "update"),
        (learner.optimizer, "step", "update"),
        (learner.ema, "update", "update"),
    ]


if __name__ == "__main__":
    sys.exit(main())
