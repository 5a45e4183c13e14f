"""Measures inference on more realistic videos: agreement of number formats, and a whole evaluation."""

import tempfile
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aot_plus.dataloaders.frame_source import Selection
from aot_plus.dataloaders.mini_vost import make_dataset, render_sequence
from aot_plus.dataloaders.video_input import open_video
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.pipeline.run import Job, infer
from aot_plus.utils.catalogue import find_checkpoint
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import DataError
from benchmarks.report import Figures
from benchmarks.streams import load, overrides
from benchmarks.videos import Image
from evaluation.masks import read_mask

SEED = 0  # of MiniVOST
SEQUENCES = 2  # of MiniVOST val, for the pipeline


def measure_agreement(flags: Namespace) -> Figures:
    """Computes the share of pixels that get the same labels in ``--dtype`` and in float32.

    Each format keeps its own memory. The videos are one of MiniVOST, and ``--video`` with the ``--mask`` of
    its first frame if given, at most ``--frames`` of each. The first frame does not count.
    """
    flags.ckpt_path = flags.ckpt_path or find_checkpoint(f"{flags.model}.safetensors")
    if flags.ckpt_path is None:
        raise DataError(f"--checkpoint: none ships for {flags.model}, and random labels say nothing")
    sequence = render_sequence(SEED, "val", 0)
    figures = {sequence.name: _equal_labels(flags, iter(sequence.images), sequence.masks[0])}
    if flags.video is not None:
        images = (frame.image for frame in open_video(str(flags.video), Selection()))
        figures[flags.video.name] = _equal_labels(flags, images, read_mask(flags.mask))
    return figures


def _equal_labels(flags: Namespace, images: Iterator[Image], mask: Image) -> Figures:
    """Computes the share of equal labels in the frames after the first: its mean and its lowest value."""
    first = next(images)
    segmenters = [VideoSegmenter(load(flags, TEST_DTYPE=dtype)) for dtype in ("float32", flags.dtype)]
    for segmenter in segmenters:
        segmenter.start(first, mask, memory_gap=flags.memory_gap)
    shares = []
    for image in tqdm(islice(images, flags.frames), desc="agreement", unit="frame"):
        one, other = (segmenter.step(image) for segmenter in segmenters)
        shares.append(float(np.mean(one == other)))
    if not shares:
        raise DataError("a video of at least two frames is needed to compare labels")
    return {"equal_labels": float(np.mean(shares)), "worst": min(shares), "frames": len(shares)}


def measure_pipeline(flags: Namespace) -> Figures:
    """Times inference on a few MiniVOST sequences, with reading and writing, against its computing time."""
    with tempfile.TemporaryDirectory() as temporary:
        dataset = Path(temporary) / "MiniVOST"
        make_dataset(dataset, SEED, train=0, val=SEQUENCES)
        values = {**overrides(flags), "TEST_DATASET": str(dataset), "TEST_DATASET_SPLIT": "val"}
        cfg = get_config("pre_vost_2", flags.model, overrides=values)
        summary = infer(Job(cfg, flags.ckpt_path, Path(temporary) / "masks")).summary
    return {
        "frames": summary.frames,
        "seconds": summary.seconds,
        "compute_seconds": summary.compute_seconds,
        "ratio": summary.seconds / summary.compute_seconds,
    }
