"""Draws a training batch: ``python -m aot_plus.tools.show_batch --stage S --model M --output PNG``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from aot_plus.tools.common import (
    add_config_arguments,
    add_data_argument,
    config_of,
    require_output,
    run_tool,
    whole_number,
)
from aot_plus.utils.catalogue import SMALL_STAGE
from aot_plus.utils.words import format_count


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.show_batch") -> int:
    """Parses the flags and draws one row per clip, with its name above. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description="Draws a training batch with its labels.")
    add_config_arguments(parser, stage=SMALL_STAGE)
    add_data_argument(parser)
    parser.add_argument("--step", type=whole_number(0), default=0, help="training step, from 0 (default: 0)")
    parser.add_argument("--output", type=Path, required=True, help="PNG file to write")
    args = parser.parse_args(argv)
    return run_tool(lambda: _show(args))


def _show(args: argparse.Namespace) -> int:
    import numpy as np
    from PIL import Image

    from aot_plus.dataloaders.train_datasets import ClipStream, build_train_dataset
    from aot_plus.utils.images import restore
    from aot_plus.viz.clips import clip_row
    from evaluation.files import replacing

    require_output(args.output, ".png")
    cfg = config_of(args)
    stream = ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, cfg.TRAIN_BATCH_SIZE)
    first = args.step * cfg.TRAIN_BATCH_SIZE
    clips = [stream[first + sample] for sample in range(cfg.TRAIN_BATCH_SIZE)]
    rows = [
        clip_row(
            f"{' + '.join(clip.names)}: {format_count(clip.num_objects, 'object')}",
            list(restore(clip.images.numpy())),
            list(clip.labels.numpy()),
        )
        for clip in clips
    ]
    with replacing(args.output) as temporary:
        Image.fromarray(np.concatenate(rows, axis=0)).save(temporary, format="PNG")
    frames = format_count(len(clips[0].images), "frame")
    print(f"{args.output}: {format_count(len(clips), 'clip')} of {frames}, step {args.step}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
