"""Trains a model: ``python -m aot_plus.tools.train --help``.

On several GPUs or machines: ``torchrun --nproc_per_node K -m aot_plus.tools.train ...``.
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from aot_plus.tools.common import add_config_arguments, add_device_arguments, config_of, run_tool
from evaluation.home import home


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.train") -> int:
    """Parses the flags and trains. Gives the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _train(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description="Train a model.")
    add_config_arguments(parser, stage="pre_vost_2", model="r50_aotl")
    add = parser.add_argument
    add_device_arguments(parser, "TRAIN")
    add(
        "--batch_size",
        dest="TRAIN_BATCH_SIZE",
        metavar="B",
        type=int,
        help="clips of a step, over all processes (default: the stage's)",
    )
    add(
        "--steps",
        dest="TRAIN_TOTAL_STEPS",
        metavar="N",
        type=int,
        help="of the whole training; the schedules follow (default: the stage's)",
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="go on with the training in the folder, even with changed config values; --no-resume: refuse to "
        "(default: go on if there is one with the same config)",
    )
    start.add_argument(
        "--overwrite", action="store_true", help="remove the training in the folder and start anew"
    )
    return parser.parse_args(argv)


def _train(args: argparse.Namespace) -> int:
    from tqdm.contrib.logging import logging_redirect_tqdm

    from aot_plus.networks.managers.processes import ProcessPlace, choose_device, share_cores
    from aot_plus.networks.managers.trainer import Trainer

    cfg = config_of(args)
    place = ProcessPlace.from_environment()
    device = choose_device(cfg.TRAIN_DEVICE, place, "TRAIN_DEVICE")
    share_cores(place)
    folder = home() / cfg.DIR_RESULT / f"{cfg.EXP_NAME}_{cfg.MODEL_NAME}" / cfg.STAGE_NAME
    trainer = Trainer(cfg, folder, device=device, place=place, resume=args.resume, overwrite=args.overwrite)
    if place.rank > 0:
        logging.getLogger().setLevel(logging.WARNING)  # the first process says what concerns all
    with logging_redirect_tqdm():
        weights = trainer.run()
    if place.rank == 0:
        print(f"Trained weights (moving average): {weights}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
