"""Time, memory and operations of inference: ``python -m benchmarks.inference --help``.

Without ``--scenario`` it measures a frame with a full bank, and its parts. The video is synthetic, the
weights are random unless a checkpoint is given. The last line of the output is the result as JSON.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aot_plus.configs import Config
from aot_plus.networks.memory.policies import POLICIES
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.errors import ConfigError
from benchmarks.arguments import DTYPES, add_compute_arguments, image_size
from benchmarks.frame_cost import measure_frame
from benchmarks.report import Record, show
from benchmarks.scaling import measure_growth, measure_objects, measure_unbounded
from benchmarks.streams import Setup
from evaluation.home import home

# What a scenario measures unless flags say otherwise.
DEFAULTS: dict[str, dict[str, Any]] = {
    "frame": {"model": "r50_aotl", "size": (481, 849), "frames": 25, "dtype": "float32"},
    "growth": {"model": "aot_mini", "size": (97, 129), "frames": 10000, "dtype": "float32"},
    "objects": {"model": "r50_aotl", "size": (481, 849), "frames": 15, "dtype": "float32"},
    "unbounded": {"model": "r50_aotl", "size": (241, 433), "frames": 50, "dtype": "float32"},
    "agreement": {"model": "aot_mini", "size": (0, 0), "frames": 100, "dtype": "bfloat16"},
    "pipeline": {"model": "aot_mini", "size": (0, 0), "frames": 0, "dtype": "float32"},
}
SCENARIOS = """scenarios:
  frame      a frame's time with a full bank, its parts, operations and memory; --frames are timed
  growth     frame 200 against frame 2000, and the memory over a stream of --frames
  objects    30 objects against 10; --frames of each are timed
  unbounded  time over the number of frames in a bank that grows from 5 to --frames
  agreement  equal labels of float32 and --dtype over a MiniVOST val video, and --video with --mask
  pipeline   an evaluation's time against the computing in it, over MiniVOST or --dataset
defaults of --model, --size, --frames, --dtype:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Gives the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _measure(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description="Time, memory and operations of inference.",
        epilog=SCENARIOS + "\n".join(f"  {name:<9}  {_text(values)}" for name, values in DEFAULTS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--scenario", choices=list(DEFAULTS), default="frame", help="what to measure (default: %(default)s)")
    add("--model", help="config of the model")
    add("--stage", default="pre_vost_2", help="config of the stage (default: %(default)s)")
    add("--ckpt_path", type=Path, help="checkpoint (default: random weights; where real pictures are "
        "segmented, the one that ships with the model)")  # fmt: skip
    add("--size", type=image_size, metavar="HxW", help="of the network's input, sides 16k + 1")
    add(
        "--memory_frames", type=whole_number(2), default=9, help="capacity of the bank (default: %(default)s)"
    )
    add("--objects", type=whole_number(1), default=2, help="in the synthetic video (default: %(default)s)")
    add("--dtype", choices=DTYPES)
    add("--frames", type=whole_number(1), help="see below")
    add("--policy", choices=list(POLICIES), default="emfs", help="of the memory (default: %(default)s)")
    add("--memory_gap", type=whole_number(1), default=5, help="frames between writes (default: %(default)s)")
    add("--video", type=Path, help="agreement: a video or a folder of images")
    add("--mask", type=Path, help="agreement: the mask of its first frame")
    add("--dataset", help="pipeline: vost, mini_vost or a folder in VOST's layout (default: made on the way)")
    add("--sequences", nargs="+", metavar="NAME", help="pipeline: only these")
    add_compute_arguments(parser)
    args = parser.parse_args(argv)
    if (args.video is None) != (args.mask is None):
        parser.error("--video and --mask belong together")
    if args.objects > 254:
        parser.error(f"--objects: expected at most 254, found {args.objects}")
    return args


def _text(values: dict[str, Any]) -> str:
    size = "x".join(map(str, values["size"])) if values["size"][0] else "that of the pictures"
    return f"{values['model']}, {size}, {values['frames'] or 'all'}, {values['dtype']}"


def _setup(args: argparse.Namespace) -> Setup:
    """The flags, with the scenario's defaults for those that were not given."""
    given = {name: getattr(args, name) for name in ("model", "size", "frames", "dtype")}
    chosen = DEFAULTS[args.scenario] | {name: value for name, value in given.items() if value is not None}
    checkpoint = args.ckpt_path
    if checkpoint is None and args.scenario in ("agreement", "pipeline"):
        checkpoint = _shipped(chosen["model"])
        if checkpoint is None and args.scenario == "agreement":
            raise ConfigError(f"--ckpt_path: none ships for {chosen['model']}, and random labels say nothing")
    return Setup(
        stage=args.stage,
        checkpoint=checkpoint,
        memory_frames=args.memory_frames,
        objects=args.objects,
        policy=args.policy,
        memory_gap=args.memory_gap,
        device=args.device,
        **chosen,
    )


def _shipped(model: str) -> Path | None:
    """The checkpoint of that model that comes with the project, if there is one."""
    path = home() / Config.DIR_PRETRAIN / f"{model}.safetensors"
    return path if path.exists() else None


def _measure(args: argparse.Namespace) -> int:
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    table, record = _run(_setup(args), args)
    show(table, record, args.json)
    return 0


def _run(setup: Setup, args: argparse.Namespace) -> tuple[str, Record]:
    if args.scenario == "growth":
        return measure_growth(setup)
    if args.scenario == "objects":
        return measure_objects(setup)
    if args.scenario == "unbounded":
        return measure_unbounded(setup)
    if args.scenario == "frame":
        return measure_frame(setup)
    # Imported here: MiniVOST's libraries take memory that is none of the scenarios' above.
    from benchmarks.whole_runs import measure_agreement, measure_pipeline

    if args.scenario == "agreement":
        return measure_agreement(setup, args.video, args.mask)
    return measure_pipeline(setup, args.dataset, args.sequences)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an evaluation's process is ended first
    sys.exit(main())
