"""Kills evaluations and trainings at random moments, restarts them, and compares their results:
``python -m tests.hostile.kill --kills 100 --seed 1``.

A run that was killed and restarted must give the same results, bit for bit, as an undisturbed one: the masks
and figures of an evaluation, the weights and log of a training. No process of the killed run may survive.
All runs are forked from one process that has imported what they need: the imports take longer than the runs.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests import forked
from tests.forked import Forked
from tests.train_videos import write_dataset

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LONGEST = 300.0  # seconds that a run may take on a busy machine
SEQUENCES, FRAMES = 2, 5  # of the evaluation
STEPS = 3  # of the training; a checkpoint is saved at each


@dataclass(frozen=True)
class Kind:
    """A kind of run: ``evaluation`` or ``training``, in one or two processes."""

    tool: str
    processes: int

    def __str__(self) -> str:
        return f"{self.tool} in {self.processes} process(es)"


KINDS = tuple(Kind(tool, processes) for tool in ("evaluation", "training") for processes in (1, 2))


class Kills:
    """Runs of all kinds on one small dataset in ``folder``."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.draw = random.Random(seed)
        self.seconds: dict[Kind, float] = {}
        self.expected: dict[Kind, dict[str, object]] = {}
        write_dataset(self.data, SEQUENCES)
        for path in self.data.glob("*/*/*.png"):
            if int(path.stem) >= FRAMES:
                path.unlink()
        split = self.data / "ImageSets" / "train.txt"
        split.with_name("val.txt").write_text(split.read_text())

    def one(self, number: int) -> str:
        """Kills and restarts one run, and returns a line about it.

        Raises ``AssertionError`` if the results differ from those of an undisturbed run.
        """
        kind, with_signal = self.draw.choice(KINDS), self.draw.choice(SIGNALS)
        share = self.draw.random()
        if kind not in self.expected:
            self.expected[kind] = self._undisturbed(kind)
        place = self.folder / f"run_{number}"
        moment = share * self.seconds[kind]
        case = f"{number}: {kind}, {with_signal.name} after {moment:.2f} of {self.seconds[kind]:.2f} s"
        run = self._start(kind, place)
        run.process.join(moment)
        with suppress(ProcessLookupError):  # the run may end at this very moment
            if run.process.is_alive():  # a terminal sends Ctrl-C to the whole process group
                (os.killpg if with_signal == signal.SIGINT else os.kill)(run.pid, with_signal)
        ended = _code(run, case)
        allowed = {0, -with_signal, 128 + with_signal}
        assert ended in allowed, f"{case}: exit code {ended}\n{_log(place)}"
        _wait_for_session(run.pid, case)
        again = _code(self._start(kind, place), case)
        assert again == 0, f"{case}: exit code {again} when started again\n{_log(place)}"
        found = _content(kind, place)
        different = [name for name in self.expected[kind] | found if not self._same(kind, found, name)]
        assert not different, f"{case}: not as undisturbed: {', '.join(different)}\n{_log(place)}"
        return f"{case}: exit code {ended}"

    def _same(self, kind: Kind, found: dict[str, object], name: str) -> bool:
        return name in found and self.expected[kind].get(name) == found[name]

    def _undisturbed(self, kind: Kind) -> dict[str, object]:
        place = self.folder / str(kind)
        run = self._start(kind, place)
        began = time.monotonic()
        ended = _code(run, str(kind))
        self.seconds[kind] = time.monotonic() - began
        assert ended == 0, f"{kind}: exit code {ended}\n{_log(place)}"
        return _content(kind, place)

    def _start(self, kind: Kind, place: Path) -> Forked:
        place.mkdir(exist_ok=True)
        return forked.start(_run, kind, self.data, place, log=place / "log.txt")


def _run(kind: Kind, data: Path, place: Path) -> int:
    """Runs a tool and returns its exit code."""
    from aot_plus.tools import eval as evaluation
    from aot_plus.tools import train
    from tests.tiny_training import as_flags, tiny_config

    vars(os)["cpu_count"] = lambda: 1  # so that the metric starts no processes, each of which imports OpenCV
    forked.fork_launched()
    processes = ["--processes", str(kind.processes)]
    if kind.tool == "training":
        cfg = tiny_config(data, DIR_RESULT=str(place), TRAIN_TOTAL_STEPS=STEPS, TRAIN_SAVE_STEP=1)
        return train.main([*as_flags(cfg), *processes, "--no_eval"])
    model = ["--stage", "mini_vost", "--model", "aot_mini", "--set", "TEST_DEVICE=cpu"]
    where = ["--dataset", str(data), "--result_dir", str(place / "masks")]
    return evaluation.main([*model, *where, *processes, "--policy", "emfs"])


def _content(kind: Kind, place: Path) -> dict[str, object]:
    """Returns the results that must not depend on whether the run was killed, by name."""
    if kind.tool == "evaluation":
        files = [path for path in (place / "masks").rglob("*") if path.is_file()]
        ignored = ("config.yaml", "summary.json", ".lock")  # their content depends on times and paths
        return {
            str(path.relative_to(place)): b"" if path.name in ignored else path.read_bytes() for path in files
        }
    import torch

    (folder,) = place.glob("*/mini_vost")
    content: dict[str, object] = {
        "log": [
            (line["step"], line["loss"])
            for line in map(json.loads, (folder / "log" / "train.jsonl").read_text().splitlines())
        ]
    }
    for name in ("ckpt", "ema_ckpt"):
        saved = torch.load(folder / name / f"save_step_{STEPS}.pth", weights_only=True)
        for weight, tensor in saved["state_dict"].items():
            content[f"{name}: {weight}"] = tensor.numpy().tobytes()
    content["files"] = sorted(path.name for path in folder.rglob("*save_step*"))
    return content


def _code(run: Forked, case: str) -> int:
    try:
        return run.wait(LONGEST)
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}") from None


def _wait_for_session(session: int, case: str) -> None:
    """Waits until no process of a run is left. Raises ``AssertionError`` if one survives."""
    deadline = time.monotonic() + 30
    while left := _processes_of(session):
        assert time.monotonic() < deadline, f"{case}: processes {left} live on"
        time.sleep(0.02)


def _processes_of(session: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of_session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of_session) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def _log(place: Path) -> str:
    path = place / "log.txt"
    return path.read_text(errors="replace")[-3000:] if path.exists() else ""


def kill_runs(
    folder: Path, kills: int, seed: int, say: Callable[[str], object] = lambda _: None
) -> list[str]:
    """Kills ``kills`` runs and returns the cases that failed."""
    trial, failed = Kills(folder, seed), []
    for number in range(kills):
        try:
            say(trial.one(number))
        except AssertionError as error:
            say(f"FAILED {error}")
            failed.append(str(error))
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """Kills the requested number of runs, prints a line for each, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    codes: Counter[str] = Counter()

    def say(line: str) -> None:
        print(line, flush=True)
        codes[line.rpartition("exit code ")[2] if "FAILED" not in line else "failed"] += 1

    with tempfile.TemporaryDirectory() as folder:
        failed = kill_runs(Path(folder), args.kills, args.seed, say)
    print(f"{args.kills} kills, {len(failed)} failed; exit codes: {dict(codes)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
