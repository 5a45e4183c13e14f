"""Reproducing rows: each run is inference and then the metric, in processes of their own.

A run that is there already costs little: inference skips whole sequences, and the metric's files stand as
long as nothing is newer.
"""

import csv
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aot_plus.dataloaders.eval_datasets import VOSTDataset, open_dataset
from aot_plus.dataloaders.mini_vost import make_dataset
from aot_plus.dataloaders.mini_vost.writer import INFO_FILE
from aot_plus.pipeline.commands import Finished, eval_command, metric_command
from aot_plus.pipeline.rows import Figures, Run, choose_rows
from aot_plus.utils.errors import DataError, VOSError
from evaluation.home import home
from evaluation.vost import ANNOTATIONS, DATASET_FOLDERS, SPLITS

_log = logging.getLogger(__name__)

SPLIT = "val"
_SMALL_SEQUENCES = 20  # val sequences of MiniVOST, where it must be made; those of make_mini_vost
_HOW_TO_GET = "aot_plus/pretrain_models/README.md lists the files and where they come from"
_LISTED = 3

PENDING, MEASURED, MISSING, FAILED, NOT_RUN = "pending", "measured", "missing", "failed", "not run"


@dataclass(frozen=True)
class Outcome:
    """What became of a run: ``MISSING`` lacks something, ``NOT_RUN`` was not chosen, or interrupted."""

    status: str
    reasons: tuple[str, ...] = ()  # why it was not measured
    figures: Figures | None = None  # where it was measured, as is the folder of its masks
    folder: Path | None = None


class Execute(Protocol):
    """What is needed of ``run_shown``."""

    def __call__(self, command: Sequence[str], *, with_stdout: bool) -> Finished: ...


def dataset_argument(name: str) -> str:
    """``--dataset`` as the commands get it: one folder always gives the same text, for results remember it.

    A folder's path starts at the repository's root, if it lies there, as in ``eval_vost.sh``.
    """
    if name in DATASET_FOLDERS:
        return name
    path = Path(os.path.abspath(name))
    return str(path.relative_to(home())) if path.is_relative_to(home()) else str(path)


def is_mini_vost(dataset: str) -> bool:
    """Whether that is MiniVOST, by its name or as a folder that the project made."""
    return dataset == "mini_vost" or (
        dataset not in DATASET_FOLDERS and (home() / dataset / INFO_FILE).is_file()
    )


def open_argument(dataset: str, data_folder: Path) -> VOSTDataset:
    """Opens what ``dataset_argument`` gave. MiniVOST is made in ``data_folder`` if it is not there.

    Raises ``DataError``, also if there is no split ``SPLIT``.
    """
    if dataset == "mini_vost":
        _ensure_mini_vost(data_folder / DATASET_FOLDERS[dataset])
    known = dataset in DATASET_FOLDERS
    opened = open_dataset(dataset if known else str(home() / dataset), data_folder)
    opened.sequences(SPLIT)
    return opened


def _ensure_mini_vost(root: Path) -> None:
    """Makes it where there is no val sequence, and leaves one that is there as it is."""
    counts = {split: _count_lines(root / SPLITS / f"{split}.txt") for split in ("train", SPLIT)}
    if counts[SPLIT]:
        return
    _log.info("making MiniVOST in %s", root)
    try:
        make_dataset(root, 0, counts["train"], _SMALL_SEQUENCES, min(os.cpu_count() or 1, _SMALL_SEQUENCES))
    except OSError as error:
        raise DataError(f"{root}: MiniVOST cannot be made there ({error})") from error


def _count_lines(path: Path) -> int:
    """How many sequences a split file names; 0 if it is not there. Raises ``DataError``."""
    try:
        return len(path.read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return 0
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def plan(runs: Sequence[Run], wanted: Sequence[str] | None) -> dict[Run, Outcome]:
    """What is known before anything runs: all that can be done is ``PENDING``.

    ``wanted``: as for ``choose_rows``, which may raise ``ConfigError``.
    """
    chosen = choose_rows(runs, wanted)
    return {
        run: _find_checkpoint(run) if run.row in chosen else Outcome(NOT_RUN, ("not in --rows",))
        for run in runs
    }


def _find_checkpoint(run: Run) -> Outcome:
    path = home() / run.checkpoint
    if path.is_file():
        return Outcome(PENDING)
    return Outcome(MISSING, (f"{path}: there is no such checkpoint; {_HOW_TO_GET}",))


def without_dataset(outcomes: Mapping[Run, Outcome], reason: str) -> dict[Run, Outcome]:
    """The outcomes if there is no dataset either."""
    return {
        run: outcome if outcome.status == NOT_RUN else Outcome(MISSING, (reason, *outcome.reasons))
        for run, outcome in outcomes.items()
    }


def measure_all(
    outcomes: dict[Run, Outcome], dataset: str, opened: VOSTDataset, processes: int, execute: Execute
) -> bool:
    """Does the pending runs and puts their outcomes in place. Gives whether that was interrupted.

    ``dataset`` is the name or path that the commands get, ``opened`` the same one. A run that fails does not
    keep the others from being done.
    """
    runs = [run for run, outcome in outcomes.items() if outcome.status == PENDING]
    try:
        for number, run in enumerate(runs, start=1):
            _log.info("== %d of %d: %s, %s", number, len(runs), run.row, run.policy)
            outcomes[run] = _measure(run, dataset, opened, processes, execute)
    except KeyboardInterrupt:
        unfinished = [run for run in runs if outcomes[run].status == PENDING]
        outcomes |= dict.fromkeys(unfinished, Outcome(NOT_RUN, ("interrupted",)))
        return True
    return False


def _measure(run: Run, dataset: str, opened: VOSTDataset, processes: int, execute: Execute) -> Outcome:
    """Inference of what is not there yet, then the metric if its files are not those of the masks."""
    try:
        folder = _infer(run, dataset, processes, execute)
        _warn_if_outdated(run, folder, opened.sequences(SPLIT))
        figures = _current_figures(folder, opened)
        if figures is None:
            command = metric_command(results=str(folder), dataset=str(opened.root), split=SPLIT)
            _succeed(command, "the metric", execute, with_stdout=False)
            figures = _read_figures(folder)
        return Outcome(MEASURED, figures=figures, folder=folder)
    except VOSError as error:
        return Outcome(FAILED, (str(error),))


def _infer(run: Run, dataset: str, processes: int, execute: Execute) -> Path:
    """Gives the result folder, which ``aot_plus.tools.eval`` chooses and tells."""
    command = eval_command(
        model=run.model,
        stage=run.stage,
        checkpoint=run.checkpoint,
        dataset=dataset,
        split=SPLIT,
        policy=run.policy,
        processes=processes,
    )
    output = _succeed(command, "inference", execute, with_stdout=True)
    told = [line.removeprefix("Results: ") for line in output.splitlines() if line.startswith("Results: ")]
    if not told:
        raise DataError(f"inference did not say where its results are: {shlex.join(command)}")
    return Path(told[-1])


def _succeed(command: Sequence[str], what: str, execute: Execute, *, with_stdout: bool) -> str:
    """The output of a command. Raises ``DataError`` with what it says if it fails."""
    _log.info("%s: %s", what, shlex.join(command))
    finished = execute(command, with_stdout=with_stdout)
    if finished.returncode == 0:
        return finished.output
    marks = ("error: ", "Failed: ")
    said = [line.split(": ", 1)[1] for line in finished.output.splitlines() if line.startswith(marks)]
    more = f"; and {len(said) - _LISTED} more" * (len(said) > _LISTED)
    reason = "; ".join(said[:_LISTED]) + more or shlex.join(command)
    raise DataError(f"{what} ended with exit code {finished.returncode}: {reason}")


def _warn_if_outdated(run: Run, folder: Path, names: Sequence[str]) -> None:
    """Says when masks were made before the checkpoint's file: results remember its path, not its content."""
    checkpoint = home() / run.checkpoint
    older = sum(_modified(folder / name) < _modified(checkpoint) for name in names)
    if older:
        _log.warning(
            "%s is newer than the masks of %d sequences in %s: if its weights are others, remove that folder",
            *(checkpoint, older, folder),
        )


def _current_figures(folder: Path, dataset: VOSTDataset) -> Figures | None:
    """What the metric wrote, if it is of these sequences and not older than their masks and annotations."""
    names = dataset.sequences(SPLIT)
    masks = [parent / name for parent in (folder, dataset.root / ANNOTATIONS) for name in names]
    of_objects = folder / f"per-sequence_results-{SPLIT}.csv"
    try:
        with of_objects.open(encoding="utf-8", newline="") as file:
            objects = [line[0] for line in list(csv.reader(file))[1:]]  # <sequence>_<number>
        written = min(_modified(of_objects), _modified(_overall_path(folder)))
        current = {name.rpartition("_")[0] for name in objects} == set(names)
        return _read_figures(folder) if current and max(map(_modified, masks)) <= written else None
    except (OSError, ValueError, IndexError, csv.Error, DataError):
        return None


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def _overall_path(folder: Path) -> Path:
    return folder / f"global_results-{SPLIT}.csv"


def _read_figures(folder: Path) -> Figures:
    """The means over all objects from the metric's file. Raises ``DataError``."""
    path = _overall_path(folder)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (line,) = csv.DictReader(file)
        return Figures(j_tr=100 * float(line["J_last-Mean"]), j=100 * float(line["J-Mean"]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as the metric's figures ({error!r})") from error
