"""Runs a function in several processes of this machine, using torchrun's launcher."""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeVar

from aot_plus.utils import errors
from aot_plus.utils.errors import ProcessError, VOSError
from aot_plus.utils.logs import start_logging
from evaluation.parallel import end_with_parent
from evaluation.signals import Terminated, exit_code, interruption, raise_first_signal

__all__ = ["launch"]

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)  # handled by torchrun
_TALKATIVE = (  # loggers that report at length the errors that are raised here
    "torch.distributed.elastic.agent.server.api",
    "torch.distributed.elastic.multiprocessing.api",
    "torch.multiprocessing.spawn",
)
_PATIENCE = "300"  # seconds, for a training step and for saving afterwards


def launch(function: Callable[..., T], *arguments: object, processes: int) -> T:
    """Calls a function in ``processes`` processes at once and returns the first one's result.

    The function gets its place from ``ProcessPlace.from_environment``. With one process, or in a process that
    torchrun has started, it is called directly.

    Raises:
        VOSError: one of the calls raised it; the other processes are terminated.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once all processes have ended.
    """
    if processes == 1 or "RANK" in os.environ:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            end_with_parent()  # if torchrun is killed, nothing else ends its processes
        return function(*arguments)
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", _PATIENCE)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with TemporaryDirectory(prefix="aot_plus_") as logs, _signals_restored(), _prepared():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=os.path.basename(logs),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        config.signals_to_handle = _handled_signals()  # set here, since PyTorch 2.9 may lack the argument
        try:
            results: dict[int, T] = elastic_launch(config, _work)(function, *arguments)
        except SignalException as signalled:
            raise interruption(signalled.sigval, "Interrupted. Rerun the same command to resume.") from None
        except ChildFailedError as error:
            raise _cause(error, Path(logs)) from None
    return results[0]


def _work(function: Callable[..., T], *arguments: object) -> T:
    """Calls the function in a process that was started for it."""
    end_with_parent()
    _set_handlers(raise_first_signal)  # Ctrl-C arrives from the terminal and from torchrun
    start_logging()
    try:
        result = function(*arguments)
    except BaseException as error:
        _set_handlers(signal.SIG_IGN)  # when a process fails, torchrun sends SIGTERM to all that still run
        if not isinstance(error, KeyboardInterrupt):
            raise
        # After a failure elsewhere, only the failure is reported.
        if os.environ["RANK"] == "0" and str(error) and not isinstance(error, Terminated):
            sys.stderr.write(f"\n{error}\n")
        raise SystemExit(exit_code(error)) from None
    _set_handlers(signal.SIG_DFL)  # it now waits in C until torchrun takes the result
    return result


def _set_handlers(handler: Callable[..., None] | signal.Handlers) -> None:
    """Sets the handler of Ctrl-C and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _cause(error: Any, logs: Path) -> BaseException:
    """Returns the error that ended the processes: the project's own as raised, any other with its traceback.

    A process that stops makes the others fail, and may end after them. torchrun only reports the first one
    that ended; the error of each is in a file under ``logs``.
    """
    _, failure = error.get_first_failure()
    for number in (signal.SIGINT, signal.SIGTERM):
        if failure.exitcode in (128 + number, -number):
            return interruption(number, "Interrupted. Rerun the same command to resume.")
    message = failure.message
    if not isinstance(message, dict):
        ended = f"process {failure.local_rank} ended with exit code {failure.exitcode}"
        return VOSError(f"{ended} (out of memory?)")
    found = [_error(message)]
    for file in sorted(logs.rglob("error.json")):
        with suppress(ValueError):  # of a process that was terminated while writing
            found.append(_error(json.loads(file.read_text(encoding="utf-8"))["message"]))
    return min(found, key=lambda error: (isinstance(error, ProcessError), not isinstance(error, VOSError)))


def _error(message: Any) -> Exception:
    """Rebuilds the error of a process from torchrun's record of it."""
    kind, _, text = message["message"].partition(": ")
    if kind == ProcessError.__name__:
        return ProcessError(text)
    if kind in errors.__all__:
        return VOSError(text)
    return RuntimeError(message["extraInfo"]["py_callstack"])


@contextmanager
def _prepared() -> Iterator[None]:
    """Makes processes that start in this block run ``new_process`` as main module, not this program."""
    main = sys.modules["__main__"]
    stand_in = ModuleType("__main__")
    stand_in.__spec__ = find_spec("aot_plus.utils.new_process")
    sys.modules["__main__"] = stand_in
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _handled_signals() -> str:
    """Returns the signals that torchrun may handle: not SIGHUP if it is ignored here, as under ``nohup``."""
    hung_up = signal.SIGHUP if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else None
    return ",".join(number.name for number in _SIGNALS if number != hung_up)


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Restores this process's signal handlers, which torchrun replaces with its own."""
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in previous.items():
                signal.signal(number, handler)
