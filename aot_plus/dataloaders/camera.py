"""Reads a camera like a video that ends where the selection of frames ends."""

import logging
import time
from collections.abc import Iterator

import cv2
import numpy as np

from aot_plus.dataloaders.frame_source import Frame, Selection
from aot_plus.utils.errors import DataError

__all__ = ["Camera"]

_log = logging.getLogger(__name__)

_FPS = 30.0  # if the camera does not report its rate


class Camera:
    """Reads frames from a camera as it delivers them; frames that nobody asks for are dropped.

    Frames are numbered from 0 in the order in which they are read. ``selection.start`` gives the camera time
    to adjust its exposure. The times of frames are measured with the clock, not derived from ``fps``.
    """

    def __init__(self, number: int) -> None:
        """Opens camera ``number``, 0 for the first. Raises ``DataError`` if it cannot be opened."""
        self.total: int | None = None
        self._name = f"camera:{number}"
        _silence_opencv()  # a camera that cannot be opened gets our own error
        self._capture = cv2.VideoCapture(number)
        if not self._capture.isOpened():
            raise DataError(f"{self._name}: there is no such camera, or another program uses it")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # or frames would go stale in the driver's buffer
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else _FPS

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Reads frames until ``selection.end``, or until the camera stops, for example when unplugged."""
        number, began = 0, time.monotonic()
        try:
            while selection.is_before_end(number):
                delivered, image = self._capture.read()
                if not delivered:
                    break
                if number in selection:
                    seconds = time.monotonic() - began
                    rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                    yield Frame(number, f"{number:05d}", rgb, seconds)
                number += 1
        finally:
            self._capture.release()
        if number <= selection.start:
            raise DataError(f"{self._name}: delivered {number} frames, --start is {selection.start}")
        if selection.is_before_end(number):
            _log.warning("%s: ended after %d frames", self._name, number)

    def index(self, name: str) -> int | None:
        """Returns the frame number in a mask's name (without suffix); None if it is not a number."""
        return int(name) if name.isdecimal() else None


def _silence_opencv() -> None:
    """Turns OpenCV's messages off."""
    set_level = getattr(cv2, "setLogLevel", None)  # until 4.12
    if set_level is None:
        set_level = cv2.utils.logging.setLogLevel
    set_level(0)
