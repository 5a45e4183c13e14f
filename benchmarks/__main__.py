"""Measures everything that ``docs/performance.md`` shows for a device: ``python -m benchmarks [NAME ...]``.

Each measurement runs in its own process and writes its JSON line to ``results/benchmarks/<name>.json``.
Nothing else should run on the machine meanwhile.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence

from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import ConfigError, VOSError
from benchmarks.report import REPOSITORY
from evaluation.home import home

FOLDER = home() / "results" / "benchmarks"
_CLIP = "training --model r50_aotl --frames 15"
_LIKE_VOST = "--crop 465x465 --dtype bfloat16"
_LARGE, _SMALL = ("r50_aotl", "r50_deaotl"), ("aot_mini", "deaot_mini")
ON_CPU = {
    **{
        f"frame-{model}-{dtype}": f"inference --model {model} --dtype {dtype}"
        for model in _LARGE
        for dtype in ("float32", "bfloat16")
    },
    "frame-official_aot": "inference --model r50_aotl --dtype float32 --overrides MODEL_VOS=official_aot",
    **{f"launches-{model}": f"inference --scenario launches --model {model}" for model in _LARGE},
    **{
        scenario: f"inference --scenario {scenario}"
        for scenario in ("growth", "objects", "unbounded", "agreement", "pipeline")
    },
    "metric": "metric",
    "metric-davis": "metric --protocol davis --processes 1 --objects 1",
    "clips": "clips",
    "training": f"{_CLIP} --batch 1 --steps 2 --crop 241x241",
    "training-recompute": f"{_CLIP} --batch 1 --steps 2 --crop 241x241 --checkpoint_activations",
}
ON_GPU = {
    **{
        f"frame-{model}-{dtype}": f"inference --model {model} --dtype {dtype} --frames 100"
        for dtype, models in {"float16": (*_LARGE, *_SMALL), "float32": _LARGE}.items()
        for model in models
    },
    "objects": "inference --scenario objects --dtype float16 --frames 50",
    **{
        f"filling-{model}": f"inference --scenario filling --model {model} --dtype float16"
        for model in _LARGE
    },
    **{
        f"attention-{dtype}": f"inference --scenario attention --dtype {dtype} --frames 20"
        for dtype in ("float16", "float32")
    },
    **{
        f"agreement-{model}-{dtype}": f"inference --scenario agreement --model {model} --dtype {dtype}"
        for model in _SMALL
        for dtype in ("float16", "bfloat16")
    },
    **{f"training-{clips}": f"{_CLIP} --batch {clips} {_LIKE_VOST}" for clips in (1, 4)},
    "training-4-tf32": f"{_CLIP} --batch 4 {_LIKE_VOST} --overrides TRAIN_TF32=True TRAIN_CHANNELS_LAST=True",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named measurements, or all for the device. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures speed and memory: everything that docs/performance.md shows for a device.",
        epilog=f"names on a CPU: {', '.join(ON_CPU)}; on a GPU: {', '.join(ON_GPU)}",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="measurement, see below (default: all)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: auto)")
    parser.add_argument(
        "--threads", type=whole_number(1), help="number of PyTorch threads (default: its choice)"
    )
    args = parser.parse_args(argv)
    return run_tool(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    on_gpu = resolve_device(args.device, "--device").type != "cpu"
    items, failed = ON_GPU if on_gpu else ON_CPU, []
    unknown = [name for name in args.names if name not in items]
    if unknown:
        where = "GPU" if on_gpu else "CPU"
        raise ConfigError(
            f"NAME: expected, on a {where}, some of {', '.join(items)}; found {', '.join(unknown)}"
        )
    for name in args.names or items:
        module, *flags = items[name].split()
        if module not in ("metric", "clips"):
            flags += ["--device", args.device, *(["--threads", str(args.threads)] if args.threads else [])]
        command = ["-m", f"benchmarks.{module}", *flags]
        print(f"\n{name}: python {shlex.join(command)}", flush=True)
        target = FOLDER / f"{name}.json"
        ended = subprocess.run([sys.executable, *command, "--json", str(target)], cwd=REPOSITORY, check=False)
        if ended.returncode != 0:
            failed.append(name)
    if failed:
        raise VOSError(f"failed, see above: {', '.join(failed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
