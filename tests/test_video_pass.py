"""A pass over a video: the first frame's mask, and the number of frames in flight on a device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.managers.video_pass import VideoPass
from aot_plus.utils.errors import DataError

MASK = np.ones((2, 3), np.uint8)
FRAME = PreparedFrame((2, 3), [])


class Device:
    """A segmenter that records which frames it was given and which were waited for."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def prepare(self, image: NDArray[np.uint8] | Path) -> PreparedFrame:
        return FRAME

    def start(self, image: PreparedFrame, mask: NDArray[np.uint8], *, memory_gap: int | None = None) -> Any:
        self.notes.append(f"start with gap {memory_gap}")
        return mask

    def submit(self, image: PreparedFrame, mask: NDArray[np.uint8] | None = None) -> Any:
        self.notes.append(f"submit {len(self.notes)}")
        return Labels(self, self.notes[-1])

    def check_finite(self) -> None:
        """Finds nothing."""


class Labels:
    """The mask of a frame that is still being computed."""

    def __init__(self, device: Device, of: str) -> None:
        self.device, self.of = device, of

    def wait(self) -> None:
        self.device.notes.append(f"wait for {self.of}")

    def array(self) -> NDArray[np.uint8]:
        return MASK


def test_one_frame_is_computed_while_the_next_is_given() -> None:
    device = Device()
    video = VideoPass("cut", device, 5)
    masks = [video.step(FRAME, MASK), *(video.step(FRAME) for _ in range(3))]
    assert device.notes == [
        *("start with gap 5", "submit 1"),
        *("submit 2", "wait for submit 1"),
        *("submit 4", "wait for submit 2"),
    ]
    assert all(mask() is MASK for mask in masks)
    assert video.frames == 4


def test_a_first_frame_without_a_mask_is_named() -> None:
    with pytest.raises(DataError, match=r"^cut: "):
        VideoPass("cut", Device(), 5).step(FRAME)
