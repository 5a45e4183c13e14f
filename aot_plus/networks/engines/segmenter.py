"""The public way in: images and masks of ids as arrays, one frame after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.inference import (
    IGNORED,
    InferenceEngine,
    Prediction,
    VideoState,
    merge_groups,
)
from aot_plus.networks.layers.processor import best_channel
from aot_plus.networks.memory.trace import TraceSink
from aot_plus.networks.models import AOT, input_size
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import normalise
from evaluation.masks import IGNORE_ID

_AUTOCAST_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class PreparedFrame:
    """An image as the network takes it (``VideoSegmenter.prepare``)."""

    size: tuple[int, int]  # of the image: H, W
    inputs: list[Tensor]  # at each scale: 1 x 3 x h x w, normalised; in page-locked memory for CUDA


class FrameLabels:
    """A frame's labels, which a GPU may still be computing."""

    def __init__(self, packed: Tensor, ids: Sequence[int]) -> None:
        """``packed``: ``H x W`` integers, 0 background, n for the n-th of ``ids`` (at most 255)."""
        self._ids = np.array([0, *ids], dtype=np.uint8)
        self._packed = packed.to(torch.uint8)
        self._copied: torch.cuda.Event | None = None
        if packed.is_cuda:
            host = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
            self._packed = host.copy_(self._packed, non_blocking=True)
            self._copied = torch.cuda.Event(blocking=True)
            self._copied.record(torch.cuda.current_stream(packed.device))

    def wait(self) -> None:
        """Waits until they are computed; at once on a CPU."""
        if self._copied is not None:
            self._copied.synchronize()

    def array(self) -> NDArray[np.uint8]:
        """``H x W`` ids, 0 background. Waits; may be called in any thread."""
        self.wait()
        return self._ids.take(self._packed.numpy())


@dataclass
class _View:
    """The video at one scale, flipped or not, with memories of its own."""

    scale: int  # position in TEST_MULTISCALE
    size: tuple[int, int]  # of the network's input
    flip: bool
    engine: InferenceEngine
    state: VideoState | None = None


class VideoSegmenter:
    """Segments a video frame by frame, given the mask of its objects in the first frame.

    >>> segmenter = VideoSegmenter(load_model("r50_aotl", "AOT_EMFS.pth"))
    >>> segmenter.start(first_image, first_mask)
    >>> labels = segmenter.step(next_image)

    Images are RGB, ``H x W x 3`` uint8, all of one size; masks and labels ``H x W`` uint8 ids: 0 background,
    255 ignored. Memory does not grow with the length of the video, except under the policy ``unbounded``.
    Several segmenters can share a model.

    Two things can be taken out of ``step``: ``prepare`` makes a frame ready, in another thread ahead of time,
    and ``submit`` does not wait for the labels.
    """

    def __init__(self, model: AOT, cfg: Config | None = None, *, trace: TraceSink | None = None) -> None:
        """
        Args:
            model: from ``load_model``.
            cfg: the model's own by default.
            trace: called with a dictionary for every frame that is appended to the long-term memory: frame,
                group, bank, what the policy computed, and which frame it dropped.
        """
        self.model = model
        self.cfg = model.cfg if cfg is None else cfg
        self.device = next(model.parameters()).device
        self._trace = trace
        self._autocast = _AUTOCAST_DTYPES[self.cfg.TEST_DTYPE]
        self._ids: list[int] = []  # the id of each object, in the order of the packed ids 1..K
        self._size = (0, 0)
        self._views: list[_View] = []

    @torch.inference_mode()
    def start(
        self,
        image: NDArray[np.uint8] | PreparedFrame,
        mask: NDArray[np.uint8],
        *,
        memory_gap: int | None = None,
    ) -> NDArray[np.uint8]:
        """Begins a video, forgetting any other.

        Args:
            image: the first frame, prepared or not.
            mask: its objects. 255 is one more object where ``TEST_TRACK_IGNORED`` is set, else it is ignored.
            memory_gap: frames between two writes to the long-term memory; ``TEST_LONG_TERM_MEM_GAP`` by
                default.

        Returns:
            The labels of the first frame: the mask.

        Raises:
            DataError: wrong types or sizes, or a mask without any object.
        """
        frame = self._prepared(image)
        _check_mask(mask, frame.size)
        self._ids, self._size = [], frame.size
        self._learn_ids(mask, track_ignored=self.cfg.TEST_TRACK_IGNORED)
        if not self._ids:
            raise DataError("the first mask shows no object: every pixel is background or ignored")
        gap = self.cfg.TEST_LONG_TERM_MEM_GAP if memory_gap is None else memory_gap
        packed = self._pack(mask)
        self._views = self._make_views()
        with self._precision():
            for view, pixels in zip(self._views, self._view_inputs(frame), strict=True):
                labels = self._view_labels(packed, view)
                view.state = view.engine.start(pixels, labels, len(self._ids), gap)
        return mask.copy()

    def step(
        self, image: NDArray[np.uint8] | PreparedFrame, mask: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Segments the next frame.

        Args:
            image: of the size of the first, prepared or not.
            mask: given where objects appear or are corrected. The ids it shows are exactly where it shows
                them; ids it does not show go on as predicted. At its 255 the prediction stands, and memory
                ignores the pixel.

        Returns:
            ``H x W`` labels.

        Raises:
            DataError: wrong types or sizes, or ``start`` was not called.
        """
        return self.submit(image, mask).array()

    @torch.inference_mode()
    def submit(
        self, image: NDArray[np.uint8] | PreparedFrame, mask: NDArray[np.uint8] | None = None
    ) -> FrameLabels:
        """Does the same as ``step``, but does not wait for the labels.

        A GPU can so begin with the next frame as soon as it has finished this one.
        """
        if not self._views:
            raise DataError("step() was called before start()")
        frame = self._prepared(image)
        if frame.size != self._size:
            raise DataError(
                f"the image is {_text(frame.size)} pixels, the video began with {_text(self._size)}"
            )
        if mask is not None:
            _check_mask(mask, self._size)
        with self._precision():
            predictions = [
                view.engine.predict(_state(view), pixels)
                for view, pixels in zip(self._views, self._view_inputs(frame), strict=True)
            ]
            labels = self._combine(predictions)
            committed, num_objects = labels, None
            if mask is not None:
                labels, committed = self._apply_mask(labels, mask)
                num_objects = len(self._ids)
            for view, prediction in zip(self._views, predictions, strict=True):
                view.engine.commit(
                    _state(view), prediction, self._view_labels(committed, view), num_objects=num_objects
                )
        return FrameLabels(labels, self._ids)

    def prepare(self, image: NDArray[np.uint8]) -> PreparedFrame:
        """Scales the image as the network takes it, for ``start``, ``step`` and ``submit``.

        May be called in any thread and before ``start``: it depends on nothing but the image and the config.
        Raises ``DataError`` for an array that is no image.
        """
        size = _check_image(image)
        pixels = image.astype(np.float32)
        return PreparedFrame(size, [self._input(pixels, target) for target in self._input_sizes(size)])

    @property
    def banks(self) -> list[list[int]]:
        """The frame numbers in the long-term memory of every group of objects, oldest first (first view)."""
        return _state(self._views[0]).banks if self._views else []

    def _prepared(self, image: NDArray[np.uint8] | PreparedFrame) -> PreparedFrame:
        return image if isinstance(image, PreparedFrame) else self.prepare(image)

    def _input_sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """For a video of ``size`` (H, W), the network's at each scale."""
        height, width = size
        limit = self.cfg.TEST_MAX_LONG_EDGE / max(height, width)
        if limit < 1:
            height, width = int(height * limit), int(width * limit)
        corners = self.cfg.MODEL_ALIGN_CORNERS
        return [
            input_size(height * scale, width * scale, align_corners=corners)
            for scale in self.cfg.TEST_MULTISCALE
        ]

    def _make_views(self) -> list[_View]:
        """Makes one view per scale, and a flipped one where ``TEST_FLIP`` is set. The first is traced."""
        views: list[_View] = []
        for scale, size in enumerate(self._input_sizes(self._size)):
            for flip in (False, True) if self.cfg.TEST_FLIP else (False,):
                trace = None if views else self._trace
                views.append(_View(scale, size, flip, InferenceEngine(self.model, self.cfg, trace=trace)))
        return views

    def _precision(self) -> torch.autocast:
        """Automatic mixed precision as ``TEST_DTYPE`` says."""
        return torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None)

    def _input(self, pixels: NDArray[np.float32], size: tuple[int, int]) -> Tensor:
        """Resizes an image ``H x W x 3`` as the network takes it: ``1 x 3 x h x w`` of ``size``."""
        if size != pixels.shape[:2]:
            pixels = np.asarray(cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
        tensor = torch.from_numpy(normalise(pixels))[None]
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def _view_inputs(self, frame: PreparedFrame) -> list[Tensor]:
        """Makes a frame for each view, on the device: ``1 x 3 x h x w``."""
        scales = [pixels.to(self.device, non_blocking=True) for pixels in frame.inputs]
        return [scales[view.scale].flip(3) if view.flip else scales[view.scale] for view in self._views]

    def _view_labels(self, packed: Tensor, view: _View) -> Tensor:
        """``H x W`` packed labels at a view's input size."""
        if packed.shape != view.size:
            packed = F.interpolate(packed[None, None].float(), size=view.size, mode="nearest")[0, 0].int()
        return packed.flip(1) if view.flip else packed

    def _combine(self, predictions: list[Prediction]) -> Tensor:
        """Combines the views' mean probabilities into packed labels at the video's size (``H x W``)."""
        groups = [self._full_logits(prediction.logits) for prediction in predictions]
        if len(groups) == 1:
            return best_channel(merge_groups(groups[0])).int()
        scores = [merge_groups(own) for own in groups]  # of each view: (K+1) x H x W
        probabilities = [
            torch.softmax(score.flip(2) if view.flip else score, dim=0)
            for score, view in zip(scores, self._views, strict=True)
        ]
        return best_channel(torch.stack(probabilities).mean(dim=0)).int()

    def _full_logits(self, logits: Tensor) -> list[Tensor]:
        """Logits ``groups x (M+1) x H/4 x W/4`` of a view at the video's size.

        Gives each group's, the background's and those of its objects: ``(1 + its objects) x H x W``.
        """
        size = self.cfg.MODEL_MAX_OBJ_NUM
        groups = []
        for group, own in enumerate(logits.float()):
            used = min(size, len(self._ids) - group * size)
            groups.append(
                F.interpolate(
                    own[None, : used + 1],
                    size=self._size,
                    mode="bilinear",
                    align_corners=self.cfg.MODEL_ALIGN_CORNERS,
                )[0]
            )
        return groups

    def _apply_mask(self, labels: Tensor, mask: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Predicted labels with a given mask laid over them, as they are shown and as they are committed."""
        self._learn_ids(mask, track_ignored=False)
        given = self._pack(mask)
        shown = torch.unique(given[given > 0])
        labels = torch.where(torch.isin(labels, shown), 0, labels)
        labels = torch.where(given > 0, given, labels)
        return labels, torch.where(given == IGNORED, IGNORED, labels)

    def _learn_ids(self, mask: NDArray[np.uint8], *, track_ignored: bool) -> None:
        """Gives the ids of a mask that are new the next packed ids, in ascending order."""
        for value in np.unique(mask).tolist():
            is_object = value not in (0, IGNORE_ID) or (value == IGNORE_ID and track_ignored)
            if is_object and value not in self._ids:
                self._ids.append(value)

    def _pack(self, mask: NDArray[np.uint8]) -> Tensor:
        """Maps a mask's ids to 0..K, on the device; ``IGNORED`` where it is ignored."""
        table = np.zeros(256, dtype=np.int32)
        table[IGNORE_ID] = IGNORED
        table[self._ids] = np.arange(1, len(self._ids) + 1)
        return torch.from_numpy(table[mask]).to(self.device)


def _state(view: _View) -> VideoState:
    if view.state is None:
        raise DataError("the video has not been started")
    return view.state


def _check_image(image: NDArray[np.uint8]) -> tuple[int, int]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"an image must be H x W x 3 uint8, found {_text(image.shape)} {image.dtype}")
    return image.shape[0], image.shape[1]


def _check_mask(mask: NDArray[np.uint8], size: tuple[int, int]) -> None:
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise DataError(f"a mask must be H x W uint8 ids, found {_text(mask.shape)} {mask.dtype}")
    if mask.shape != size:
        raise DataError(f"the mask is {_text(mask.shape)} pixels, its image {_text(size)}")


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
