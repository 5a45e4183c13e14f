"""Compares memory policies on MiniVOST: ``python -m benchmarks.policies --help``.

Makes the val sequences of each seed, runs inference and metric for each model, policy, gap and capacity,
prints a table in Markdown, and writes it as CSV and as plots to the ``--work`` folder. Rerun the same command
to resume; runs with other config values, weights, policy files or code are repeated.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from aot_plus.dataloaders.mini_vost import GENERATOR_VERSION, make_dataset
from aot_plus.networks.memory.policies import build_policy
from aot_plus.pipeline.run import Job
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.config import get_config
from aot_plus.utils.device import resolve_device
from benchmarks.policy_plot import draw_comparison
from benchmarks.policy_statistics import SETTING, compare, markdown
from benchmarks.report import add_arguments, show
from benchmarks.runs import STAGE, checkpoint_of, do_jobs, make_job, read_objects, threads_of_each
from benchmarks.units import device_name
from evaluation.files import replacing
from evaluation.home import home

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
    add(
        "--models",
        nargs="+",
        default=["aot_mini", "deaot_mini"],
        help="models that have a checkpoint file (default: aot_mini deaot_mini)",
    )
    add("--policies", nargs="+", default=POLICIES, help="names or package.module:ClassName (default: all)")
    latter = "frames besides the first in the bank (default: 8)"
    add("--latter", nargs="+", type=whole_number(1), default=[8], metavar="FRAMES", help=latter)
    against = "the policy to compare with, at the first of --gaps (default: fifo)"
    add("--against", default="fifo", metavar="POLICY", help=against)
    gaps = "store every n-th frame in the bank (default: 5)"
    add("--gaps", nargs="+", type=whole_number(1), default=[5], metavar="FRAMES", help=gaps)
    add("--seeds", nargs="+", type=whole_number(0), default=[0, 1], help="seeds of MiniVOST (default: 0 1)")
    add("--val", type=whole_number(2), default=20, help="sequences per seed (default: 20)")
    add("--work", type=Path, default=home() / "results/policies", help="folder of videos, masks and tables")
    jobs = "parallel runs, which share the cores and the GPUs (default: 1)"
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
    """Makes the videos and yields the runs of all settings. First raises ``VOSError`` for a wrong setting."""
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


def _write(table: pd.DataFrame, objects: pd.DataFrame, against: str, work: Path) -> None:
    """Writes the table, the figures of all objects, and the plots."""
    for name, frame in ((CSV_FILE, table), (OBJECTS_FILE, objects)):
        with replacing(work / name) as temporary:
            frame.to_csv(temporary, index=False)
    with replacing(work / PLOT_FILE) as temporary:
        draw_comparison(table, against).save(temporary, format="PNG", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
