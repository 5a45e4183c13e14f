"""Runs of the policy comparison: inference in a process of its own, then the metric, then a record of both.

A run whose record is there is not done again; one that was killed goes on at the first unfinished sequence.
"""

import json
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aot_plus.pipeline.commands import eval_command
from aot_plus.utils.errors import DataError, VOSError
from benchmarks.policy_statistics import FloatArray
from evaluation import FIGURES, object_figures, score_frames
from evaluation.files import replacing
from evaluation.home import home
from evaluation.vost import check_predictions, find_sequences, mask_pairs, read_num_objects

STAGE = "mini_vost"
SPLIT = "val"
FORMER = 1  # protected frames of all capacities
RECORD = "policies.json"
_COLUMNS = [FIGURES.index("J-Mean"), FIGURES.index("J_last-Mean")]
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Setting:
    """A memory policy and the frames it may choose from, besides the protected one."""

    policy: str
    latter: int

    @property
    def name(self) -> str:
        return "unbounded" if self.policy == "unbounded" else f"{self.policy}_{FORMER}+{self.latter}"


@dataclass(frozen=True)
class Run:
    """One model under one setting over the val sequences of one MiniVOST folder."""

    model: str
    checkpoint: Path
    setting: Setting
    dataset: Path
    sequences: tuple[str, ...]
    folder: Path  # of the masks

    def describe(self) -> str:
        return f"{self.model} {self.setting.name} {self.dataset.name}"


@dataclass(frozen=True)
class Record:
    """What a run gave: for each sequence J and J_tr of its objects, speed and memory.

    Frames and seconds are those of the last start: of a run that was interrupted, the rest.
    """

    figures: dict[str, list[list[float]]]
    frames: int
    seconds: float
    peak_memory: float  # MiB, resident, of the whole process
    peak_cuda_memory: float | None  # MiB
    machine: str
    jobs: int  # runs at a time

    def arrays(self) -> list[FloatArray]:
        """K x 2 (J, J_tr) for each sequence."""
        return [np.array(rows, dtype=np.float64) for rows in self.figures.values()]


# Writes the masks and summary.json of a run; the flag: also those that are there. Calls the function now and
# then, and stops when that raises.
Infer = Callable[[Run, bool, Callable[[], None]], None]


class _Stopped(Exception):
    """Another thread gave up: this one's run is to stop."""


def infer_in_process(run: Run, overwrite: bool, look: Callable[[], None]) -> None:
    """``aot_plus.tools.eval`` in a process of one CPU thread, which makes peak memory that of this run.

    Its output goes to a file beside the run's folder. Raises ``VOSError`` if it failed.
    """
    command = _command(run) + ["--overwrite"] * overwrite
    log = run.folder.with_name(f"{run.folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with log.open("w", encoding="utf-8") as output:
        output.write(f"{shlex.join(command)}\n")
        output.flush()
        with subprocess.Popen(
            command, cwd=home(), env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as process:
            try:
                while process.poll() is None:
                    time.sleep(_LOOK_SECONDS)
                    look()
            finally:
                process.terminate()
    if process.returncode != 0:
        raise VOSError(f"inference ended with exit code {process.returncode}; {log} says why")


def _command(run: Run) -> list[str]:
    command = eval_command(
        model=run.model,
        stage=STAGE,
        checkpoint=str(run.checkpoint),
        dataset=str(run.dataset),
        split=SPLIT,
        policy=run.setting.policy,
    )
    capacity = (f"FORMER_MEM_LEN={FORMER}", f"LATTER_MEM_LEN={run.setting.latter}")
    return [*command, "--result_dir", str(run.folder), "--set", *capacity]


def do_runs(runs: Sequence[Run], jobs: int, infer: Infer = infer_in_process) -> dict[Run, Record]:
    """The records of all runs: those that are there, and new ones, ``jobs`` at a time, with a progress bar.

    A run that fails does not keep the others from being done. Raises ``VOSError`` that names all that
    failed.
    """
    records = {run: record for run in runs if (record := read_record(run)) is not None}
    missing = [run for run in runs if run not in records]
    total = sum(len(run.sequences) for run in runs)
    failures = []
    with (
        tqdm(total=total, initial=sum(len(run.sequences) for run in records), unit="sequence") as bar,
        closing(_do_in_threads(missing, jobs, infer, bar)) as outcomes,
    ):
        for run, outcome in outcomes:
            if isinstance(outcome, Record):
                records[run] = outcome
            else:
                failures.append(f"{run.describe()}: {outcome}")
                bar.write(f"Failed: {failures[-1]}", file=sys.stderr)
    if failures:
        raise VOSError(f"{len(failures)} of {len(runs)} runs failed:\n" + "\n".join(failures))
    return records


def _do_in_threads(
    runs: Sequence[Run], jobs: int, infer: Infer, bar: "tqdm[Any]"
) -> Generator[tuple[Run, Record | Exception], None, None]:
    """Each run, as it ends, with its record or what went wrong. Closing it ends the others."""
    progress = _Progress(bar)

    def outcome(run: Run) -> Record | Exception:
        try:
            return _do_run(run, jobs, infer, progress)
        except (VOSError, DataError, OSError) as error:
            return error

    with ThreadPoolExecutor(jobs) as threads:
        futures = {threads.submit(outcome, run): run for run in runs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            progress.stop.set()
            threads.shutdown(cancel_futures=True)


class _Progress:
    """Counts finished sequences of several threads on one bar, and tells the threads to stop."""

    def __init__(self, bar: "tqdm[Any]") -> None:
        self.stop = threading.Event()
        self._bar = bar
        self._lock = threading.Lock()
        self._finished: dict[Run, int] = {}

    def look(self, run: Run) -> None:
        """Shows what is finished of a run. Raises ``_Stopped``."""
        if self.stop.is_set():
            raise _Stopped
        finished = sum((run.folder / name).is_dir() for name in run.sequences)
        with self._lock:
            self._bar.set_description(f"{run.model} {run.setting.name}", refresh=False)
            self._bar.update(finished - self._finished.get(run, 0))
            self._finished[run] = finished


def _do_run(run: Run, jobs: int, infer: Infer, progress: _Progress) -> Record:
    def look() -> None:
        progress.look(run)

    look()
    infer(run, False, look)
    summary = _read_summary(run)
    if not summary["frames"]:  # killed after its last sequence: its speed is not known
        infer(run, True, look)
        summary = _read_summary(run)
    look()
    figures = {name: rows.tolist() for name, rows in measure(run).items()}
    record = Record(
        figures,
        **{name: summary[name] for name in ("frames", "seconds", "peak_memory", "peak_cuda_memory")},
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        jobs=jobs,
    )
    with replacing(run.folder / RECORD) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    return record


def measure(run: Run) -> dict[str, FloatArray]:
    """J and J_tr of the run's masks: sequence -> K x 2. Raises ``DataError``."""
    sequences = find_sequences(run.dataset, SPLIT)
    check_predictions(run.folder, sequences)
    ious = {
        sequence.name: score_frames(mask_pairs(sequence, run.folder), read_num_objects(sequence))
        for sequence in sequences
    }
    return {name: object_figures(table)[:, _COLUMNS] for name, table in ious.items()}


def _read_summary(run: Run) -> dict[str, Any]:
    path = run.folder / "summary.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_record(run: Run) -> Record | None:
    """The record of a finished run; None where there is none of these sequences, or a damaged one."""
    try:
        record = Record(**json.loads((run.folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if tuple(record.figures) == run.sequences else None
