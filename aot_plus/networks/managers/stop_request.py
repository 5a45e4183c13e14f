"""Handles Ctrl-C and SIGTERM in a long run: the work in progress is finished and saved before the end."""

import logging
import os
import signal
import time
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest"]

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE = 3.0  # seconds; one Ctrl-C may arrive twice, from the terminal and from torchrun


class StopRequest:
    """Records the first SIGINT or SIGTERM in ``signal`` while the ``with`` block runs.

    Later signals are ignored, except for a Ctrl-C some seconds after the first one: it stops the run at once.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._noted_at = 0.0
        self._process = os.getpid()
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data worker, which inherited this handler: its parent acts on the signal
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._noted_at = signal.Signals(number), now
            _log.warning("%s: finishing the work in progress", self.signal.name)
        elif number == signal.SIGINT and now - self._noted_at > _PATIENCE:
            raise KeyboardInterrupt("Stopped at once: what was in progress is lost.")
