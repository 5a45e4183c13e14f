"""The public way in: images and masks of ids as arrays, one frame after another."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.frame_scores import FrameScores, ShownFrame
from aot_plus.networks.engines.given import GivenImage, GivenMask, as_image, as_mask, text_of_size
from aot_plus.networks.engines.inference import IGNORED, InferenceEngine, VideoState
from aot_plus.networks.engines.prepared import PixelNormaliser, PreparedFrame, prepare_frame
from aot_plus.networks.engines.saved_state import (
    check_config,
    restored,
    restored_frame,
    saved,
    saved_config,
    saved_frame,
)
from aot_plus.networks.layers.processor import convolution_format
from aot_plus.networks.memory.trace import TraceSink
from aot_plus.networks.models import AOT, input_size
from aot_plus.utils.device import HostCopy, tf32
from aot_plus.utils.errors import DataError
from evaluation.masks import IGNORE_ID, Mask

_AUTOCAST_DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Probabilities(NamedTuple):
    """The probabilities of a frame's labels (``VideoSegmenter.probabilities``)."""

    ids: list[int]  # 0 for the background, then those of the objects
    values: NDArray[np.float32]  # of each id: len(ids) x H x W, 0..1; the sum of a pixel is 1


class FrameLabels:
    """A frame's labels, which a GPU may still be computing."""

    def __init__(self, packed: Tensor, ids: Sequence[int]) -> None:
        """``packed``: ``H x W`` integers, 0 background, n for the n-th of ``ids`` (at most 255)."""
        self._ids = np.array([0, *ids], dtype=np.uint8)
        self._packed = HostCopy(packed.to(torch.uint8))

    def wait(self) -> None:
        """Waits until they are computed; at once on a CPU."""
        self._packed.wait()

    def array(self) -> NDArray[np.uint8]:
        """``H x W`` ids, 0 background. Waits; may be called in any thread."""
        return self._ids.take(self._packed.wait().numpy())


@dataclass
class _View:
    """The video at one scale, flipped or not, with its own memories."""

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

    Images are RGB, ``H x W x 3`` uint8, all of one size; masks are ``H x W`` ids, 0 background, 255 ignored,
    as bool (True is object 1) or any integers. Both may be paths of image files instead. Labels are ``H x W``
    uint8 ids. Memory does not grow with the length of the video, except under the policy ``unbounded``.
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
        layout = convolution_format(self.device, self.cfg.TEST_DTYPE, self.cfg.TEST_TF32)
        self._normalise = PixelNormaliser(self.device, layout)
        self._autocast = _AUTOCAST_DTYPES[self.cfg.TEST_DTYPE]
        self._ids: list[int] = []  # the id of each object, in the order of the packed ids 1..K
        self._size = (0, 0)  # of labels
        self._inputs: list[tuple[int, int]] = []  # of the network, at each scale
        self._views: list[_View] = []
        self._last: ShownFrame | None = None

    @torch.inference_mode()
    def start(
        self,
        image: GivenImage | PreparedFrame,
        mask: GivenMask,
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
        mask = as_mask(mask, frame.size)
        self._ids, self._size, self._views, self._last = [], frame.size, [], None
        self._inputs = [(pixels.shape[0], pixels.shape[1]) for pixels in frame.inputs]
        self._learn_ids(mask, track_ignored=self.cfg.TEST_TRACK_IGNORED)
        if not self._ids:
            raise DataError("the first mask shows no object: every pixel is background or ignored")
        gap = self.cfg.TEST_LONG_TERM_MEM_GAP if memory_gap is None else memory_gap
        packed = self._pack(mask)
        self._views = self._make_views()
        with self._precision(), tf32(self.cfg.TEST_TF32):
            for view, pixels in zip(self._views, self._view_inputs(frame), strict=True):
                labels = self._view_labels(packed, view)
                view.state = view.engine.start(pixels, labels, len(self._ids), gap)
        self._last = ShownFrame(mask=packed, followed=self._followed())
        return mask.copy()

    def step(self, image: GivenImage | PreparedFrame, mask: GivenMask | None = None) -> NDArray[np.uint8]:
        """Segments the next frame.

        Args:
            image: of the size of the first, prepared or not.
            mask: given where objects appear or are corrected. The ids it shows are exactly where it shows
                them; other ids stay as predicted. Where it is 255, the prediction stands, and memory ignores
                the pixel.

        Returns:
            ``H x W`` labels.

        Raises:
            DataError: wrong types or sizes, or ``start`` was not called.
        """
        return self.submit(image, mask).array()

    @torch.inference_mode()
    def submit(self, image: GivenImage | PreparedFrame, mask: GivenMask | None = None) -> FrameLabels:
        """Does the same as ``step``, but does not wait for the labels.

        A GPU can so begin with the next frame as soon as it has finished this one.
        """
        if not self._views:
            raise DataError("step() was called before start()")
        frame = self._prepared(image)
        if frame.size != self._size:
            raise DataError(
                f"the image is {text_of_size(frame.size)} pixels, "
                f"the video began with {text_of_size(self._size)}"
            )
        given = None if mask is None else as_mask(mask, self._size)
        with self._precision(), tf32(self.cfg.TEST_TF32):
            predictions = [
                view.engine.predict(_state(view), pixels)
                for view, pixels in zip(self._views, self._view_inputs(frame), strict=True)
            ]
            scores = self._scores([prediction.logits for prediction in predictions], len(self._ids))
            labels = committed = scores.labels()
            packed = num_objects = None
            if given is not None:
                packed = self._take_mask(given)
                labels, committed = _lay_over(labels, packed)
                num_objects = len(self._ids)
            for view, prediction in zip(self._views, predictions, strict=True):
                view.engine.commit(
                    _state(view), prediction, self._view_labels(committed, view), num_objects=num_objects
                )
        self._last = ShownFrame(scores, packed, self._followed())
        return FrameLabels(labels, self._ids)

    def prepare(self, image: GivenImage) -> PreparedFrame:
        """Scales the image as the network takes it, for ``start``, ``step`` and ``submit``.

        May be called in any thread and before ``start``: it depends on nothing but the image and the config.
        Raises ``DataError`` for anything else than an image.
        """
        pixels = as_image(image)
        sizes = self._input_sizes((pixels.shape[0], pixels.shape[1]))
        return prepare_frame(pixels, sizes, pinned=self.device.type == "cuda")

    @torch.inference_mode()
    def probabilities(self) -> Probabilities:
        """Computes the probabilities of the last frame.

        The label of a pixel is the id that is most probable there. The objects of a mask that was given for
        this frame are certain. Raises ``DataError`` before ``start``.
        """
        if self._last is None:
            raise DataError("probabilities() was called before start()")
        followed = self._last.followed
        values = self._last.probabilities(len(self._ids))[[0, *followed]]
        return Probabilities([0, *self._ids_of(followed)], values.cpu().numpy())

    def remove(self, object_id: int) -> None:
        """Stops following an object: from the next frame on it is not predicted.

        In new frames its pixels become background or other objects. The frames in memory and all other
        objects do not change. A later mask that shows the object resumes it with what memory holds of it.
        Raises ``DataError`` if no such object is followed.
        """
        followed = self._ids_of(self._followed())
        if object_id not in followed:
            known = ", ".join(map(str, followed)) or "none"
            raise DataError(f"remove({object_id!r}): there is no such object; followed are: {known}")
        for view in self._views:
            _state(view).removed.add(self._ids.index(object_id) + 1)

    def state_dict(self) -> dict[str, Any]:
        """Copies the state to resume this video from, without the model: plain values and tensors.

        ``torch.save`` writes it, and ``torch.load`` reads it. Raises ``DataError`` before ``start``.
        """
        if self._last is None:
            raise DataError("state_dict() was called before start()")
        return {
            "config": saved_config(self.cfg),
            "ids": list(self._ids),
            "size": list(self._size),
            "inputs": [list(size) for size in self._inputs],
            "views": [saved(_state(view)) for view in self._views],
            "last": saved_frame(self._last),
        }

    @torch.inference_mode()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resumes a video where ``state_dict`` was taken: the next labels are the same.

        The segmenter must have the same model, and the same config values that labels depend on. It forgets
        its present video. Raises ``ConfigError`` for another config, ``DataError`` for an invalid state.
        """
        try:
            check_config(state["config"], self.cfg)
            self._ids, self._size = list(state["ids"]), (int(state["size"][0]), int(state["size"][1]))
            self._inputs = [(int(height), int(width)) for height, width in state["inputs"]]
            self._views, self._last = [], None
            views = self._make_views()
            for view, own in zip(views, state["views"], strict=True):
                view.state = restored(own, view.engine, self.device)
            self._views = views
            self._last = restored_frame(state["last"], self._scores, self.device)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise DataError(f"this is not what state_dict() of a segmenter gave ({error!r})") from error

    @property
    def banks(self) -> list[list[int]]:
        """The frame numbers in the long-term memory of every group of objects, oldest first (first view)."""
        return _state(self._views[0]).banks if self._views else []

    def _followed(self) -> tuple[int, ...]:
        """Lists the packed ids of the objects that have not been removed."""
        removed = _state(self._views[0]).removed if self._views else ()
        return tuple(number for number in range(1, len(self._ids) + 1) if number not in removed)

    def _ids_of(self, packed: Iterable[int]) -> list[int]:
        return [self._ids[number - 1] for number in packed]

    def _prepared(self, image: GivenImage | PreparedFrame) -> PreparedFrame:
        return image if isinstance(image, PreparedFrame) else self.prepare(image)

    def _input_sizes(self, size: tuple[int, int]) -> list[tuple[int, int]]:
        """For images of ``size`` (H, W), the network's at each scale."""
        height, width = self._limited(size)
        corners = self.cfg.MODEL_ALIGN_CORNERS
        return [
            input_size(height * scale, width * scale, align_corners=corners)
            for scale in self.cfg.TEST_MULTISCALE
        ]

    def _limited(self, size: tuple[int, int]) -> tuple[int, int]:
        """Holds the shorter side to its limit, then the longer side; rounds down once, as published."""
        height, width = map(float, size)
        short = self.cfg.TEST_MAX_SHORT_EDGE
        if self.cfg.TEST_MULTISCALE != (1.0,):
            short = self.cfg.TEST_MULTISCALE_MAX_SHORT_EDGE or short
        if short is not None and min(height, width) > short:
            limit = short / min(height, width)
            height, width = height * limit, width * limit
        limit = self.cfg.TEST_MAX_LONG_EDGE / max(height, width)
        if limit < 1:
            height, width = height * limit, width * limit
        return int(height), int(width)

    def _make_views(self) -> list[_View]:
        """Makes one view per scale, and a flipped one where ``TEST_FLIP`` is set. The first is traced."""
        views: list[_View] = []
        for scale, size in enumerate(self._inputs):
            for flip in (False, True) if self.cfg.TEST_FLIP else (False,):
                trace = None if views else self._trace
                views.append(_View(scale, size, flip, InferenceEngine(self.model, self.cfg, trace=trace)))
        return views

    def _precision(self) -> torch.autocast:
        """Automatic mixed precision as ``TEST_DTYPE`` says."""
        return torch.autocast(self.device.type, dtype=self._autocast, enabled=self._autocast is not None)

    def _view_inputs(self, frame: PreparedFrame) -> list[Tensor]:
        """Makes a frame for each view, on the device: ``1 x 3 x h x w``, normalised."""
        scales = [self._normalise(pixels.to(self.device, non_blocking=True)) for pixels in frame.inputs]
        return [scales[view.scale].flip(3) if view.flip else scales[view.scale] for view in self._views]

    def _view_labels(self, packed: Tensor, view: _View) -> Tensor:
        """``H x W`` packed labels at a view's input size."""
        if packed.shape != view.size:
            packed = F.interpolate(packed[None, None].float(), size=view.size, mode="nearest")[0, 0].int()
        return packed.flip(1) if view.flip else packed

    def _scores(self, logits: list[Tensor], num_objects: int) -> FrameScores:
        """Makes the scores of a frame whose ``num_objects`` were predicted with ``logits`` in each view."""
        flips = [view.flip for view in self._views]
        return FrameScores(logits, flips, num_objects, self._size, self.cfg.MODEL_ALIGN_CORNERS)

    def _take_mask(self, mask: Mask) -> Tensor:
        """Follows the objects of a mask given in mid-video from now on; gives it packed, ``H x W``."""
        self._learn_ids(mask, track_ignored=False)
        shown = {self._ids.index(value) + 1 for value in np.unique(mask).tolist() if value in self._ids}
        for view in self._views:
            _state(view).removed -= shown
        return self._pack(mask)

    def _learn_ids(self, mask: Mask, *, track_ignored: bool) -> None:
        """Gives the ids of a mask that are new the next packed ids, in ascending order."""
        for value in np.unique(mask).tolist():
            is_object = value not in (0, IGNORE_ID) or (value == IGNORE_ID and track_ignored)
            if is_object and value not in self._ids:
                self._ids.append(value)

    def _pack(self, mask: Mask) -> Tensor:
        """Maps a mask's ids to 0..K, on the device; ``IGNORED`` where it is ignored."""
        table = np.zeros(256, dtype=np.int32)
        table[IGNORE_ID] = IGNORED
        table[self._ids] = np.arange(1, len(self._ids) + 1)
        return torch.from_numpy(table[mask]).to(self.device)


def _state(view: _View) -> VideoState:
    if view.state is None:
        raise DataError("the video has not been started")
    return view.state


def _lay_over(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Lays a given mask over predicted labels; gives them as they are shown and as they are committed."""
    shown = torch.unique(mask[mask > 0])
    labels = torch.where(torch.isin(labels, shown), 0, labels)
    labels = torch.where(mask > 0, mask, labels)
    return labels, torch.where(mask == IGNORED, IGNORED, labels)
