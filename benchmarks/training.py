"""Time and memory of training: ``python -m benchmarks.training --help``.

Runs the real learner on real batches, of MiniVOST unless the stage has other data. The last line of the
output is the result as JSON.
"""

import argparse
import sys
import time
from collections.abc import Sequence

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
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.config import get_config
from aot_plus.utils.device import resolve_device
from benchmarks.arguments import DTYPES, add_compute_arguments, image_size
from benchmarks.devices import device_name, peaks
from benchmarks.parts import OTHER, PartMeter, Target, metered
from benchmarks.report import Record, format_table, machine_facts, resident_memory, show, spread
from benchmarks.units import UNIT_SIZE, UnitOfTime, make_clock

PARTS = ("forward", "backward", "update", OTHER)
SHORT_SIDE = 480 / 465  # of a frame to its crop, as in the published recipe


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Gives the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _measure(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training", description="Time and memory of a training step."
    )
    add = parser.add_argument
    add("--model", default="aot_mini", help="config of the model (default: %(default)s)")
    add("--stage", default="mini_vost", help="config of the stage (default: %(default)s)")
    add("--batch", type=whole_number(1), help="clips of a step (default: the stage's)")
    add("--frames", type=whole_number(2), help="of a clip (default: the stage's)")
    add("--crop", type=image_size, metavar="HxW", help="sides 16k + 1 (default: the stage's)")
    add("--dtype", choices=DTYPES, help="of automatic mixed precision (default: the stage's)")
    add("--steps", type=whole_number(1), default=5, help="that are timed, after one that is not (default: 5)")
    add("--checkpoint_activations", action="store_true", help="recompute activations in the backward pass")
    add_compute_arguments(parser)
    return parser.parse_args(argv)


def _config(args: argparse.Namespace) -> Config:
    """The stage's config with the values of the flags."""
    values = {
        "TRAIN_BATCH_SIZE": args.batch,
        "DATA_SEQ_LEN": args.frames,
        "DATA_RANDOMCROP": args.crop,
        "DATA_SHORT_EDGE_LEN": None if args.crop is None else round(min(args.crop) * SHORT_SIDE),
        "TRAIN_DTYPE": args.dtype,
        "TRAIN_CHECKPOINT_ACTIVATIONS": args.checkpoint_activations or None,
        "DATA_WORKERS": 0,  # the time of the data is that of one process
    }
    given = {name: value for name, value in values.items() if value is not None}
    return get_config(args.stage, args.model, overrides=given)


def _measure(args: argparse.Namespace) -> int:
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    cfg = _config(args)
    device = resolve_device(args.device, "--device")
    table, record = measure_training(cfg, device, args.steps)
    show(table, record, args.json)
    return 0


def measure_training(
    cfg: Config, device: torch.device, steps: int, unit_size: int = UNIT_SIZE
) -> tuple[str, Record]:
    """Times ``steps`` steps and their parts, after one that is not timed. Gives the table and the record."""
    torch.manual_seed(0)
    batches, data = _draw_batches(cfg, steps + 1)
    learner = Learner(build_model(cfg), cfg, device=device, place=ProcessPlace())
    before = resident_memory()
    encoded = _count_encoded(learner)
    learner.train_step(batches[0], 0)
    memory = peaks(device)  # now: the unit's matrices are not the training's
    frames_encoded = sum(encoded)
    unit = UnitOfTime(device, unit_size)
    unit.measure()
    meter = PartMeter(make_clock(device))
    profiles = []
    for step, batch in enumerate(tqdm(batches[1:], desc="training", unit="step"), start=1):
        with metered(meter, _targets(learner)), meter.part(OTHER):
            learner.train_step(batch, step)
        profiles.append(meter.take())
    unit.measure()
    seconds = spread([sum(profile.values()) for profile in profiles])
    record = {
        "benchmark": "training",
        "settings": _settings(cfg, steps),
        "machine": machine_facts(torch.get_num_threads(), device_name(device)),
        "seconds_per_step": seconds,
        "parts": {part: spread([profile[part] for profile in profiles]) for part in PARTS},
        "data_seconds_per_step": spread(data[1:]),
        "unit": unit.record(),
        "units": seconds["median"] / unit.seconds,
        "frames_per_step": cfg.TRAIN_BATCH_SIZE * cfg.DATA_SEQ_LEN,
        "frames_encoded_per_step": frames_encoded,
        "memory_before": before,
        **memory,
    }
    return f"{_table(record)}\n{unit.describe()}", record


def _draw_batches(cfg: Config, count: int) -> tuple[list[Batch], list[float]]:
    """The batches of the first steps, and the seconds that each took to make."""
    loader = iter(build_train_loader(cfg))
    batches, seconds = [], []
    for _ in tqdm(range(count), desc="data", unit="batch"):
        started = time.perf_counter()
        batches.append(next(loader))
        seconds.append(time.perf_counter() - started)
    return batches, seconds


def _count_encoded(learner: Learner) -> list[int]:
    """A list that gets the number of frames of every call of the encoder."""
    encoded: list[int] = []

    def note(_: nn.Module, inputs: tuple[Tensor]) -> None:
        encoded.append(len(inputs[0]))

    learner.model.encoder.register_forward_pre_hook(note)
    return encoded


def _targets(learner: Learner) -> list[Target]:
    return [
        (TrainingEngine, "forward", "forward"),
        (Tensor, "backward", "backward"),
        (nn.utils, "clip_grad_norm_", "update"),
        (learner.optimizer, "step", "update"),
        (learner.ema, "update", "update"),
    ]


def _settings(cfg: Config, steps: int) -> Record:
    return {
        "model": cfg.MODEL_NAME,
        "stage": cfg.STAGE_NAME,
        "batch": cfg.TRAIN_BATCH_SIZE,
        "frames": cfg.DATA_SEQ_LEN,
        "crop": list(cfg.DATA_RANDOMCROP),
        "dtype": cfg.TRAIN_DTYPE,
        "checkpoint_activations": cfg.TRAIN_CHECKPOINT_ACTIVATIONS,
        "steps": steps,
    }


def _table(record: Record) -> str:
    rows: list[tuple[str, ...]] = [("", "median s", "min s", "max s")]
    lines = {"a step": record["seconds_per_step"], **record["parts"], "data": record["data_seconds_per_step"]}
    for name, values in lines.items():
        rows.append((name, *(f"{values[which]:.3f}" for which in ("median", "min", "max"))))
    cuda = record["peak_cuda_memory"]
    return (
        f"{format_table(rows)}\n"
        f"A step is {record['units']:.3f} units. Frames of a step: {record['frames_per_step']}; encoded: "
        f"{record['frames_encoded_per_step']}.\nPeak memory: {record['peak_memory']:.0f} MiB, "
        f"{record['memory_before']:.0f} of it before the first step"
        + ("." if cuda is None else f"; CUDA {cuda:.0f} MiB.")
    )


if __name__ == "__main__":
    sys.exit(main())
