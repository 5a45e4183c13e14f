"""Runs models over datasets in VOST's layout, several at a time: inference, metric, figures per object."""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from aot_plus.pipeline.run import Job, infer
from aot_plus.utils.catalogue import SMALL_STAGE, find_checkpoint
from aot_plus.utils.config import SUMMARY_FILE, get_config
from aot_plus.utils.cores import find_cores
from aot_plus.utils.errors import DataError, VOSError
from aot_plus.utils.paths import file_name
from evaluation.digests import digest_file
from evaluation.parallel import map_in_processes
from evaluation.results import evaluate, read_current_results, read_results

STAGE, SPLIT = SMALL_STAGE, "val"


def checkpoint_of(model: str) -> Path:
    """Finds a model's file in the folder of checkpoints. Raises ``DataError`` if it is missing."""
    path = find_checkpoint(f"{model}.safetensors")
    if path is None:
        raise DataError(f"--models: there is no {model}.safetensors in the folder of checkpoints")
    return path


def make_job(model: str, checkpoint: Path, values: Mapping[str, object], dataset: Path, folder: Path) -> Job:
    """Returns the run of a model over a dataset. ``values``: config values, with policy, gap and capacity.

    Each checkpoint and dataset gets a folder of its own, so that their masks are never mixed up.
    """
    fixed = {
        "TEST_DATASET": str(dataset),
        "TEST_DATASET_SPLIT": SPLIT,
        "FORMER_MEM_LEN": 1,
        "TEST_MEM_GAP_BY_LENGTH": False,
    }
    cfg = get_config(STAGE, model, overrides={**fixed, **values})
    digest = digest_file(checkpoint)[:8]
    name = f"{file_name(cfg.MEM_POLICY)}_1+{cfg.LATTER_MEM_LEN}_gap{cfg.TEST_LONG_TERM_MEM_GAP}"
    return Job(cfg, checkpoint, folder / dataset.name / f"{model}-{digest}" / name)


def do_jobs(jobs: Sequence[Job], count: int) -> None:
    """Runs unfinished jobs, ``count`` at a time. Raises a ``VOSError`` that names all that failed."""
    by_folder = {job.folder: job for job in jobs if job.overwrite or not is_done(job)}
    missing = [_placed(job, device) for job, device in zip(by_folder.values(), itertools.cycle(_devices()))]
    threads = threads_of_each(count) if min(count, len(missing)) > 1 else None
    problems = map_in_processes(partial(_do_job, threads), missing, count, "runs")
    failed = [problem for problem in problems if problem]
    if failed:
        raise VOSError(f"{len(failed)} of {len(jobs)} runs failed:\n" + "\n".join(failed))


def _devices() -> list[str]:
    """Returns the devices that share the runs."""
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]


def _placed(job: Job, device: str) -> Job:
    """Assigns a job to a device, unless its config names one."""
    cfg = copy(job.cfg)
    cfg.TEST_DEVICE = device if cfg.TEST_DEVICE == "auto" else cfg.TEST_DEVICE
    return replace(job, cfg=cfg)


def threads_of_each(jobs: int) -> int:
    """Returns the threads per job if so many jobs share the cores; OMP_NUM_THREADS takes precedence."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    found = int(outermost) if outermost.isdigit() else 0
    return found or max(find_cores().usable // jobs, 1)


def _do_job(threads: int | None, job: Job) -> str:
    """Runs inference, then the metric; returns the problem, or an empty text if there is none.

    ``threads``: for this process, if others run beside it; None: inference chooses.
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
    """Returns whether the metric has been run over the masks of exactly the split's sequences."""
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
