"""Processes for tests that start with torch already imported: they are forked from one that imported it.

Importing torch and torchvision takes seconds, most of the time of a small run.
"""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
IMPORTED = (
    "aot_plus.tools.eval",
    "aot_plus.tools.train",
    "aot_plus.pipeline.table",
    "aot_plus.pipeline.train",
    "aot_plus.networks.engines.segmenter",
    "aot_plus.networks.managers.evaluator",
    "aot_plus.networks.models.loading",
    "pandas",
    "tests.tiny_training",
    "torch.distributed.launcher.api",
    "torchvision",
)
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Forked:
    """A process in its own session, with its output in a file."""

    process: BaseProcess
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, seconds: float = 120) -> int:
        """Returns the exit code, negative after a signal. Kills a process that takes longer, and fails."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"longer than {seconds} s\n{self.output()}")
        return self.process.exitcode


@cache
def context() -> ForkServerContext:
    """Starts the process that all others are forked from."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(list(IMPORTED))
    with patch.dict(os.environ, ENVIRONMENT):
        forkserver.ensure_running()
    return found


def start(
    function: Callable[..., object],
    *arguments: object,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Forked:
    """Calls a function that returns an exit code, such as a tool's ``main``, in a new process."""
    begun, beginning = context().Pipe(duplex=False)
    given = (beginning, log, dict(environment or {}), function, arguments)
    process = context().Process(target=_run, args=given)
    process.start()
    beginning.close()
    begun.recv()  # the process now has its session and handles signals
    begun.close()
    return Forked(process, log)


def fork_launched() -> None:
    """Makes ``launch`` in this process fork, so that its processes need not import torch."""
    from torch.distributed.elastic.rendezvous import dynamic_rendezvous
    from torch.distributed.launcher import api

    vars(api)["LaunchConfig"] = partial(api.LaunchConfig, start_method="fork")
    vars(dynamic_rendezvous)["get_method_name"] = method_name
    # An exception in logging's fork callback is lost, and logging's lock stays held. So signals must not
    # raise during a fork.
    handlers: dict[int, Any] = {}

    def hold() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            handlers[number] = signal.signal(number, lambda *_: None)

    def let() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    os.register_at_fork(before=hold, after_in_parent=let, after_in_child=let)


def method_name(depth: int = 2) -> str:
    """Returns a caller's name, which the launcher notes in its log, without reading all callers' source."""
    return sys._getframe(depth).f_code.co_name


def _run(
    beginning: "multiprocessing.connection.Connection",
    log: Path,
    environment: dict[str, str],
    function: Callable[..., object],
    arguments: tuple[object, ...],
) -> None:
    import torch

    gc.freeze()  # a collection would look through all imports, and touch and thereby copy their memory
    multiprocessing.set_start_method(None, force=True)  # back to the default, for its own child processes
    os.setsid()
    written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(written, stream)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= environment
    torch.set_num_threads(1)
    beginning.send(None)
    beginning.close()
    sys.exit(function(*arguments))
