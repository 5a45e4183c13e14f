"""Reproduces rows of tables: infers missing masks, then runs the metric unless its files are up to date."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import evaluation
from aot_plus.configs import Config
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.eval_datasets import find_layout
from aot_plus.dataloaders.mini_vost.writer import INFO_FILE
from aot_plus.networks.memory.policies import build_policy
from aot_plus.pipeline.choices import MINI_VOST, ensure_mini_vost, find_dataset
from aot_plus.pipeline.rows import ZOO_DATASETS, Row, choose_rows
from aot_plus.pipeline.run import Job, infer, score
from aot_plus.pipeline.submission import write_zip
from aot_plus.pipeline.truth import check_truth
from aot_plus.utils.catalogue import PAPER_DATASET, SMALL_STAGE
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError, VOSError
from aot_plus.utils.paths import find_path, stored_path
from aot_plus.utils.sources import how_to_get
from evaluation.datasets import DATASET_FOLDERS
from evaluation.layouts import Truth
from evaluation.protocols import PROTOCOLS, get_protocol
from evaluation.results import Results

_log = logging.getLogger(__name__)

SPLIT = "val"
_SMALL_SEQUENCES = 20  # val sequences if MiniVOST must be made, as in make_mini_vost
_LISTED = 3

PENDING, MEASURED, MISSING, FAILED, NOT_RUN = "pending", "measured", "missing", "failed", "not run"
SERVER = "server"


@dataclass(frozen=True)
class Outcome:
    """Holds the state of a row.

    ``MISSING``: a file is missing; ``NOT_RUN``: not chosen, or interrupted; ``SERVER``: the masks are packed
    for an evaluation server.
    """

    status: str
    reasons: tuple[str, ...] = ()  # why it was not measured
    results: Results | None = None  # if it was measured
    folder: Path | None = None  # of the masks, if they are complete


def is_mini_vost(dataset: str) -> bool:
    """Returns whether a dataset is MiniVOST: by its name, or a folder that the project made."""
    folder = find_path(dataset)
    made = dataset not in DATASET_FOLDERS and folder is not None and (folder / INFO_FILE).is_file()
    return dataset == MINI_VOST or made


def check_dataset(name: str) -> None:
    """Raises ``ConfigError`` for a dataset without a table: the published figures would be for other data.

    Raises ``DataError`` for a folder in no known layout.
    """
    tables = (PAPER_DATASET, MINI_VOST, *ZOO_DATASETS)
    folder = None if name in DATASET_FOLDERS else find_path(name)
    is_vost = folder is not None and folder.is_dir() and find_layout(folder) == PAPER_DATASET
    if name not in tables and not is_vost:
        expected = f"{', '.join(tables)} or a folder in VOST's layout"
        raise ConfigError(
            f"--dataset: there are tables for {expected}, found {name}; aot-plus eval takes any"
        )


def prepare_dataset(name: str, data_folder: Path) -> tuple[str, Dataset]:
    """Opens a dataset; makes MiniVOST first if it is missing. Returns its name in configs and the dataset.

    Raises ``DataError``, also if the dataset has no split ``SPLIT``.
    """
    if name == MINI_VOST:
        ensure_mini_vost(data_folder, _SMALL_SEQUENCES)
    dataset, opened = find_dataset(name, data_folder)
    opened.sequences()
    return dataset, opened


def check_policies(policies: Sequence[str]) -> None:
    """Raises ``ConfigError`` for a memory policy that does not exist, before anything runs."""
    for policy in policies:
        build_policy(get_config(SMALL_STAGE, overrides={"MEM_POLICY": policy}))


def plan(rows: Sequence[Row], wanted: Sequence[str] | None) -> dict[Row, Outcome]:
    """Returns the outcomes of rows before anything runs; a row that can run is ``PENDING``.

    ``wanted``: see ``choose_rows``, which may raise ``ConfigError``.
    """
    chosen = choose_rows(rows, wanted)
    return {
        row: _find_checkpoint(row) if row.name in chosen else Outcome(NOT_RUN, ("not in --rows",))
        for row in rows
    }


def _find_checkpoint(row: Row) -> Outcome:
    if row.checkpoint.is_file():
        return Outcome(PENDING)
    shipped = f"it is part of the project: restore it with git restore {Config.DIR_PRETRAIN}"
    cure = shipped if row.stage == SMALL_STAGE else how_to_get(row.file)
    return Outcome(MISSING, (f"{row.checkpoint}: there is no such checkpoint; {cure}",))


def mark_missing(outcomes: Mapping[Row, Outcome], reason: str) -> dict[Row, Outcome]:
    """Returns the outcomes if the dataset is missing too: ``reason`` makes every chosen row ``MISSING``."""
    return {
        row: outcome if outcome.status == NOT_RUN else Outcome(MISSING, (reason, *outcome.reasons))
        for row, outcome in outcomes.items()
    }


def measure_all(
    outcomes: dict[Row, Outcome],
    dataset: str,
    overrides: Mapping[str, object],
    *,
    processes: int = 1,
    overwrite: bool = False,
    resume: bool = False,
) -> KeyboardInterrupt | None:
    """Measures the pending rows and fills in their outcomes. Returns the interrupt that ended it, if any.

    ``dataset``: its name in configs; ``overrides``: further config values; the others are those of ``Job``. A
    row that fails does not stop the others.
    """
    rows = [row for row, outcome in outcomes.items() if outcome.status == PENDING]
    try:
        for number, row in enumerate(rows, start=1):
            _log.info("== %d of %d: %s, %s", number, len(rows), row.name, row.policy)
            job = job_of(row, dataset, overrides)
            outcomes[row] = _measure(replace(job, processes=processes, overwrite=overwrite, resume=resume))
    except KeyboardInterrupt as interrupt:
        unfinished = [row for row in rows if outcomes[row].status == PENDING]
        outcomes |= dict.fromkeys(unfinished, Outcome(NOT_RUN, ("interrupted",)))
        return interrupt
    return None


def job_of(row: Row, dataset: str, overrides: Mapping[str, object] | None = None) -> Job:
    """Returns the job that measures a row, like ``eval_vost.sh`` with the row's flags."""
    values = {
        **(overrides or {}),
        "TEST_DATASET": dataset,
        "TEST_DATASET_SPLIT": SPLIT,
        "TEST_CKPT_PATH": stored_path(row.checkpoint),
        "MEM_POLICY": row.policy,
    }
    return Job(get_config(row.stage, row.model, overrides=values), row.checkpoint)


def _measure(job: Job) -> Outcome:
    try:
        dataset, protocol = job.open_dataset(), get_protocol(job.cfg.TEST_PROTOCOL)
        check_truth(dataset, protocol)
        done = infer(job)
        _log.info("%s", done.describe())
        if done.summary.failed:
            failed = list(done.summary.failed.values())
            more = f"; and {len(failed) - _LISTED} more" * (len(failed) > _LISTED)
            return Outcome(FAILED, (f"inference: {'; '.join(failed[:_LISTED])}{more}",))
        if dataset.server:
            return Outcome(SERVER, (f"{dataset.server} scores {write_zip(job)}",), folder=job.folder)
        results = _current_results(job, dataset.truth(protocol))
        return Outcome(MEASURED, results=results, folder=job.folder)
    except VOSError as error:
        return Outcome(FAILED, (str(error),))


def _current_results(job: Job, truth: Truth) -> Results:
    """Reads the figures of the masks, under VOST's protocol, or computes them. Raises ``DataError``."""
    if truth.protocol == PROTOCOLS["vost"]:
        with suppress(DataError):  # missing, damaged, or of other masks
            return evaluation.read_current_results(job.folder, truth.root, SPLIT)
    return score(job, truth)
