"""Whole runs over real pictures: agreement of number formats, and the share of time that is not computing."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from aot_plus.dataloaders.mini_vost import make_dataset, render_sequence
from aot_plus.dataloaders.video_input import Selection, open_video
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.utils.errors import DataError, VOSError
from benchmarks.report import Record, format_table
from benchmarks.streams import Setup
from evaluation.home import home
from evaluation.masks import read_mask

SEED = 0  # of MiniVOST
SEQUENCES = 2  # of MiniVOST val, for the pipeline

Image = NDArray[np.uint8]


def measure_agreement(setup: Setup, video: Path | None, mask: Path | None) -> tuple[str, Record]:
    """The share of pixels that the setup's ``dtype`` labels as float32 does, each with its own memory.

    Of a MiniVOST val video, and of ``video`` with the ``mask`` of its first frame if they are given; at most
    the setup's ``frames``. The first frame does not count.
    """
    sequence = render_sequence(SEED, "val", 0)
    shares = {
        f"MiniVOST {sequence.name}": _agreement(setup, iter(sequence.frames), sequence.masks[0]),
    }
    if video is not None and mask is not None:
        frames = (image for _, _, image in open_video(video, Selection()))
        shares[video.name] = _agreement(setup, frames, read_mask(mask))
    record = {
        "benchmark": "inference",
        "scenario": "agreement",
        **setup.record(),
        "compared": ["float32", setup.dtype],
        "agreement": {
            name: {"mean": float(np.mean(values)), "min": min(values), "frames": len(values)}
            for name, values in shares.items()
        },
    }
    rows = [("video", "frames", "equal pixels", "worst frame")]
    rows += [
        (name, str(facts["frames"]), f"{facts['mean']:.4%}", f"{facts['min']:.4%}")
        for name, facts in record["agreement"].items()
    ]
    return format_table(rows), record


def _agreement(setup: Setup, images: Iterator[Image], mask: Image) -> list[float]:
    """The share of equal labels in each frame after the first."""
    image = next(images)
    segmenters = []
    for dtype in ("float32", setup.dtype):
        segmenter = VideoSegmenter(replace(setup, dtype=dtype).load())
        segmenter.start(image, mask, memory_gap=setup.memory_gap)
        segmenters.append(segmenter)
    shares = []
    for _, image in zip(range(setup.frames), tqdm(images, desc="agreement", unit="frame"), strict=False):
        one, other = (segmenter.step(image) for segmenter in segmenters)
        shares.append(float(np.mean(one == other)))
    if not shares:
        raise DataError("a video of at least two frames is needed to compare labels")
    return shares


def measure_pipeline(setup: Setup, dataset: str | None, sequences: list[str] | None) -> tuple[str, Record]:
    """The time of an evaluation as a share of the time that its frames take to compute.

    Runs ``aot_plus.tools.eval`` in a process of its own, over sequences of ``dataset`` or a few of MiniVOST.
    Raises ``VOSError`` if that fails.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if dataset is None:
            make_dataset(folder / "MiniVOST", SEED, train=0, val=SEQUENCES)
        summary = _evaluate(setup, dataset or str(folder / "MiniVOST"), sequences, folder / "masks")
    record = {
        "benchmark": "inference",
        "scenario": "pipeline",
        **setup.record(),
        "dataset": dataset or "MiniVOST",
        "sequences": summary["done"],
        **{name: summary[name] for name in ("frames", "seconds", "compute_seconds", "peak_memory")},
        "ratio": summary["seconds"] / summary["compute_seconds"],
    }
    text = (
        f"{record['frames']} frames of {len(summary['done'])} sequences: {record['seconds']:.2f} s, of which "
        f"computing {record['compute_seconds']:.2f} s: ratio {record['ratio']:.3f}"
    )
    return text, record


def _evaluate(setup: Setup, dataset: str, sequences: list[str] | None, masks: Path) -> Record:
    """The summary of an evaluation in a process with as many threads as this one."""
    weights = ["--random_weights"] if setup.checkpoint is None else ["--ckpt_path", str(setup.checkpoint)]
    command = [sys.executable, "-m", "aot_plus.tools.eval", "--no_metric", *weights]
    command += ["--model", setup.model, "--stage", setup.stage, "--dtype", setup.dtype]
    command += ["--device", setup.device, "--policy", setup.policy, "--dataset", dataset]
    command += ["--result_dir", str(masks), *(["--sequences", *sequences] if sequences else [])]
    command += ["--set", f"LATTER_MEM_LEN={setup.memory_frames - 1}"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    # Its own words go to stderr: on stdout the JSON line is to be the only one.
    ended = subprocess.run(command, cwd=home(), env=environment, stdout=sys.stderr, check=False)
    if ended.returncode != 0:
        raise VOSError(f"the evaluation ended with exit code {ended.returncode}; its messages are above")
    return dict(json.loads((masks / "summary.json").read_text(encoding="utf-8")))
