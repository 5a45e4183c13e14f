"""Commands of ours that run as processes of their own, in the repository's root."""

import codecs
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from evaluation.home import home

__all__ = ["Finished", "eval_command", "metric_command", "run_shown"]

GRACE_SECONDS = 10.0  # for a command that was interrupted


@dataclass(frozen=True)
class Finished:
    """The exit code of a command and the output that was shown."""

    returncode: int
    output: str


def eval_command(
    *, model: str, stage: str, checkpoint: str, dataset: str, split: str, policy: str, processes: int = 1
) -> list[str]:
    """Inference with a policy of the default capacity. Paths are relative to the repository's root."""
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [
        *(*start, "-m", "aot_plus.tools.eval", "--no_metric"),
        *("--model", model),
        *("--stage", stage),
        *("--ckpt_path", checkpoint),
        *("--dataset", dataset),
        *("--split", split),
        *("--policy", policy),
    ]


def metric_command(*, results: str, dataset: str, split: str) -> list[str]:
    """J and J_tr of a result folder, evaluated anew; ``dataset``: a folder."""
    return [
        *(sys.executable, "evaluation/evaluation_method.py", "--re"),
        *("--results_path", results),
        *("--dataset_path", dataset),
        *("--set", split),
    ]


def run_shown(command: Sequence[str], *, with_stdout: bool = True) -> Finished:
    """Runs a command and shows its output on stderr as it comes, progress bars included.

    ``with_stdout``: stdout is shown with stderr; otherwise it is dropped. After an interrupt the command has
    ``GRACE_SECONDS`` to end by itself, for a terminal's Ctrl-C reaches it as well; then the interrupt is
    raised again.
    """
    columns, lines = shutil.get_terminal_size()
    environment = {"COLUMNS": str(columns), "LINES": str(lines)}  # progress bars cannot ask a pipe
    with subprocess.Popen(
        command,
        cwd=home(),
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if with_stdout else subprocess.DEVNULL,
        stderr=subprocess.STDOUT if with_stdout else subprocess.PIPE,
    ) as process:
        stream = process.stdout if with_stdout else process.stderr
        if stream is None:
            raise RuntimeError("a pipe was asked for, and there is none")
        try:
            output = _show(stream)
        except KeyboardInterrupt:
            end = threading.Timer(GRACE_SECONDS, process.terminate)
            end.start()
            try:
                _show(stream)
            finally:
                end.cancel()
            raise
    return Finished(process.returncode, output)


def _show(stream: IO[bytes]) -> str:
    """Copies a stream to stderr until it ends, and gives it as text."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a part may end within a character
    parts = []
    while part := os.read(stream.fileno(), 1 << 16):
        parts.append(decoder.decode(part))
        sys.stderr.write(parts[-1])
        sys.stderr.flush()
    return "".join(parts)
