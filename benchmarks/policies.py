"""Compares the memory policies on MiniVOST and writes ``docs/results.md``.

python -m benchmarks.policies [--models aot_mini deaot_mini] [--seeds 0 1] [--val 20] [--policies emfs rmem]
    [--out docs/results.md] [--work results/policies] [--jobs 2]

Makes the val sequences of each seed, runs inference for each model and policy, measures J and J_tr, and
writes the page from all of them. Started again, it goes on where it was. Use a ``--work`` folder for one
command at a time.
"""

import argparse
import hashlib
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.dataloaders.mini_vost import GENERATOR_VERSION, make_dataset
from aot_plus.tools.common import run_tool, whole_number
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import CheckpointError, DataError
from benchmarks.policy_page import BASELINE, FACTS, render_page
from benchmarks.policy_runs import SPLIT, STAGE, Infer, Run, Setting, do_runs, infer_in_process
from evaluation.files import replacing
from evaluation.home import home
from evaluation.vost import read_split

POLICIES = ("fifo", "emfs", "rmem", "unbounded", "random", "uniform")
CAPACITIES = {8: POLICIES, 3: ("fifo", "emfs", "rmem")}  # frames besides the protected one: policies


def main(argv: Sequence[str] | None = None, infer: Infer = infer_in_process) -> int:
    """Parses the flags, runs what is missing, writes the page. Gives the exit code.

    ``infer`` replaces the inference of a run.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = _parse(arguments)
    command = shlex.join(["python", "-m", "benchmarks.policies", *arguments])
    return run_tool(lambda: _compare(args, command, infer))


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies", description="Compares the memory policies on MiniVOST."
    )
    add = parser.add_argument
    models = ["aot_mini", "deaot_mini"]
    add("--models", nargs="+", default=models, help="models with a file in pretrain_models")
    add("--seeds", nargs="+", type=whole_number(0), default=[0, 1], help="of MiniVOST (default: 0 1)")
    add("--val", type=whole_number(1), default=20, help="val sequences for each seed (default: %(default)s)")
    add("--policies", nargs="+", choices=POLICIES, default=POLICIES, help=f"{BASELINE} is run in any case")
    add("--out", type=Path, default=home() / "docs/results.md", help="page (default: %(default)s)")
    add("--work", type=Path, default=home() / "results/policies", help="folder of videos and masks")
    add(
        "--jobs",
        type=whole_number(1),
        default=1,
        help="runs at a time, a CPU thread each (default: %(default)s)",
    )
    return parser.parse_args(argv)


def _compare(args: argparse.Namespace, command: str, infer: Infer) -> int:
    configs = {model: get_config(STAGE, model) for model in args.models}
    facts = {model: read_facts(_model_file(cfg, ".json"), model) for model, cfg in configs.items()}
    checkpoints = {model: _model_file(cfg, ".safetensors") for model, cfg in configs.items()}
    digests = {model: _digest(path) for model, path in checkpoints.items()}
    seeds = list(dict.fromkeys(args.seeds))
    work = args.work.resolve()
    datasets = [_make_val(work, seed, args.val, args.jobs) for seed in seeds]

    def make_run(model: str, setting: Setting, dataset: Path) -> Run:
        # A new checkpoint or dataset gets new folders: nothing that is there can be mistaken for theirs.
        folder = work / "runs" / dataset.name / f"{model}-{digests[model]}" / setting.name
        sequences = tuple(read_split(dataset, SPLIT))
        return Run(model, checkpoints[model], setting, dataset, sequences, folder)

    runs = {
        model: {
            setting: [make_run(model, setting, dataset) for dataset in datasets]
            for setting in settings(args.policies)
        }
        for model in configs
    }
    every = [run for of_model in runs.values() for of_seeds in of_model.values() for run in of_seeds]
    done = do_runs(every, args.jobs, infer)
    records = {
        model: {setting: [done[run] for run in of_seeds] for setting, of_seeds in of_model.items()}
        for model, of_model in runs.items()
    }
    with replacing(args.out) as temporary:
        temporary.write_text(render_page(records, facts, seeds, command), encoding="utf-8")
    print(f"Wrote {args.out}")
    return 0


def settings(policies: Sequence[str]) -> list[Setting]:
    """The settings of the chosen policies, and of the baseline that they are compared to."""
    wanted = {BASELINE, *policies}
    return [
        Setting(policy, latter)
        for latter, of_capacity in CAPACITIES.items()
        for policy in of_capacity
        if policy in wanted
    ]


def read_facts(path: Path, model: str) -> dict[str, Any]:
    """How a model was made, from the JSON file beside its checkpoint.

    Raises ``DataError`` if the file is missing or damaged, lacks a name, or belongs to another model.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; it says how {model} was made") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    missing = [name for name in FACTS if name not in facts] if isinstance(facts, dict) else list(FACTS)
    if missing:
        raise DataError(f"{path}: expected the names {', '.join(FACTS)}; missing: {', '.join(missing)}")
    if facts["model"] != model:
        raise DataError(f"{path}: model: expected {model}, found {facts['model']}")
    return dict(facts)


def _model_file(cfg: Config, suffix: str) -> Path:
    return home() / cfg.DIR_PRETRAIN / f"{cfg.MODEL_NAME}{suffix}"


def _digest(path: Path) -> str:
    """A few digits that change with the file's content. Raises ``CheckpointError``."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def _make_val(work: Path, seed: int, val: int, workers: int) -> Path:
    """The folder of a seed's val sequences, made where they are not there yet."""
    folder = work / f"mini_vost_v{GENERATOR_VERSION}_seed{seed}"
    make_dataset(folder, seed, train=0, val=val, workers=min(workers, val))
    return folder


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the runs' processes are ended first
    sys.exit(main())
