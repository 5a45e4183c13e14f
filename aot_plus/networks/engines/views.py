"""Presents a video as the network sees it: at each scale, flipped or not; each view has its own memory."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.frame_scores import FrameScores
from aot_plus.networks.engines.inference import GroupBatch, InferenceEngine, Prediction, VideoState
from aot_plus.networks.engines.prepared import PixelNormaliser
from aot_plus.networks.layers.processor import convolution_format
from aot_plus.networks.memory.trace import TraceSink
from aot_plus.networks.models import AOT, Features, Propagation, input_size
from aot_plus.utils.device import on_device

__all__ = ["VideoViews", "View", "input_sizes"]


@dataclass
class View:
    """Holds the video at one scale, flipped or not."""

    scale: int  # position in TEST_MULTISCALE
    size: tuple[int, int]  # of the network's input
    flip: bool
    engine: InferenceEngine


class VideoViews:
    """Holds all views of a video of one size; a frame goes through all of them."""

    def __init__(
        self,
        model: AOT,
        cfg: Config,
        size: tuple[int, int],
        inputs: Sequence[tuple[int, int]],
    ) -> None:
        """
        Args:
            model: in the number format of ``cfg``.
            cfg: says which views there are, and how they are segmented.
            size: H and W of the labels.
            inputs: H and W of the network's input at each scale.
        """
        self.model = model
        self.cfg = cfg
        self.size = size
        self.inputs = list(inputs)
        self.device = next(model.parameters()).device
        layout = convolution_format(self.device, cfg.TEST_DTYPE, cfg.TEST_TF32)
        self._normalise = PixelNormaliser(self.device, layout)
        self.views = [
            View(scale, own, flip, InferenceEngine(model, cfg))
            for scale, own in enumerate(inputs)
            for flip in ((False, True) if cfg.TEST_FLIP else (False,))
        ]
        self.state = VideoState(0, 1)  # one for all views, which must agree
        self._sum = torch.zeros((), device=self.device)  # of all logits: not finite once one of them is not

    @property
    def batches(self) -> list[GroupBatch]:
        """Lists the batches of groups in all views."""
        return [batch for view in self.views for batch in view.engine.batches]

    def trace_to(self, trace: TraceSink | None) -> None:
        """Sets the function that gets the first view's memory decisions from now on; None for no trace."""
        self.views[0].engine.trace = trace

    def start(self, pixels: Sequence[Tensor], labels: Tensor, num_objects: int, memory_gap: int) -> None:
        """Begins a video with a reference frame, forgetting any other.

        Args:
            pixels: at each scale ``h x w x 3`` in 0..255.
            labels: ``H x W`` packed, ``IGNORED`` where they are ignored.
            num_objects: K.
            memory_gap: frames between two writes to the long-term memory.
        """
        self._sum.zero_()
        self.state = VideoState(num_objects, memory_gap)
        for view, images in zip(self.views, self._inputs(pixels), strict=True):
            view.engine.start(images, self.labels_of(view, labels), num_objects)

    def predict(self, pixels: Sequence[Tensor]) -> list[Prediction]:
        """Predicts the next frame in each view; ``pixels`` as in ``start``."""
        inputs = self._inputs(pixels)
        return self._noted(
            [view.engine.predict(self.state, images) for view, images in zip(self.views, inputs, strict=True)]
        )

    def encode(self, pixels: Sequence[Tensor]) -> list[Features]:
        """Encodes a frame in each view. ``predict`` is this, then ``propagate``, then ``decode``."""
        return [self.model.encode(images) for images in self._inputs(pixels)]

    def propagate(self, features: Sequence[Features]) -> list[list[Propagation]]:
        """Reads the memories: the only part of ``predict`` that depends on how many frames they hold."""
        pairs = zip(self.views, features, strict=True)
        return [view.engine.propagate(encoded) for view, encoded in pairs]

    def decode(
        self, features: Sequence[Features], propagations: Sequence[Sequence[Propagation]]
    ) -> list[Prediction]:
        """Predicts the objects of the frame in each view."""
        parts = zip(self.views, features, propagations, strict=True)
        return self._noted([view.engine.decode(self.state, encoded, read) for view, encoded, read in parts])

    def were_finite(self) -> bool:
        """Returns whether all logits since ``start`` were finite numbers; waits for a GPU."""
        return bool(self._sum.isfinite())

    def _noted(self, predictions: list[Prediction]) -> list[Prediction]:
        """Adds the logits of a frame to their sum, which stays on the device."""
        for prediction in predictions:
            self._sum.add_(prediction.logits.sum())
        return predictions

    def commit(self, predictions: Sequence[Prediction], labels: Tensor) -> None:
        """Writes the frame to the memories with its predicted ``labels``, as in ``start``."""
        offered = self.state.writes_next
        number = self._next_number() if offered else None
        for view, prediction in zip(self.views, predictions, strict=True):
            view.engine.commit(prediction, self.labels_of(view, labels), number)
        self.state.move_on(offered=offered)

    def commit_reference(self, predictions: Sequence[Prediction], labels: Tensor, num_objects: int) -> None:
        """Writes the frame with given ``labels``, as in ``start``; there are ``num_objects`` from now on."""
        self.state.num_objects = num_objects
        number = self._next_number()
        for view, prediction in zip(self.views, predictions, strict=True):
            view.engine.commit_reference(prediction, self.labels_of(view, labels), number, num_objects)
        self.state.move_on(offered=True)

    def _next_number(self) -> Tensor:
        """Returns the number of the next frame, without dimensions, on the device."""
        return on_device([self.state.frame + 1], self.device)[0]

    def scores(self, logits: Sequence[Tensor], num_objects: int) -> FrameScores:
        """Makes the scores of a frame from the logits in each view, which has ``num_objects`` objects."""
        flips = [view.flip for view in self.views]
        return FrameScores(logits, flips, num_objects, self.size, self.cfg.MODEL_ALIGN_CORNERS)

    def labels_of(self, view: View, packed: Tensor) -> Tensor:
        """Resizes ``H x W`` packed labels to a view's input size."""
        if packed.shape != view.size:
            packed = F.interpolate(packed[None, None].float(), size=view.size, mode="nearest")[0, 0].int()
        return packed.flip(1) if view.flip else packed

    def _inputs(self, pixels: Sequence[Tensor]) -> list[Tensor]:
        """Makes each view's input on the device: ``1 x 3 x h x w``, normalised."""
        scales = [self._normalise(own.to(self.device, non_blocking=True)) for own in pixels]
        return [scales[view.scale].flip(3) if view.flip else scales[view.scale] for view in self.views]


def input_sizes(cfg: Config, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Computes the network's input size at each scale, for images of ``size`` (H, W)."""
    height, width = _limited(cfg, size)
    corners = cfg.MODEL_ALIGN_CORNERS
    return [input_size(height * scale, width * scale, align_corners=corners) for scale in cfg.TEST_MULTISCALE]


def _limited(cfg: Config, size: tuple[int, int]) -> tuple[int, int]:
    """Limits the shorter side, then the longer side; rounds down once, as published."""
    height, width = map(float, size)
    short = cfg.TEST_MAX_SHORT_EDGE
    if cfg.TEST_MULTISCALE != (1.0,):
        short = cfg.TEST_MULTISCALE_MAX_SHORT_EDGE or short
    if short is not None and min(height, width) > short:
        limit = short / min(height, width)
        height, width = height * limit, width * limit
    limit = cfg.TEST_MAX_LONG_EDGE / max(height, width)
    if limit < 1:
        height, width = height * limit, width * limit
    return int(height), int(width)
