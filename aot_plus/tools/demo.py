"""Segments your own video: ``python -m aot_plus.tools.demo --help``."""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aot_plus.tools.common import (
    add_checkpoint_arguments,
    add_config_arguments,
    add_device_arguments,
    add_memory_arguments,
    config_of,
    run_tool,
    whole_number,
)
from aot_plus.utils.catalogue import PAPER_STAGE, checkpoint_to_run
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.sources import how_to_get
from aot_plus.utils.words import format_count

if TYPE_CHECKING:
    from aot_plus.configs import Config
    from aot_plus.dataloaders.box_masks import Box
    from aot_plus.pipeline.demo import DemoResult


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.demo") -> int:
    """Parses the flags, segments the video, prints what was written. Returns the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _demo(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Segments a video whose objects are given in the first frame, as masks or boxes. Writes "
        "masks, and an overlay video that shows the frames in the memory below it.",
    )
    add = parser.add_argument
    source = "video (mp4, mkv, webm, mov, avi, ...), folder of images, or camera:0 for the first camera"
    add("--input", required=True, help=source)
    _add_object_arguments(parser)
    add("--output", type=Path, required=True, help="folder for masks/<frame>.png and overlay.mp4")
    add("--overwrite", action="store_true", help="first remove the results of an earlier run in --output")
    add_config_arguments(parser, stage=PAPER_STAGE)
    add_checkpoint_arguments(parser, "the config's TEST_CKPT_PATH, else the model's own")
    add("--start", type=int, default=0, help="number of the first frame, from 0 (default: %(default)s)")
    add("--end", type=int, help="number of the frame to stop before (default: the end of the video)")
    add("--every", type=int, default=1, help="use only every n-th frame (default: %(default)s)")
    add(
        "--max_resolution",
        dest="TEST_MAX_LONG_EDGE",
        type=whole_number(32),
        metavar="PIXELS",
        help="longest side of the images that the network gets (default: the config's)",
    )
    add_memory_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args(_with_boxes_joined(sys.argv[1:] if argv is None else argv))
    if not args.masks and not args.boxes:
        parser.error("give the objects of the first frame: --mask FILE, or --box X,Y,W,H")
    return args


def _add_object_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--mask`` and ``--box``, which give the objects of the first frame."""
    add = parser.add_argument
    add(
        "--mask",
        dest="masks",
        action="append",
        type=Path,
        default=[],
        help="mask of the first frame: an indexed, grey or coloured PNG. To give one mask per object, repeat "
        "the flag or name a folder of masks. In a folder, masks can also be named after their frames (in a "
        "video: frame numbers from 00000); later masks then add or correct objects",
    )
    add(
        "--box",
        dest="boxes",
        action="append",
        type=_box,
        default=[],
        metavar="X,Y,W,H",
        help="box around an object in the first frame, in pixels: left, top, width, height. The mask in it "
        "is found by colour (GrabCut). Repeat the flag for each object",
    )


def _with_boxes_joined(arguments: Sequence[str]) -> list[str]:
    """Joins ``--box -5,20,40,40`` to ``--box=-5,20,40,40``: argparse would take the number for a flag."""
    joined: list[str] = []
    for argument in arguments:
        if joined[-1:] == ["--box"] and re.match(r"-\d", argument):
            joined[-1] = f"--box={argument}"
        else:
            joined.append(argument)
    return joined


def _box(text: str) -> "Box":
    from aot_plus.dataloaders.box_masks import Box  # needs OpenCV; --help does not

    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected x,y,width,height, found {text!r}") from None
    if width < 1 or height < 1:
        raise argparse.ArgumentTypeError(f"expected a width and a height of 1 or more, found {text!r}")
    return Box(x, y, width, height)


def _demo(args: argparse.Namespace) -> int:
    import torch
    from tqdm.contrib.logging import logging_redirect_tqdm

    from aot_plus.dataloaders.frame_source import Selection
    from aot_plus.dataloaders.given_masks import find_masks
    from aot_plus.dataloaders.video_input import open_video
    from aot_plus.networks.engines.segmenter import VideoSegmenter
    from aot_plus.networks.managers.processes import ProcessPlace, share_cores
    from aot_plus.networks.models.loading import load_from_config
    from aot_plus.pipeline.demo import DemoRun, claimed_output

    # In the given masks, 255 is never an object (``MaskReader``).
    cfg = config_of(args, {"TEST_CKPT_PATH": args.checkpoint, "TEST_TRACK_IGNORED": False})
    video = open_video(args.input, Selection(args.start, args.end, args.every))
    masks = find_masks(args.masks, video, args.boxes)
    checkpoint = None if args.random_weights else _checkpoint(cfg)
    output = claimed_output(args.output, (Path(args.input), *args.masks), overwrite=args.overwrite)
    with output, logging_redirect_tqdm():
        share_cores(ProcessPlace())
        torch.manual_seed(0)
        model = load_from_config(cfg, checkpoint)
        result = DemoRun(VideoSegmenter(model), video, masks, args.output).run()
    print(_describe(result))
    if checkpoint is None:
        print("The weights were random: these masks mean nothing.")
    return 0 if result.stopped_by is None else 128 + result.stopped_by


def _checkpoint(cfg: "Config") -> Path:
    """Finds the checkpoint. If it is missing, raises ``ConfigError`` that says how to get it."""
    name, found = checkpoint_to_run(cfg)
    if found is None:
        raise ConfigError(
            f"there is no checkpoint {name or f'for {cfg.MODEL_NAME}'}: give --checkpoint FILE, or "
            f"--random_weights to try the pipeline without one; {how_to_get(Path(name).name)}"
        )
    return found


def _describe(result: "DemoResult") -> str:
    rate = result.frames / result.seconds if result.seconds else 0.0
    began = "Interrupted: " if result.stopped_by else ""
    return (
        f"{began}{format_count(result.frames, 'frame')}, {rate:.1f} per second\n"
        f"Masks: {result.masks}\nOverlay: {result.video}"
    )


if __name__ == "__main__":
    sys.exit(main())
