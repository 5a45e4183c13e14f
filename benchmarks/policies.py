"""Compares memory policies on MiniVOST: ``python -m benchmarks.policies --help``.

Makes the val sequences of each seed, runs inference and metric for each model, policy, gap and capacity,
prints a table in Markdown, and writes it as CSV and as plots to the ``--work`` folder. Rerun the same command
to resume; what was made with other config values, weights, policy files or code is done again.
"""

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from aot_plus.dataloaders.mini_vost import GENERATOR_VERSION, make_dataset
from aot_plus.networks.memory.policies import build_policy
from aot_plus.pipeline.run import Job, infer
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.catalogue import SMALL_STAGE, find_checkpoint
from aot_plus.utils.config import SUMMARY_FILE, get_config
from aot_plus.utils.cores import find_cores
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import DataError, VOSError
from aot_plus.utils.paths import file_name
from benchmarks.policy_plot import draw_comparison
from benchmarks.policy_statistics import SETTING, compare, markdown
from benchmarks.report import add_arguments, show
from benchmarks.units import device_name
from evaluation.files import replacing
from evaluation.home import home
from evaluation.parallel import map_in_processes
from evaluation.results import evaluate, read_current_results, read_results

STAGE, SPLIT = SMALL_STAGE, "val"
CSV_FILE, OBJECTS_FILE, PLOT_FILE = "policies.csv", "objects.csv", "policies.png"
POLICIES = ("fifo", "emfs", "rmem", "unbounded", "random", "uniform", "spread", "lfu", "readmem")


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, completes missing runs, writes and prints the table. Returns the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _compare(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies", description="Compares memory policies on MiniVOST."
    )
    add = parser.add_argument
    add("--models", nargs="+", default=["aot_mini", "deaot_mini"], help="that have a checkpoint file")
    add("--policies", nargs="+", default=POLICIES, help="names or package.module:Class (default: all)")
    latter = "frames besides the first in the bank (default: 8)"
    add("--latter", nargs="+", type=whole_number(1), default=[8], metavar="FRAMES", help=latter)
    against = "the policy that differences are to, at the first of --gaps (default: fifo)"
    add("--against", default="fifo", metavar="POLICY", help=against)
    gaps = "frames between two writes to the bank (default: 5)"
    add("--gaps", nargs="+", type=whole_number(1), default=[5], metavar="FRAMES", help=gaps)
    add("--seeds", nargs="+", type=whole_number(0), default=[0, 1], help="of MiniVOST (default: 0 1)")
    add("--val", type=whole_number(2), default=20, help="sequences for each seed (default: 20)")
    add("--work", type=Path, default=home() / "results/policies", help="folder of videos, masks and tables")
    jobs = "runs at a time, which share the cores and the GPUs (default: 1)"
    add("--jobs", type=whole_number(1), default=1, help=jobs)
    add("--overwrite", action="store_true", help="repeat finished runs")
    add_arguments(parser, compute=False)
    return parser.parse_args(argv)


def _compare(args: argparse.Namespace) -> int:
    work = args.work.resolve()
    jobs = list(_jobs(args, work))
    do_jobs(jobs, args.jobs)
    objects = pd.concat([read_objects(job) for job in jobs])
    table = compare(objects, args.against, args.gaps[0])
    _write(table, objects, args.against, work)
    print(markdown(table, args.against, args.gaps[0]))
    for path in (work / CSV_FILE, work / OBJECTS_FILE, work / PLOT_FILE):
        print(path)
    rows = {
        " ".join(str(row[name]) for name in SETTING): row.dropna().to_dict() for _, row in table.iterrows()
    }
    show(args, device_name(resolve_device("auto")), threads_of_each(args.jobs), rows)
    return 0


def _jobs(args: argparse.Namespace, work: Path) -> Iterator[Job]:
    """Makes the videos, and the runs of all settings. Raises ``VOSError`` for a wrong one before anything."""
    checkpoints = {model: checkpoint_of(model) for model in args.models}
    policies, latters, gaps = (
        dict.fromkeys(of) for of in ([args.against, *args.policies], args.latter, args.gaps)
    )
    for policy in policies:
        build_policy(get_config(STAGE, args.models[0], overrides={"MEM_POLICY": policy}))
    for seed in dict.fromkeys(args.seeds):
        dataset = work / f"mini_vost_v{GENERATOR_VERSION}_seed{seed}"
        make_dataset(dataset, seed, train=0, val=args.val, workers=min(args.jobs, args.val))
        for model, policy, gap, latter in itertools.product(checkpoints, policies, gaps, latters):
            if policy == "unbounded" and policy != args.against and latter != args.latter[0]:
                continue  # it has no capacity
            values = {"MEM_POLICY": policy, "TEST_LONG_TERM_MEM_GAP": gap, "LATTER_MEM_LEN": latter}
            job = make_job(model, checkpoints[model], values, dataset, work / "runs")
            yield replace(job, overwrite=args.overwrite).renewed()


def _devices() -> list[str]:
    """Names the devices that runs are shared out among."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def _write(table: pd.DataFrame, objects: pd.DataFrame, against: str, work: Path) -> None:
    """Writes the table, the figures of all objects, and the plots."""
    for name, frame in ((CSV_FILE, table), (OBJECTS_FILE, objects)):
        with replacing(work / name) as temporary:
            frame.to_csv(temporary, index=False)
    with replacing(work / PLOT_FILE) as temporary:
        draw_comparison(table, against).save(temporary, format="PNG", optimize=True)


def checkpoint_of(model: str) -> Path:
    """Finds a model's file in the folder of checkpoints. Raises ``DataError``."""
    path = find_checkpoint(f"{model}.safetensors")
    if path is None:
        raise DataError(f"--models: there is no {model}.safetensors in the folder of checkpoints")
    return path


def make_job(model: str, checkpoint: Path, values: Mapping[str, object], dataset: Path, folder: Path) -> Job:
    """Makes the run of a model over a dataset; ``values``: of its config, policy, gap and capacity too.

    Another checkpoint or dataset gets another folder, so that no masks are mistaken for its own.
    """
    fixed = {
        "TEST_DATASET": str(dataset),
        "TEST_DATASET_SPLIT": SPLIT,
        "FORMER_MEM_LEN": 1,
        "TEST_MEM_GAP_BY_LENGTH": False,
    }
    cfg = get_config(STAGE, model, overrides={**fixed, **values})
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8]
    name = f"{file_name(cfg.MEM_POLICY)}_1+{cfg.LATTER_MEM_LEN}_gap{cfg.TEST_LONG_TERM_MEM_GAP}"
    return Job(cfg, checkpoint, folder / dataset.name / f"{model}-{digest}" / name)


def do_jobs(jobs: Sequence[Job], count: int) -> None:
    """Runs unfinished jobs, ``count`` at a time. Raises a ``VOSError`` that names all that failed."""
    by_folder = {job.folder: job for job in jobs if job.overwrite or not is_done(job)}
    missing = [_placed(job, device) for job, device in zip(by_folder.values(), itertools.cycle(_devices()))]
    threads = threads_of_each(count) if min(count, len(missing)) > 1 else None
    problems = map_in_processes(partial(_do_job, threads), missing, count, "policies")
    failed = [problem for problem in problems if problem]
    if failed:
        raise VOSError(f"{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(failed))


def _placed(job: Job, device: str) -> Job:
    """Puts a job on a device, unless its config names another."""
    cfg = copy(job.cfg)
    cfg.TEST_DEVICE = device if cfg.TEST_DEVICE == "auto" else cfg.TEST_DEVICE
    return replace(job, cfg=cfg)


def threads_of_each(jobs: int) -> int:
    """Shares the cores among that many jobs at a time, unless OMP_NUM_THREADS decides."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    found = int(outermost) if outermost.isdigit() else 0
    return found or max(find_cores().usable // jobs, 1)


def _do_job(threads: int | None, job: Job) -> str:
    """Runs inference, then the metric; returns the problem, if there is one.

    ``threads``: of this process, which others run beside; None: inference chooses.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # inference then leaves it so
        torch.set_num_threads(threads)
    try:
        infer(job)
        evaluate(job.folder, Path(job.cfg.TEST_DATASET), SPLIT, workers=1)
    except VOSError as error:
        return f"{job.folder}: {error}"
    return ""


def is_done(job: Job) -> bool:
    """Tells whether the metric has been run over the masks of exactly the split's sequences."""
    try:
        read_current_results(job.folder, Path(job.cfg.TEST_DATASET), SPLIT)
    except DataError:
        return False
    return True


def read_objects(job: Job) -> pd.DataFrame:
    """Reads the figures of a finished job, a row for each object."""
    table = read_results(job.folder, SPLIT).objects.set_axis(["object", "J", "J_tr"], axis=1)
    summary = json.loads((job.folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    return table.assign(
        model=job.cfg.MODEL_NAME,
        policy=job.cfg.MEM_POLICY,
        gap=job.cfg.TEST_LONG_TERM_MEM_GAP,
        latter=job.cfg.LATTER_MEM_LEN,
        seed=Path(job.cfg.TEST_DATASET).name,
        sequence=table["object"].str.rpartition("_")[0],
        frames_per_second=summary["frames_per_second"] or float("nan"),  # None if killed at the very end
    )


if __name__ == "__main__":
    # By its module's name: other processes import what they call.
    from benchmarks.policies import main as run

    sys.exit(run())
