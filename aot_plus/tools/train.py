"""Trains a model, then evaluates the average of its weights: ``python -m aot_plus.tools.train --help``.

On several machines, ``torchrun --nnodes N --nproc_per_node K -m aot_plus.tools.train ...`` only trains.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from aot_plus.tools.common import (
    add_config_arguments,
    add_device_arguments,
    add_run_arguments,
    config_of,
    run_tool,
    whole_number,
    with_environment,
)
from aot_plus.utils.catalogue import PAPER_STAGE
from aot_plus.utils.errors import VOSError

_DESCRIPTION = """Trains a model, keeps all files under results/<exp_name>_<model>/<stage>, then evaluates
the moving average of the weights. Without arguments, it follows the published recipe: r50_aotl on VOST from
the official checkpoint. It lists missing downloads before it starts. Rerun the same command to resume from
the last checkpoint; Ctrl-C saves a checkpoint first."""
_EPILOG = """The environment variables MODEL, STAGE, EXP_NAME, PROCESSES, BATCH_SIZE, DTYPE, STEPS and DATASET
set the flags of the same names; flags take precedence. To try training without downloads, --stage mini_vost
trains a small model on MiniVOST in an hour and a half on two cores."""
_AFTERWARDS = """The training is complete, and its weights are kept. To evaluate them, rerun the command, or
use aot-plus eval: its --overwrite and --resume concern masks. Here, --overwrite would remove the training."""
_FROM_ENVIRONMENT = ("model", "stage", "exp_name", "processes", "batch_size", "dtype", "steps", "dataset")


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.train") -> int:
    """Parses the flags, trains and evaluates. Returns the exit code."""
    args = _parser(prog).parse_args(with_environment(argv, *_FROM_ENVIRONMENT))
    return run_tool(lambda: _train(args))


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION, epilog=_EPILOG)
    add_config_arguments(parser, stage=PAPER_STAGE)
    add_run_arguments(parser)
    add_device_arguments(parser, "TRAIN")
    add = parser.add_argument
    add(
        "--processes",
        type=whole_number(1),
        help="number of processes that share each batch (default: one per GPU)",
    )
    add(
        "--batch_size",
        dest="TRAIN_BATCH_SIZE",
        type=int,
        metavar="CLIPS",
        help="number of clips per step, over all processes (default: the config's)",
    )
    add(
        "--steps",
        dest="TRAIN_TOTAL_STEPS",
        type=int,
        metavar="N",
        help="total number of training steps; the schedules adapt to it (default: the config's)",
    )
    dataset = "dataset to evaluate on: its name or a folder (default: the stage's)"
    add("--dataset", dest="TEST_DATASET", metavar="DATASET", help=dataset)
    add("--no_eval", action="store_true", help="train only")
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="resume the training in the folder, even with changed config values; --no-resume: stop if there "
        "is one (default: resume it if the config is the same)",
    )
    start.add_argument(
        "--overwrite", action="store_true", help="remove the training in the folder and start again"
    )
    return parser


def _train(args: argparse.Namespace) -> int:
    from aot_plus.networks.managers.processes import count_gpus
    from aot_plus.pipeline.run import evaluate
    from aot_plus.pipeline.train import check_files, evaluation_job, train

    cfg = config_of(args)
    evaluated = not args.no_eval and "RANK" not in os.environ
    check_files(cfg, overwrite=args.overwrite, evaluated=evaluated)
    processes = args.processes or max(count_gpus(cfg.TRAIN_DEVICE), 1)
    weights = train(cfg, resume=args.resume, overwrite=args.overwrite, processes=processes)
    if os.environ.get("RANK", "0") == "0":
        print(f"Trained weights (moving average): {weights}")
    if evaluated:
        try:
            evaluate(evaluation_job(cfg, weights, processes), print)
        except VOSError as error:
            raise VOSError(f"{error}\n{_AFTERWARDS}") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
