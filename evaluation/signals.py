"""Makes Ctrl-C and SIGTERM end a command by an exception, with exit code 130 or 143 and no traceback."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = [
    "Terminated",
    "default_signal_handlers",
    "end_quietly_during_imports",
    "exit_code",
    "interruption",
    "raise_first_signal",
    "signals_as_exceptions",
]


class Terminated(KeyboardInterrupt):
    """Reports SIGTERM. Code that cleans up after Ctrl-C (``KeyboardInterrupt``) also cleans up after it."""


def interruption(number: int | None, message: str = "") -> KeyboardInterrupt:
    """Returns the exception for a signal."""
    return Terminated(message) if number == signal.SIGTERM else KeyboardInterrupt(message)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Returns the exit code that a shell reports for a process that the signal ended: 130 or 143."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


def raise_first_signal(number: int, frame: FrameType | None) -> None:
    """Handles both signals where each comes several times: raises at the first, and ignores the rest."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise interruption(number)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM raise in the block, and restores the previous handlers at its end.

    An import of a library may turn the exception into one of its own; the block then raises the original
    kind. Signals that are ignored stay ignored.
    """
    noted: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        noted.append(number)
        if number == signal.SIGINT or len(noted) == 1:  # a second Ctrl-C also ends the clean-up
            raise interruption(number)

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, handle)
    try:
        yield
    except Exception as error:
        if noted:
            raise interruption(noted[0]) from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def default_signal_handlers() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the process at once in the block. Signals that are ignored stay ignored.

    This is for a wait in C code, during which Python runs no handlers. Nothing may be lost by such an end.
    """
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handled = {number: handler for number, handler in previous.items() if callable(handler)}
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def end_quietly_during_imports(package: Path) -> None:
    """Leaves Ctrl-C to the system while a program of the ``package`` imports its modules.

    Nothing can be lost yet, and Python would print a traceback from the middle of an import. Does nothing if
    another program imports the package, or if Ctrl-C is ignored.
    """
    program = Path(sys.argv[0]) if sys.argv else Path()
    ours = str(program) == "-m" or program.stem == "aot-plus" or package in program.resolve().parents
    if ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
