"""Turns a checkpoint of a training into a small file of weights, to evaluate or to share.

python -m aot_plus.tools.export --input results/default_aot_mini/mini_vost/ema_ckpt/save_step_3000.pth \
    --output aot_plus/pretrain_models/aot_mini.safetensors
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from aot_plus.networks.models.checkpoint import read_state_dict
from aot_plus.tools.common import run_tool
from aot_plus.utils.errors import CheckpointError
from evaluation.files import replacing

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
SUFFIX = ".safetensors"


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, writes the file, prints its size. Gives the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _export(args))


def cast_weights(tensors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Contiguous copies of the tensors, those of floating point as ``dtype``.

    ``num_batches_tracked`` is left out: loading ignores it. Raises ``CheckpointError`` that names a tensor
    with a value beyond the range of ``dtype``.
    """
    weights = {}
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == "num_batches_tracked":
            continue
        target = dtype if tensor.is_floating_point() else tensor.dtype
        weights[name] = tensor.to(target, copy=True, memory_format=torch.contiguous_format)
        if tensor.is_floating_point() and not bool(torch.isfinite(weights[name]).all()):
            raise CheckpointError(
                f"{name}: expected values that fit {dtype} (up to {torch.finfo(dtype).max:g}), "
                f"found {tensor.abs().max():g}"
            )
    return weights


def export(source: Path, target: Path, dtype: torch.dtype) -> dict[str, Tensor]:
    """Writes the weights of ``source`` to ``target`` (.safetensors), whole or not at all; gives them.

    Raises ``CheckpointError``: ``source`` cannot be read or does not fit ``dtype``, ``target`` has another
    suffix or cannot be written.
    """
    if target.suffix != SUFFIX:
        raise CheckpointError(f"{target}: expected a name that ends in {SUFFIX}")
    tensors = read_state_dict(source)
    try:
        weights = cast_weights(tensors, dtype)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    try:
        with replacing(target) as temporary:
            temporary.write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written ({error.strerror or error})") from error
    return weights


def _export(args: argparse.Namespace) -> int:
    weights = export(args.input, args.output, DTYPES[args.dtype])
    values = sum(tensor.numel() for tensor in weights.values())
    size = args.output.stat().st_size
    print(f"{args.output}: {len(weights)} tensors, {values} values, {size / 1e6:.2f} MB, {args.dtype}")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m aot_plus.tools.export", description="A checkpoint's weights as a small file."
    )
    add = parser.add_argument
    add("--input", type=Path, required=True, help="checkpoint, .pth or .safetensors; best of ema_ckpt")
    add("--output", type=Path, required=True, help="file to write, .safetensors; an old one is replaced")
    add("--dtype", choices=DTYPES, default="float16", help="of the weights (default: %(default)s)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
