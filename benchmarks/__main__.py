"""Measures all that ``docs/performance.md`` shows: ``python -m benchmarks [NAME ...] [--threads 2]``.

Every item is a process of its own, whose JSON line goes to ``results/benchmarks/<name>.json``. Nothing else
should run on the machine meanwhile.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence

from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.errors import VOSError
from evaluation.home import home

FOLDER = home() / "results" / "benchmarks"
_CLIP = "training --model r50_aotl --frames 15 --batch 1 --steps 2 --crop 241x241"
ITEMS = {
    **{
        f"frame-{model}-{dtype}": f"inference --model {model} --dtype {dtype}"
        for model in ("r50_aotl", "r50_deaotl")
        for dtype in ("float32", "bfloat16")
    },
    "frame-official_aot": "inference --model r50_aotl --dtype float32 --overrides MODEL_VOS=official_aot",
    **{
        f"launches-{model}": f"inference --scenario launches --model {model}"
        for model in ("r50_aotl", "r50_deaotl")
    },
    **{
        scenario: f"inference --scenario {scenario}"
        for scenario in ("growth", "objects", "unbounded", "agreement", "pipeline")
    },
    "metric": "metric",
    "clips": "clips",
    "training": _CLIP,
    "training-recompute": f"{_CLIP} --checkpoint_activations",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the items that are named, or all. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures speed and memory.",
        epilog=f"names: {', '.join(ITEMS)}",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="see below (default: all)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:<number> (default: auto)")
    parser.add_argument("--threads", type=whole_number(1), help="of PyTorch (default: its choice)")
    args = parser.parse_args(argv)
    unknown = [name for name in args.names if name not in ITEMS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; names: {', '.join(ITEMS)}")
    return run_tool(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    failed = []
    for name in args.names or ITEMS:
        module, *flags = ITEMS[name].split()
        if module not in ("metric", "clips"):
            flags += ["--device", args.device, *(["--threads", str(args.threads)] if args.threads else [])]
        command = ["-m", f"benchmarks.{module}", *flags]
        print(f"\n{name}: python {shlex.join(command)}", flush=True)
        target = FOLDER / f"{name}.json"
        ended = subprocess.run([sys.executable, *command, "--json", str(target)], cwd=home(), check=False)
        if ended.returncode != 0:
            failed.append(name)
    if failed:
        raise VOSError(f"failed, see above: {', '.join(failed)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
