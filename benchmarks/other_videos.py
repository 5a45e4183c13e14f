"""Measures J and J_tr on videos unlike MiniVOST: ``python -m benchmarks.other_videos --help``.

No model trains on them: they show how well a model trained on MiniVOST does elsewhere. Rerun the same command
to resume; runs with other config values, weights or code are repeated.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from aot_plus.pipeline.run import Job
from aot_plus.tools.common import add_overrides_argument, run_tool, whole_number
from aot_plus.utils.config import parse_assignments
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import DataError
from benchmarks.other_scenes import VERSION, make_videos
from benchmarks.policy_statistics import interval
from benchmarks.report import add_arguments, show
from benchmarks.runs import checkpoint_of, do_jobs, make_job, read_objects, threads_of_each
from benchmarks.units import device_name
from evaluation.home import home


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, makes the videos, completes missing runs, prints the table. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.other_videos", description="Measures J and J_tr on videos unlike MiniVOST."
    )
    add = parser.add_argument
    models = "NAME of a model with its checkpoint in place, or NAME=FILE (default: aot_mini deaot_mini)"
    add("--models", nargs="+", default=["aot_mini", "deaot_mini"], metavar="MODEL", help=models)
    add("--policies", nargs="+", default=["emfs"], help="names or package.module:ClassName (default: emfs)")
    add("--sequences", type=whole_number(2), default=16, help="videos per seed (default: 16)")
    add("--seeds", nargs="+", type=whole_number(0), default=[0], help="seeds of the videos (default: 0)")
    add_overrides_argument(parser)
    add("--work", type=Path, default=home() / "results/other_videos", help="folder of videos and masks")
    jobs = "parallel runs, which share the cores and the GPUs (default: 1)"
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
        # The digest of the weights is shown as well: two files may have the same name.
        digest = jobs[0].folder.parent.name.rpartition("-")[2]
        name = f"{cfg.MODEL_NAME} | {file} ({digest}) | `{cfg.MEM_POLICY}`"
        print(f"| {name} | {_mean(found['J'])} | {_mean(found['J_tr'])} | {len(found)} |")
        rows[name] = {figure: float(found[figure].mean()) for figure in ("J", "J_tr")}
    show(args, device_name(resolve_device("auto")), threads_of_each(args.jobs), rows)
    return 0


def _weights(text: str) -> tuple[str, Path]:
    """Reads ``NAME`` or ``NAME=FILE``. Raises ``DataError`` if the file does not exist."""
    model, _, file = text.partition("=")
    if file and not Path(file).is_file():
        raise DataError(f"--models {text}: there is no file {file}")
    return model, Path(file).resolve() if file else checkpoint_of(model)


def _rivals(args: argparse.Namespace, datasets: Sequence[Path]) -> Iterator[list[Job]]:
    """Yields the jobs of each checkpoint with each policy: one for each dataset.

    Raises ``DataError`` or ``ConfigError`` for wrong flags.
    """
    given = parse_assignments(args.overrides)
    folder = f"runs-{_digest(given)}" if given else "runs"
    for model, checkpoint in dict.fromkeys(_weights(text) for text in args.models):
        for policy in dict.fromkeys(args.policies):
            values = {**given, "MEM_POLICY": policy}
            jobs = [make_job(model, checkpoint, values, data, data.parent / folder) for data in datasets]
            yield [job.renewed() for job in jobs]


def _digest(values: Mapping[str, str]) -> str:
    """Returns a digest that distinguishes the folders of runs with different config values."""
    return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:8]


def _mean(values: pd.Series) -> str:
    """Returns the mean over all objects with its 95 % interval."""
    low, high = interval(values)
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    sys.exit(main())
