"""Compares memory policies on MiniVOST: ``python -m benchmarks.policies --help``.

Makes the val sequences of each seed, runs inference and metric for each model and policy, prints a table in
Markdown and writes it as CSV to the ``--work`` folder. Rerun the same command to resume; what was made with
other weights, another policy file or other code is done again.
"""

import argparse
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from aot_plus.dataloaders.mini_vost import GENERATOR_VERSION, make_dataset
from aot_plus.networks.memory.policies import build_policy
from aot_plus.pipeline.run import Job, file_name, infer
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.catalogue import find_checkpoint
from aot_plus.utils.config import get_config
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import DataError, VOSError
from benchmarks.report import add_arguments, show
from benchmarks.units import device_name
from evaluation.files import replacing
from evaluation.home import home
from evaluation.parallel import map_in_processes
from evaluation.results import evaluate, read_current_results, read_results

STAGE, SPLIT = "mini_vost", "val"
BASELINE = "fifo"
POLICIES = ("fifo", "emfs", "rmem", "unbounded", "random", "uniform", "spread", "lfu", "readmem")
CLEAR = 2.0  # standard errors from which a difference is marked


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the flags, completes missing runs, writes and prints the table. Gives the exit code."""
    args = _parse(argv)
    return run_tool(lambda: _compare(args))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies", description="Compares memory policies on MiniVOST."
    )
    add = parser.add_argument
    add("--models", nargs="+", default=["aot_mini", "deaot_mini"], help="that have a checkpoint file")
    add("--policies", nargs="+", default=POLICIES, help="names or package.module:Class (default: all)")
    add("--latter", type=whole_number(1), default=8, help="frames besides the first in the bank (default: 8)")
    add("--seeds", nargs="+", type=whole_number(0), default=[0, 1], help="of MiniVOST (default: 0 1)")
    add("--val", type=whole_number(2), default=20, help="sequences for each seed (default: 20)")
    add("--work", type=Path, default=home() / "results/policies", help="folder of videos, masks and tables")
    add("--jobs", type=whole_number(1), default=1, help="runs at a time, which share the cores (default: 1)")
    add("--overwrite", action="store_true", help="repeat finished runs")
    add_arguments(parser, compute=False)
    return parser.parse_args(argv)


def _compare(args: argparse.Namespace) -> int:
    work = args.work.resolve()
    checkpoints = {model: _checkpoint(model) for model in args.models}
    policies = dict.fromkeys([BASELINE, *args.policies])
    for policy in policies:  # raises for a wrong one before anything is made
        build_policy(get_config(STAGE, args.models[0], overrides={"MEM_POLICY": policy}))
    jobs = []
    for seed in dict.fromkeys(args.seeds):
        dataset = work / f"mini_vost_v{GENERATOR_VERSION}_seed{seed}"
        make_dataset(dataset, seed, train=0, val=args.val, workers=min(args.jobs, args.val))
        for model, policy in itertools.product(checkpoints, policies):
            job = _make_job(model, checkpoints[model], policy, args.latter, dataset, work / "runs")
            jobs.append(replace(job, overwrite=args.overwrite or job.is_outdated()))
    do_jobs(jobs, args.jobs)
    table = compare(pd.concat([read_objects(job) for job in jobs]))
    with replacing(work / f"policies_1+{args.latter}.csv") as temporary:
        table.to_csv(temporary, index=False)
    print(markdown(table))
    rows = {f"{row['model']} {row['policy']}": row.dropna().to_dict() for _, row in table.iterrows()}
    show(args, device_name(resolve_device("auto")), _threads(args.jobs), rows)
    return 0


def _checkpoint(model: str) -> Path:
    path = find_checkpoint(f"{model}.safetensors")
    if path is None:
        raise DataError(f"--models: there is no {model}.safetensors in the folder of checkpoints")
    return path


def _make_job(model: str, checkpoint: Path, policy: str, latter: int, dataset: Path, folder: Path) -> Job:
    """Makes the run of a model under a policy, with a bank of 1 + ``latter`` frames, over a dataset.

    Another checkpoint or dataset gets another folder, so that no masks are mistaken for its own.
    """
    values = {
        "TEST_DATASET": str(dataset),
        "TEST_DATASET_SPLIT": SPLIT,
        "MEM_POLICY": policy,
        "FORMER_MEM_LEN": 1,
        "LATTER_MEM_LEN": latter,
    }
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:8]
    masks = folder / dataset.name / f"{model}-{digest}" / f"{file_name(policy)}_1+{latter}"
    return Job(get_config(STAGE, model, overrides=values), checkpoint, masks)


def do_jobs(jobs: Sequence[Job], count: int) -> None:
    """Runs unfinished jobs, ``count`` at a time. Raises a ``VOSError`` that names all that failed."""
    missing = [job for job in jobs if job.overwrite or not is_done(job)]
    problems = map_in_processes(partial(_do_job, _threads(count)), missing, count, "policies")
    failed = [problem for problem in problems if problem]
    if failed:
        raise VOSError(f"{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(failed))


def _threads(jobs: int) -> int:
    return max((os.cpu_count() or 1) // jobs, 1)


def _do_job(threads: int, job: Job) -> str:
    """Runs inference, then the metric; gives the problem, if there is one."""
    torch.set_num_threads(threads)
    try:
        infer(job)
        evaluate(job.folder, Path(job.cfg.TEST_DATASET), SPLIT, workers=1)
    except VOSError as error:
        return f"{job.folder}: {error}"
    return ""


def is_done(job: Job) -> bool:
    """Tells if the metric has been run over the masks of exactly the split's sequences."""
    try:
        read_current_results(job.folder, Path(job.cfg.TEST_DATASET), SPLIT)
    except DataError:
        return False
    return True


def read_objects(job: Job) -> pd.DataFrame:
    """Reads the figures of a finished job, a row for each object."""
    table = read_results(job.folder, SPLIT).objects.set_axis(["object", "J", "J_tr"], axis=1)
    summary = json.loads((job.folder / "summary.json").read_text(encoding="utf-8"))
    return table.assign(
        model=job.cfg.MODEL_NAME,
        policy=job.cfg.MEM_POLICY,
        seed=Path(job.cfg.TEST_DATASET).name,
        sequence=table["object"].str.rpartition("_")[0],
        frames_per_second=summary["frames_per_second"] or float("nan"),  # None if killed at the very end
    )


def compare(objects: pd.DataFrame) -> pd.DataFrame:
    """Gives each model and policy a row: J, J_tr, and the paired differences to ``BASELINE``, with errors.

    ``objects``: rows as ``read_objects`` gives them, of all models, policies and seeds.
    """
    indexed = objects.set_index(["seed", "sequence", "object"])
    groups = dict(iter(indexed.groupby(["model", "policy"], sort=False)))
    rows = []
    for (model, policy), own in groups.items():
        row = {"model": model, "policy": policy}
        for figure in ("J", "J_tr"):
            row[figure], row[f"{figure}_error"] = estimate(own[figure])
            if policy != BASELINE:
                paired = own[figure] - groups[model, BASELINE][figure]
                row[f"{figure}_gain"], row[f"{figure}_gain_error"] = estimate(paired)
        rows.append({**row, "frames_per_second": own["frames_per_second"].mean()})
    return pd.DataFrame(rows)


def estimate(values: pd.Series) -> tuple[float, float]:
    """Computes the mean over all objects, and its standard error with sequences as the independent unit.

    Objects of one video share its frames and its memory. The mean is a ratio of two sums over the n
    sequences, of their values s_i and of their numbers of objects k_i. Its variance is
    n / (n - 1) * sum((s_i - mean k_i)^2) / (sum k_i)^2 (Cochran, Sampling Techniques, 1977, chapter 6).

    Args:
        values: by seed, sequence and object, of at least 2 sequences. Raises ``ValueError`` for a NaN.
    """
    if values.isna().any():
        raise ValueError("expected figures of the same objects under each policy")
    sequences = values.groupby(level=["seed", "sequence"]).agg(["sum", "size"])
    n, objects = len(sequences), len(values)
    residuals = sequences["sum"] - values.mean() * sequences["size"]
    return float(values.mean()), float((n / (n - 1) * (residuals**2).sum()) ** 0.5 / objects)


def markdown(table: pd.DataFrame) -> str:
    """Formats the table of ``compare`` for a page; ``*`` marks differences beyond two standard errors."""
    lines = [
        f"| model | policy | J | J_tr | J - {BASELINE} | J_tr - {BASELINE} | frames/s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in table.to_dict(orient="records"):
        cells = [row["model"], f"`{row['policy']}`"]
        cells += [f"{row[figure]:.3f} ± {row[f'{figure}_error']:.3f}" for figure in ("J", "J_tr")]
        for gain in ("J_gain", "J_tr_gain"):
            mean, error = row.get(gain), row.get(f"{gain}_error")
            clear = "*" if mean is not None and abs(mean) > CLEAR * error else ""
            cells.append("" if row["policy"] == BASELINE else f"{mean:+.3f} ± {error:.3f}{clear}")
        lines.append(f"| {' | '.join(cells)} | {row['frames_per_second']:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
