"""Measures J and J_tr on videos unlike MiniVOST: ``python -m benchmarks.other_videos --help``.

No model trains on them: they show what a model that learnt on MiniVOST is worth elsewhere. Rerun the same
command to resume; what was made with other config values, weights or code is done again.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from aot_plus.pipeline.run import Job
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.config import parse_assignments
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from benchmarks.other_scenes import draw_video
from benchmarks.policies import checkpoint_of, do_jobs, make_job, read_objects, threads_of_each
from benchmarks.policy_statistics import interval
from benchmarks.report import add_arguments, show
from benchmarks.units import device_name
from evaluation.files import replacing
from evaluation.home import home
from evaluation.parallel import map_in_processes

VERSION = 1
"""Goes up with every change that changes a pixel for the same seed."""
_ANNOTATION_STEP = 2  # as in VOST: every second frame


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, makes the videos, completes missing runs, prints the table. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.other_videos", description="J and J_tr on videos unlike MiniVOST."
    )
    add = parser.add_argument
    models = "names of models, with the file that is here, or NAME=FILE (default: aot_mini deaot_mini)"
    add("--models", nargs="+", default=["aot_mini", "deaot_mini"], metavar="MODEL", help=models)
    add("--policies", nargs="+", default=["emfs"], help="names or package.module:Class (default: emfs)")
    add("--sequences", type=whole_number(2), default=16, help="videos of each seed (default: 16)")
    add("--seeds", nargs="+", type=whole_number(0), default=[0], help="of the videos (default: 0)")
    values = "config values of all runs, for example --overrides TEST_FLIP=True"
    add("--overrides", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=values)
    add("--work", type=Path, default=home() / "results/other_videos", help="folder of videos and masks")
    jobs = "runs at a time, which share the cores and the GPUs (default: 1)"
    add("--jobs", type=whole_number(1), default=1, help=jobs)
    add_arguments(parser, compute=False)
    args = parser.parse_args(argv)
    return run_tool(lambda: _measure(args))


def _measure(args: argparse.Namespace) -> int:
    work = args.work.resolve()
    datasets = {
        seed: work / f"videos_v{VERSION}_seed{seed}_{args.sequences}" for seed in dict.fromkeys(args.seeds)
    }
    rivals = list(_rivals(args, list(datasets.values())))  # raises before anything is made
    for seed, dataset in datasets.items():
        make_videos(dataset, seed, args.sequences, args.jobs)
    rows = {}
    do_jobs([job for jobs in rivals for job in jobs], args.jobs)
    print("| model | weights | policy | J | J_tr | objects |\n| --- | --- | --- | ---: | ---: | ---: |")
    for jobs in rivals:
        found = pd.concat([read_objects(job) for job in jobs]).set_index(["seed", "sequence"])
        cfg, file = jobs[0].cfg, Path(str(jobs[0].checkpoint)).name
        digest = jobs[0].folder.parent.name.rpartition("-")[2]  # of weights, which may have one name
        name = f"{cfg.MODEL_NAME} | {file} ({digest}) | `{cfg.MEM_POLICY}`"
        print(f"| {name} | {_mean(found['J'])} | {_mean(found['J_tr'])} | {len(found)} |")
        rows[name] = {figure: float(found[figure].mean()) for figure in ("J", "J_tr")}
    show(args, device_name(resolve_device("auto")), threads_of_each(args.jobs), rows)
    return 0


def _weights(text: str) -> tuple[str, Path]:
    """Reads ``NAME`` or ``NAME=FILE``. Raises ``DataError`` for a file that is not there."""
    model, _, file = text.partition("=")
    if file and not Path(file).is_file():
        raise DataError(f"--models {text}: there is no file {file}")
    return model, Path(file).resolve() if file else checkpoint_of(model)


def _rivals(args: argparse.Namespace, datasets: Sequence[Path]) -> Iterator[list[Job]]:
    """Yields the jobs of each file of weights with each policy: one for each dataset.

    Raises ``DataError`` and ``ConfigError`` for wrong flags.
    """
    given = parse_assignments(args.overrides)
    folder = f"runs-{_digest(given)}" if given else "runs"
    for model, checkpoint in dict.fromkeys(_weights(text) for text in args.models):
        for policy in dict.fromkeys(args.policies):
            values = {**given, "MEM_POLICY": policy}
            jobs = [make_job(model, checkpoint, values, data, data.parent / folder) for data in datasets]
            yield [job.renewed() for job in jobs]


def _digest(values: Mapping[str, str]) -> str:
    """Tells the folders of runs with different config values apart."""
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]


def _mean(values: pd.Series) -> str:
    """Returns the mean over all objects with its 95 % interval."""
    low, high = interval(values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def make_videos(dataset: Path, seed: int, count: int, workers: int = 1) -> None:
    """Writes videos in VOST's layout, the list of the split val last: what has one is finished."""
    names = [f"{number:04d}_bodies" for number in range(count)]
    listed = dataset / "ImageSets/val.txt"
    if listed.is_file():
        return
    map_in_processes(partial(_write_video, dataset, seed), names, min(workers, count), "videos")
    with replacing(listed) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _write_video(dataset: Path, seed: int, name: str) -> None:
    number = int(name.partition("_")[0])
    images, masks = dataset / "JPEGImages_10fps" / name, dataset / "Annotations" / name
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    for frame, (image, mask) in enumerate(draw_video(np.random.default_rng([seed, number]))):
        cv2.imwrite(str(images / f"frame{frame:05d}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
        if frame % _ANNOTATION_STEP == 0:
            write_mask(masks / f"frame{frame:05d}.png", mask)


if __name__ == "__main__":
    # By its module's name: other processes import what they call.
    from benchmarks.other_videos import main as run

    sys.exit(run())
