"""Evaluates a model on a dataset, inference and metric: ``python -m aot_plus.tools.eval --help``.

Under ``torchrun --nproc_per_node K -m aot_plus.tools.eval ...`` the processes share the sequences, as with
``--processes K``.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

from aot_plus.tools.common import (
    add_checkpoint_arguments,
    add_config_arguments,
    add_device_arguments,
    add_download_argument,
    add_earlier_results_arguments,
    add_memory_arguments,
    add_run_arguments,
    folder_name,
    overrides_of,
    run_tool,
    whole_number,
    with_environment,
)
from aot_plus.utils.errors import ConfigError
from evaluation.datasets import DATASET_FOLDERS
from evaluation.home import home

if TYPE_CHECKING:
    from aot_plus.pipeline.choices import EvalRequest
    from aot_plus.pipeline.run import Job

_DESCRIPTION = """Runs a model over a dataset, writes the masks under results/, and prints the figures.
Without arguments, it runs AOT* + EMFS of the paper's table on VOST val. If VOST or the checkpoint is missing,
it says how to get it (--download does this for you), makes the synthetic dataset MiniVOST, and runs on it a
small model that ships with the project; --dataset mini_vost without a model does the same. A model,
checkpoint or dataset that you name is never replaced. Finished sequences are skipped."""
_EPILOG = """The environment variables MODEL, STAGE, CHECKPOINT, POLICY, DATASET, SPLIT, RESULT_NAME and
PROCESSES set the flags of the same names; flags take precedence. MINI_VOST_VAL sets how many val sequences
MiniVOST gets (default: 10)."""
_FROM_ENVIRONMENT = ("model", "stage", "checkpoint", "policy", "dataset", "split", "result_name", "processes")


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.eval") -> int:
    """Parses the flags, evaluates, prints the figures and their location. Returns the exit code."""
    args = _parser(prog).parse_args(with_environment(argv, *_FROM_ENVIRONMENT, "mini_vost_val"))
    return run_tool(lambda: _evaluate(args))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, epilog=_EPILOG)
    add_config_arguments(parser)
    add_run_arguments(parser)
    add = parser.add_argument
    add_checkpoint_arguments(parser, "the model's file")
    add_download_argument(parser)
    _add_dataset_arguments(parser)
    add(
        "--sequences",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="segment only these sequences of the split, without the metric",
    )
    add(
        "--result_name",
        type=folder_name,
        metavar="NAME",
        help="name of the result folder (default: policy and capacity, such as emfs_1+8)",
    )
    add("--eval_name", type=folder_name, dest="result_name", help=argparse.SUPPRESS)
    add("--result_dir", type=Path, help="path of the result folder, instead of one under results/")
    add(
        "--processes",
        type=whole_number(1),
        default=1,
        help="number of processes that share the sequences; choose one per GPU (default: 1)",
    )
    add_earlier_results_arguments(parser)
    add("--no_metric", action="store_true", help="run inference only")
    add("--zip", action="store_true", help="also write the zip file for the dataset's evaluation server")
    add("--mini_vost_val", type=whole_number(1), default=10, help=argparse.SUPPRESS)
    _add_inference_arguments(parser)
    return parser


def _add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--dataset``, ``--split``, ``--layout`` and ``--images``."""
    add = parser.add_argument
    known = f"{', '.join(DATASET_FOLDERS)}, or a folder in VOST's or DAVIS's layout"
    add("--dataset", help=f"{known} (default: the stage's)")
    split = "split to run: val, test-dev, valid_all_frames, ... (default: the dataset's, val or valid)"
    add("--split", dest="TEST_DATASET_SPLIT", metavar="SPLIT", help=split)
    layout = "a folder's layout: name of a dataset, or package.module:ClassName (default: VOST's or DAVIS's)"
    add("--layout", dest="TEST_LAYOUT", metavar="LAYOUT", help=layout)
    images = (
        "folder of the frames, such as JPEGImages for VOST at 5 fps, JPEGImages/Full-Resolution for DAVIS"
    )
    add("--images", dest="TEST_IMAGES", metavar="FOLDER", help=f"{images} (default: the dataset's)")


def _add_inference_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds flags that set config values."""
    add_memory_arguments(parser, "by the video's length on VOST, else the model's")
    add_device_arguments(parser)
    scales = "average the predictions over these scales, for example 1.0 1.2"
    parser.add_argument(
        "--ms", dest="TEST_MULTISCALE", nargs="+", action="extend", type=float, metavar="SCALE", help=scales
    )
    for flag, name, about in (
        ("--flip", "TEST_FLIP", "also average over the mirrored image"),
        ("--trace", "TEST_MEM_TRACE", "write the memory's decisions to traces/<sequence>.jsonl"),
    ):
        parser.add_argument(flag, dest=name, action="store_true", default=None, help=about)


def _evaluate(args: argparse.Namespace) -> int:
    jobs = _jobs(args)

    from aot_plus.pipeline.run import evaluate, infer
    from aot_plus.pipeline.submission import check_zip, write_zip
    from aot_plus.pipeline.table import compare

    for job in jobs if args.zip else ():
        check_zip(job)
    if os.environ.get("RANK", "0") != "0":
        for job in jobs:
            infer(job)
        return 0  # torchrun stops all processes if one fails, so the first one reports for all
    if args.no_metric or args.sequences:
        done = [infer(job) for job in jobs]
        print("\n".join(each.describe() for each in done))
        if any(each.summary.failed for each in done):
            return 1
    else:
        evaluations = [evaluate(job, print) for job in jobs]
        if len(jobs) > 1:
            print(f"\n{compare(evaluations)}")
    for job in jobs if args.zip else ():
        print(f"Zip file: {write_zip(job)}")
    return 0


def _jobs(args: argparse.Namespace) -> "list[Job]":
    """Returns the runs that the flags ask for; a shipped model also runs with fifo, for comparison."""
    from aot_plus.pipeline.choices import MINI_VOST, EvalRequest, choose, ensure_mini_vost

    request = EvalRequest(
        args.model,
        args.stage,
        args.checkpoint,
        args.dataset,
        args.random_weights,
        args.exp_name,
        overrides_of(args),
    )
    if args.download:
        _download(request)
    choice = choose(request)
    if choice.cfg.TEST_DATASET == MINI_VOST and "RANK" not in os.environ:
        ensure_mini_vost(home() / choice.cfg.DIR_DATA, args.mini_vost_val)

    from aot_plus.pipeline.run import Job, result_folder  # imports torch; what is missing is reported before

    configs = [choice.cfg]
    if choice.shipped and args.result_dir is None and choice.cfg.MEM_POLICY != "fifo":
        configs.append(copy(choice.cfg))
        configs[1].MEM_POLICY = "fifo"
    jobs: list[Job] = []
    for cfg in configs:
        name = f"{args.result_name}_{cfg.MEM_POLICY}" if jobs and args.result_name else args.result_name
        folder = args.result_dir or result_folder(cfg, name, random_weights=args.random_weights)
        jobs.append(
            Job(
                cfg,
                choice.checkpoint,
                folder,
                args.sequences,
                overwrite=args.overwrite,
                resume=args.resume,
                processes=args.processes,
            )
        )
    return jobs


def _download(request: "EvalRequest") -> None:
    """Downloads what is missing. Raises ``VOSError`` if that fails, and under torchrun."""
    from aot_plus.pipeline.choices import missing_downloads
    from aot_plus.tools.download import get_all

    names, cfg = missing_downloads(request), request.config()
    if names and "RANK" in os.environ:
        raise ConfigError(f"--download: not under torchrun; first run aot-plus download {' '.join(names)}")
    get_all(names, home() / cfg.DIR_DATA, home() / cfg.DIR_PRETRAIN)


if __name__ == "__main__":
    sys.exit(main())
