"""Videos in memory that go through the real ``VideoSegmenter``, timed a gap cycle at a time."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.models import AOT, input_size
from aot_plus.networks.models.loading import load_model
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import ConfigError
from benchmarks.devices import device_name
from benchmarks.report import Record, machine_facts
from benchmarks.units import UNIT_SIZE, Clock, UnitOfTime, make_clock
from benchmarks.videos import SyntheticVideo


@dataclass(frozen=True)
class Setup:
    """What is measured: the flags of ``benchmarks.inference``."""

    model: str
    stage: str
    checkpoint: Path | None  # None: random weights
    size: tuple[int, int]  # of the images and of the network's input; (0, 0): images decide
    memory_frames: int  # the bank's capacity
    objects: int
    dtype: str
    policy: str
    memory_gap: int
    device: str
    frames: int
    unit_size: int = UNIT_SIZE

    def load(self, **overrides: Any) -> AOT:
        """The model, random weights always the same. Raises ``ConfigError`` and ``CheckpointError``.

        ``overrides``: config values besides those that the setup stands for.
        """
        torch.manual_seed(0)
        if self.memory_frames < 2:
            raise ConfigError(f"--memory_frames: expected at least 2, found {self.memory_frames}")
        values = {
            "TEST_DTYPE": self.dtype,
            "MEM_POLICY": self.policy,
            "FORMER_MEM_LEN": 1,
            "LATTER_MEM_LEN": self.memory_frames - 1,
            **overrides,
        }
        return load_model(
            self.model, self.checkpoint, stage=self.stage, device=str(self.torch_device), overrides=values
        )

    def load_for_size(self, **overrides: Any) -> AOT:
        """As ``load``, for images of ``size``, which the network then gets as they are."""
        model = self.load(TEST_MAX_LONG_EDGE=float(max(self.size)), **overrides)
        taken = input_size(*self.size, align_corners=model.cfg.MODEL_ALIGN_CORNERS)
        if taken != self.size:
            found, nearest = ("x".join(map(str, size)) for size in (self.size, taken))
            raise ConfigError(
                f"--size: {self.model} does not take {found}; the nearest it takes is {nearest}"
            )
        return model

    @property
    def torch_device(self) -> torch.device:
        """The device that ``device`` stands for."""
        return resolve_device(self.device, "--device")

    def unit(self) -> UnitOfTime:
        """The unit of time on the device."""
        return UnitOfTime(self.torch_device, self.unit_size)

    def record(self) -> Record:
        """The settings and the machine, for the JSON line."""
        return {
            "settings": {
                "model": self.model,
                "stage": self.stage,
                "checkpoint": None if self.checkpoint is None else str(self.checkpoint),
                "size": list(self.size) if any(self.size) else None,
                "memory_frames": self.memory_frames,
                "objects": self.objects,
                "dtype": self.dtype,
                "policy": self.policy,
                "memory_gap": self.memory_gap,
                "frames": self.frames,
            },
            "machine": machine_facts(torch.get_num_threads(), device_name(self.torch_device)),
        }


class Stream:
    """One synthetic video on its way through a segmenter. Making the images is not timed."""

    def __init__(
        self, model: AOT, setup: Setup, *, objects: int | None = None, gap: int | None = None
    ) -> None:
        """``objects``, ``gap``: other ones than the setup's."""
        self.gap = setup.memory_gap if gap is None else gap
        self.frame = 0  # number of the last frame
        self._video = SyntheticVideo(setup.size, setup.objects if objects is None else objects)
        self._segmenter = VideoSegmenter(model)
        self._clock: Clock = make_clock(setup.torch_device)
        self._segmenter.start(*self._video.frame(0), memory_gap=self.gap)

    @property
    def memory_frames(self) -> int:
        """T, the frames in the bank."""
        return len(self._segmenter.banks[0])

    def fill(self, memory_frames: int) -> None:
        """Fills the bank up by giving masks, whose frames are written at once, then runs one cycle."""
        while self.memory_frames < memory_frames:
            self.frame += 1
            self._segmenter.step(*self._video.frame(self.frame))
        self.cycle()

    def step(self) -> float:
        """Segments the next frame and gives the seconds it took."""
        self.frame += 1
        image, _ = self._video.frame(self.frame)
        started = self._clock()
        self.segment(image)
        return self._clock() - started

    def segment(self, image: NDArray[np.uint8]) -> None:
        """What is timed: the image (``H x W x 3``) goes through the segmenter."""
        self._segmenter.step(image)

    def cycle(self) -> float:
        """Segments as many frames as the gap, one of which is written to the bank: mean seconds per frame."""
        return statistics.fmean(self.step() for _ in range(self.gap))

    def advance(self, frame: int) -> None:
        """Segments all frames up to number ``frame``."""
        while self.frame < frame:
            self.step()


def alternate(streams: Sequence[Stream], cycles: int) -> list[list[float]]:
    """Runs the streams in turn, a cycle each, so that what disturbs the machine disturbs all alike.

    Returns:
        For each stream, the mean seconds per frame of every cycle.
    """
    times: list[list[float]] = [[] for _ in streams]
    for _ in range(cycles):
        for stream, of_stream in zip(streams, times, strict=True):
            of_stream.append(stream.cycle())
    return times
