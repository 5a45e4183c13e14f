"""Makes MiniVOST, a synthetic dataset in VOST's layout.

python -m aot_plus.tools.make_mini_vost --out aot_plus/datasets/MiniVOST --seed 0 --train 200 --val 20
python -m aot_plus.tools.make_mini_vost --preview docs/images/mini_vost.png
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from aot_plus.dataloaders.mini_vost.writer import make_dataset
from aot_plus.tools.common import whole_number
from aot_plus.utils.errors import VOSError
from aot_plus.viz.mini_vost_preview import write_preview


def parse_arguments(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    """Reads the command line (``sys.argv`` by default)."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Makes MiniVOST, synthetic videos in VOST's layout. Run again, it goes on."
    )
    parser.add_argument(
        "--out", type=Path, help="the dataset's folder, new or made by this tool with the same seed"
    )
    parser.add_argument(
        "--seed", type=whole_number(0), default=0, help="another seed gives other videos (default: 0)"
    )
    parser.add_argument(
        "--train", type=whole_number(0), default=200, help="sequences to train on (default: 200)"
    )
    parser.add_argument(
        "--val", type=whole_number(0), default=20, help="sequences to evaluate on (default: 20)"
    )
    parser.add_argument(
        "--workers", type=whole_number(1), default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    parser.add_argument(
        "--preview", type=Path, metavar="PNG", help="also, or only, a picture of some val sequences"
    )
    options = parser.parse_args(arguments)
    if options.out is None and options.preview is None:
        parser.error("expected --out DIR, --preview PNG, or both")
    return options


def main(
    arguments: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.make_mini_vost"
) -> int:
    """Runs the tool; returns its exit code."""
    options = parse_arguments(arguments, prog)
    try:
        if options.preview is not None:
            write_preview(options.preview, options.seed)
            print(f"Wrote {options.preview}")
        if options.out is not None:
            workers = min(options.workers, max(options.train + options.val, 1))
            make_dataset(options.out, options.seed, options.train, options.val, workers)
            print(f"MiniVOST in {options.out}: {options.train} train and {options.val} val sequences")
    except (VOSError, OSError) as error:
        print(f"make_mini_vost: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("make_mini_vost: stopped; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
