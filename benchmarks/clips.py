"""Measures how many training clips one core makes per second: ``python -m benchmarks.clips --help``.

The clips come from MiniVOST, drawn on demand, and from JPEG files in VOST's layout, of a synthetic video.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import torch
from tqdm import tqdm

from aot_plus.configs import Config
from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.config import get_config
from benchmarks.report import Figures, add_arguments, image_size, show
from benchmarks.videos import SyntheticVideo, write_list, write_video

VIDEOS, VIDEO_FRAMES = 2, 40


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, measures, prints a table and the JSON line. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clips", description="Measures training clips per second and core."
    )
    add = parser.add_argument
    add("--frames", type=whole_number(2), default=15, help="frames per clip (default: 15)")
    add("--crop", type=image_size, metavar="HxW", default=(465, 465), help="crop size (default: 465x465)")
    add("--size", type=image_size, metavar="HxW", default=(1080, 1920), help="JPEG size (default: 1080x1920)")
    add("--clips", type=whole_number(1), default=10, help="timed clips of each kind (default: 10)")
    add_arguments(parser, compute=False)
    args = parser.parse_args(argv)
    return run_tool(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        root = Path(folder) / "VOST"
        _write_videos(root, args.size)
        figures = {
            "MiniVOST": _rate(args, "mini_vost", "MiniVOST"),
            "JPEG": _rate(args, str(root), "JPEG"),
        }
    show(args, "cpu", 1, figures)
    return 0


def _config(args: argparse.Namespace, dataset: str) -> Config:
    values = {
        "DATASETS": (dataset,),
        "DATA_SEQ_LEN": args.frames,
        "DATA_RANDOMCROP": args.crop,
        "DATA_SHORT_EDGE_LEN": min(args.crop),
        "DATA_WORKERS": 0,
        "TRAIN_BATCH_SIZE": 1,
    }
    return get_config("mini_vost", overrides=values)


def _rate(args: argparse.Namespace, dataset: str, name: str) -> Figures:
    """Times the making of clips in processor seconds, after one clip that is not timed."""
    loader = iter(build_train_loader(_config(args, dataset)))
    next(loader)
    started = time.process_time()
    for _ in tqdm(range(args.clips), desc=name, unit="clip"):
        next(loader)
    seconds = (time.process_time() - started) / args.clips
    return {"seconds per clip": seconds, "clips per second": 1 / seconds}


def _write_videos(root: Path, size: tuple[int, int]) -> None:
    names = [f"video_{number}" for number in range(VIDEOS)]
    for name in names:
        video = SyntheticVideo(size, 2)
        write_video(root, name, (video.frame(index) for index in range(VIDEO_FRAMES)))
    write_list(root, "train", names)


if __name__ == "__main__":
    sys.exit(main())
