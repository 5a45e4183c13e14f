"""Passes synthetic videos through the real ``VideoSegmenter``, and times one gap cycle at a time."""

import copy
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch

from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.models import AOT, input_size
from aot_plus.networks.models.loading import load_model
from aot_plus.utils.config import parse_assignments
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import ConfigError
from benchmarks.units import make_clock
from benchmarks.videos import Image, SyntheticVideo


def overrides(flags: Namespace) -> dict[str, Any]:
    """Returns the config values that the flags of ``benchmarks.inference`` set."""
    return {
        "TEST_DTYPE": flags.dtype,
        "TEST_DEVICE": str(resolve_device(flags.device, "--device")),
        "MEM_POLICY": flags.policy,
        "FORMER_MEM_LEN": 1,
        "LATTER_MEM_LEN": flags.memory_frames - 1,
        **parse_assignments(flags.overrides),
    }


def load(flags: Namespace, **values: Any) -> AOT:
    """Loads the flags' model, with a fixed seed for random weights. ``values`` take precedence over flags."""
    torch.manual_seed(0)
    return load_model(flags.model, flags.ckpt_path, overrides={**overrides(flags), **values})


def load_for_size(flags: Namespace, **values: Any) -> AOT:
    """Loads the model like ``load``, for images of ``--size``, which the network then gets unscaled."""
    model = load(flags, TEST_MAX_LONG_EDGE=float(max(flags.size)), **values)
    taken = input_size(*flags.size, align_corners=model.cfg.MODEL_ALIGN_CORNERS)
    if taken != flags.size:
        found, nearest = ("x".join(map(str, size)) for size in (flags.size, taken))
        raise ConfigError(f"--size: {flags.model} does not take {found}; the nearest is {nearest}")
    return model


class Stream:
    """Passes a synthetic video through a segmenter. Making the images is not timed."""

    def __init__(
        self, model: AOT, flags: Namespace, *, objects: int = 0, gap: int = 0, graphs: bool = True
    ) -> None:
        """
        Args:
            model: the flags' model.
            flags: the flags of ``benchmarks.inference``.
            objects: number of objects; 0 for the flags' number.
            gap: memory gap; 0 for the flags' gap.
            graphs: capture frames as CUDA graphs if possible.
        """
        self.gap = gap or flags.memory_gap
        cfg = copy.copy(model.cfg)
        cfg.TEST_CUDA_GRAPH = graphs
        self.segmenter = VideoSegmenter(model, cfg)
        self._video = SyntheticVideo(flags.size, objects or flags.objects)
        self._clock = make_clock(self.segmenter.device)
        self.restart()

    def restart(self) -> None:
        """Starts again at the first frame, as if it were another video."""
        self.frame = 0  # number of the last frame
        self.segmenter.start(*self._video.frame(0), memory_gap=self.gap)

    @property
    def memory_frames(self) -> int:
        """Returns T, the number of frames in the bank."""
        return len(self.segmenter.banks[0])

    def fill(self, memory_frames: int) -> None:
        """Fills the bank by giving masks, whose frames are written at once, then runs two cycles.

        On a GPU, the bank first gets frames as in an evaluation: given masks are processed eagerly, which
        takes additional memory.
        """
        if self.segmenter.device.type == "cuda":
            self.advance(self.frame + self.gap * memory_frames)
        while self.memory_frames < memory_frames:
            self.frame += 1
            self.segmenter.step(*self._video.frame(self.frame))
        self.step_cycle()
        self.streamed_cycle()

    def images(self) -> list[Image]:
        """Returns the images of the next gap cycle, one of which is written to the bank."""
        first, self.frame = self.frame + 1, self.frame + self.gap
        return [self._video.frame(index)[0] for index in range(first, self.frame + 1)]

    def step_cycle(self) -> float:
        """Returns the mean seconds of ``step``, from an image to its labels, over a gap cycle."""
        images = self.images()
        started = self._clock()
        for image in images:
            self.segmenter.step(image)
        return (self._clock() - started) / len(images)

    def streamed_cycle(self) -> float:
        """Returns the mean seconds of a frame that is prepared ahead and submitted during the one before."""
        frames = [self.segmenter.prepare(image) for image in self.images()]
        started = self._clock()
        before = self.segmenter.submit(frames[0])
        for frame in frames[1:]:
            labels = self.segmenter.submit(frame)
            before.array()
            before = labels
        before.array()
        return (self._clock() - started) / len(frames)

    def advance(self, frame: int) -> None:
        """Segments cycles up to frame number ``frame`` or a few more."""
        while self.frame < frame:
            self.step_cycle()


def alternate(streams: Sequence[Stream], cycles: int) -> list[list[float]]:
    """Times the cycles of each stream in seconds; they take turns, so that disturbances affect all alike."""
    times = [[stream.step_cycle() for stream in streams] for _ in range(cycles)]
    return [list(of_stream) for of_stream in zip(*times, strict=True)]
