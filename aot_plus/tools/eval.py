"""Runs inference over a dataset: ``python -m aot_plus.tools.eval --help``.

Under ``torchrun --nproc_per_node K -m aot_plus.tools.eval ...`` the sequences are shared out among the
processes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from aot_plus.configs import Config
from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.managers.evaluator import Evaluator
from aot_plus.networks.managers.processes import ProcessPlace, choose_device, process_group, share_cores
from aot_plus.networks.memory.policies import build_policy
from aot_plus.networks.models.loading import load_from_config
from aot_plus.tools.common import (
    add_checkpoint_arguments,
    add_config_arguments,
    chosen_checkpoint,
    config_of,
    run_tool,
)
from evaluation.home import home


def main(argv: Sequence[str] | None = None, prog: str = "python -m aot_plus.tools.eval") -> int:
    """Parses the flags, evaluates, prints a summary and the result folder. Gives the exit code."""
    args = _parse(argv, prog)
    return run_tool(lambda: _evaluate(args))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=prog, description="Inference over a dataset.")
    add_config_arguments(parser, stage="pre_vost_2", model="r50_aotl")
    add_checkpoint_arguments(parser)
    add = parser.add_argument
    add("--dataset", help="vost, mini_vost, or a folder in VOST's layout")
    add("--split", help="name of a file in ImageSets, without .txt")
    add("--sequences", nargs="+", metavar="NAME", help="only these sequences of the split")
    add("--policy", help="memory policy: unbounded, fifo, rmem, emfs, random, uniform or your own")
    add(
        "--eval_name",
        help="name of the result folder (default: from the policy and its capacity, like emfs_1+8)",
    )
    add("--result_dir", type=Path, help="result folder itself, instead of one under results/")
    add(
        "--overwrite",
        action="store_true",
        help="remove the results of these sequences first and do them again",
    )
    add("--device", help="auto, cpu, cuda or cuda:<number>")
    add("--dtype", help="float32, bfloat16 or float16")
    add("--flip", action="store_true", help="average over the mirrored image as well")
    add("--ms", nargs="+", type=float, metavar="SCALE", help="average over these scales, for example 1.0 1.2")
    add("--trace", action="store_true", help="write the memory's decisions to traces/<sequence>.jsonl")
    return parser.parse_args(argv)


def _config(args: argparse.Namespace) -> Config:
    """The config, with the flags that stand for one of its values."""
    flags = {
        "TEST_DATASET": args.dataset,
        "TEST_DATASET_SPLIT": args.split,
        "TEST_CKPT_PATH": args.ckpt_path,
        "MEM_POLICY": args.policy,
        "TEST_DEVICE": args.device,
        "TEST_DTYPE": args.dtype,
        "TEST_FLIP": args.flip or None,
        "TEST_MULTISCALE": tuple(args.ms) if args.ms else None,
        "TEST_MEM_TRACE": args.trace or None,
    }
    cfg = config_of(args, flags)
    if args.random_weights:
        cfg.TEST_CKPT_PATH = None
    return cfg


def _evaluate(args: argparse.Namespace) -> int:
    cfg = _config(args)
    place = ProcessPlace.from_environment()
    dataset = open_dataset(cfg.TEST_DATASET, home() / cfg.DIR_DATA)
    sequences = dataset.select(cfg.TEST_DATASET_SPLIT, args.sequences)
    device = choose_device(cfg.TEST_DEVICE, place)
    build_policy(cfg)  # a wrong one is said before anything is read or written
    checkpoint = chosen_checkpoint(args, cfg)
    result_dir = args.result_dir or _result_dir(args, cfg, dataset.name)
    share_cores(place)
    cv2.setNumThreads(1)  # frames are resized by several threads as it is, beside the network's
    with process_group(place), logging_redirect_tqdm():
        torch.manual_seed(0)  # random weights are the same in all processes
        model = load_from_config(cfg, checkpoint, device=str(device))
        evaluator = Evaluator(
            model.cfg,
            lambda trace: VideoSegmenter(model, trace=trace),
            dataset,
            sequences,
            result_dir,
            overwrite=args.overwrite,
            place=place,
            device=device,
        )
        summary = evaluator.run()
    if place.rank > 0:
        return 0  # torchrun stops all processes when one fails: the first one reports for all
    print(summary.describe())
    if checkpoint is None:
        print("The weights were random: these masks and any numbers made from them mean nothing.")
    print(f"Results: {result_dir}")
    return 1 if summary.failed else 0


def _result_dir(args: argparse.Namespace, cfg: Config, dataset: str) -> Path:
    """``results/<exp>_<model>/<stage>/eval/<dataset>/<eval_name>`` at the repository's root."""
    name = args.eval_name or _default_eval_name(cfg, random_weights=args.random_weights)
    run = f"{cfg.EXP_NAME}_{cfg.MODEL_NAME}"
    return home() / cfg.DIR_RESULT / run / cfg.STAGE_NAME / "eval" / dataset / name


def _default_eval_name(cfg: Config, *, random_weights: bool) -> str:
    """The policy and its capacity, like ``emfs_1+8``."""
    capacity = "" if cfg.MEM_POLICY == "unbounded" else f"_{cfg.FORMER_MEM_LEN}+{cfg.LATTER_MEM_LEN}"
    return f"{'random_weights_' if random_weights else ''}{cfg.MEM_POLICY}{capacity}"


if __name__ == "__main__":
    sys.exit(main())
