"""Makes MiniVOST, a synthetic dataset in VOST's layout.

python -m aot_plus.tools.make_mini_vost --output aot_plus/datasets/MiniVOST --seed 0 --train 200 --val 20
python -m aot_plus.tools.make_mini_vost --preview docs/images/mini_vost.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aot_plus.tools.common import require_output, run_tool, whole_number


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.make_mini_vost") -> int:
    """Parses the flags, makes the dataset or picture. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _make(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Makes MiniVOST, synthetic videos in VOST's layout. Rerun the same command to resume, or "
        "rerun it with larger numbers to add sequences; existing sequences are never removed.",
    )
    add, number = parser.add_argument, whole_number(0)
    add("--output", type=Path, help="folder of the dataset, new or made by this tool with the same seed")
    add("--seed", type=number, default=0, help="random seed of the videos (default: 0)")
    add("--train", type=number, default=200, help="number of training sequences (default: 200)")
    add("--val", type=number, default=20, help="number of val sequences (default: 20)")
    add("--workers", type=whole_number(1), help="number of processes (default: one per core)")
    add(
        "--preview",
        type=Path,
        metavar="PNG",
        help="draw some val sequences, in addition to --output or instead",
    )
    args = parser.parse_args(argv)
    if args.output is None and args.preview is None:
        parser.error("expected --output DIR, --preview PNG, or both")
    return args


def _make(args: argparse.Namespace) -> int:
    from aot_plus.dataloaders.mini_vost.writer import count_listed, make_dataset
    from aot_plus.viz.mini_vost_preview import write_preview

    if args.preview is not None:
        require_output(args.preview, ".png", flag="--preview")
        write_preview(args.preview, args.seed)
        print(f"Wrote {args.preview}")
    if args.output is not None:
        make_dataset(args.output, args.seed, args.train, args.val, args.workers)
        train, val = (count_listed(args.output, split) for split in ("train", "val"))
        print(f"MiniVOST in {args.output}: {train} train and {val} val sequences")
    return 0


if __name__ == "__main__":
    sys.exit(main())
