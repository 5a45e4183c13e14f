"""Turns a checkpoint of a training, or the mean of several, into a small file of weights.

python -m aot_plus.tools.export --input results/default_aot_mini/mini_vost/ema_ckpt/save_step_3000.pth \
    --output aot_plus/pretrain_models/aot_mini.safetensors
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aot_plus.tools.common import run_tool


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.export") -> int:
    """Parses the flags, writes the file, prints its size. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _export(args))


def _export(args: argparse.Namespace) -> int:
    import torch

    from aot_plus.networks.models.export import export

    weights = export(args.input, args.output, getattr(torch, args.dtype))
    values = sum(tensor.numel() for tensor in weights.values())
    size = args.output.stat().st_size
    print(f"{args.output}: {len(weights)} tensors, {values} values, {size / 1e6:.2f} MB, {args.dtype}")
    return 0


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes the weights of a checkpoint, or the mean of several, to a small file.",
    )
    add = parser.add_argument
    add(
        "--input",
        type=Path,
        required=True,
        nargs="+",
        action="extend",
        metavar="FILE",
        help=".pth or .safetensors checkpoint, preferably from ema_ckpt; several of one model are averaged",
    )
    add("--output", type=Path, required=True, help=".safetensors file to write; an old one is replaced")
    dtypes = ("float16", "bfloat16", "float32")
    add("--dtype", choices=dtypes, default="float16", help="type of the weights (default: %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
