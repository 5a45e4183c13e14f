"""Provides the public interface: images and id masks go in, and labels come out, frame by frame."""

from collections.abc import Hashable, Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.cuda_graphs import step_recorder
from aot_plus.networks.engines.device_images import check_decoder, prepare_on_device
from aot_plus.networks.engines.frame_scores import ShownFrame
from aot_plus.networks.engines.inference import IGNORED
from aot_plus.networks.engines.inputs import ImageInput, MaskInput, as_image, as_mask, format_shape
from aot_plus.networks.engines.prepared import PreparedFrame, prepare_frame
from aot_plus.networks.engines.saved_state import restored_video, saved_config, saved_video
from aot_plus.networks.engines.step_store import StepStore
from aot_plus.networks.engines.views import VideoViews, input_sizes
from aot_plus.networks.engines.weight_places import WeightPlaces
from aot_plus.networks.memory.trace import TraceSink
from aot_plus.networks.models import AOT
from aot_plus.networks.models.number_format import as_number_format
from aot_plus.utils.device import HostCopy, tf32
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.images import Image
from evaluation.masks import IGNORE_ID, Mask


class Probabilities(NamedTuple):
    """Holds the probabilities of a frame's labels (``VideoSegmenter.probabilities``)."""

    ids: list[int]  # 0 for the background, then the objects' ids
    values: NDArray[np.float32]  # one map per id: len(ids) x H x W, 0..1; each pixel sums to 1


class FrameLabels:
    """Holds a frame's labels, which a GPU may still be computing."""

    def __init__(self, packed: Tensor, ids: Sequence[int]) -> None:
        """``packed``: ``H x W`` integers, 0 background, n for the n-th of ``ids`` (at most 255)."""
        self._ids = np.array([0, *ids], dtype=np.uint8)
        self._packed = HostCopy(packed.to(torch.uint8))

    def wait(self) -> None:
        """Waits until the labels are computed; returns at once on a CPU."""
        self._packed.wait()

    def array(self) -> NDArray[np.uint8]:
        """Waits for the labels and returns them: ``H x W`` ids, 0 background. May be called in any thread."""
        return self._ids.take(self._packed.wait().numpy())


class VideoSegmenter:
    """Segments a video frame by frame, given the mask of its objects in the first frame.

    >>> segmenter = VideoSegmenter(load_model("r50_aotl", "AOT_EMFS.pth"))
    >>> segmenter.start(first_image, first_mask)
    >>> labels = segmenter.step(next_image)

    Images are RGB, ``H x W x 3`` uint8, all of one size. Masks are ``H x W`` ids, as bool (True is object 1)
    or any integers: 0 is the background, and ``start`` explains 255. Both may be paths of image files
    instead. Labels are ``H x W`` uint8 ids. Memory use does not grow with the length of the video, except
    under the policy ``unbounded``. Several segmenters can share a model.

    Work can be moved out of ``step``: ``prepare`` makes a frame ready ahead of time, in another thread, and
    ``submit`` does not wait for the labels.
    """

    def __init__(self, model: AOT, cfg: Config | None = None, *, trace: TraceSink | None = None) -> None:
        """
        Args:
            model: from ``load_model``. If ``cfg`` has another ``TEST_DTYPE`` than the model, a converted copy
                is used, on which ``TEST_COMPILE`` has no effect.
            cfg: the model's config by default.
            trace: called with a dictionary for every frame that is appended to the long-term memory or
                declined: frame, group, bank, what the policy computed, and which frame it dropped. The
                attribute ``trace`` may be changed between two videos.

        Raises:
            ConfigError: ``model`` is not a model, is in training mode, or does not match ``cfg``;
                ``TEST_GPU_IMAGES`` does not work here.
        """
        if not isinstance(model, AOT):
            raise ConfigError(f"VideoSegmenter: expected a model, from load_model, found {model!r:.100}")
        self.cfg = model.cfg if cfg is None else cfg
        _check_model(model, self.cfg)
        self.model = as_number_format(model, self.cfg.TEST_DTYPE)
        self.device = next(model.parameters()).device
        if self.cfg.TEST_GPU_IMAGES:
            check_decoder(self.device)
        self._weights = WeightPlaces(self.model)
        self.trace = trace
        self._ids: list[int] = []  # the id of each object, in the order of the packed ids 1..K
        self._video: VideoViews | None = None
        self._steps = StepStore(step_recorder(self.device, wanted=self.cfg.TEST_CUDA_GRAPH))
        self._last: ShownFrame | None = None

    @torch.inference_mode()
    def start(
        self,
        image: ImageInput | PreparedFrame,
        mask: MaskInput,
        *,
        memory_gap: int | None = None,
    ) -> NDArray[np.uint8]:
        """Begins a video, forgetting any other.

        Args:
            image: the first frame, prepared or not.
            mask: its objects. 255 is one more object if ``TEST_TRACK_IGNORED`` is set, otherwise ignored.
            memory_gap: frames between two writes to the long-term memory; ``TEST_LONG_TERM_MEM_GAP`` by
                default.

        Returns:
            The labels of the first frame: the mask.

        Raises:
            DataError: wrong types or sizes, a mask without any object, or a gap that is not a whole number of
                at least 1. The current video can then go on.
            ConfigError: an encoder that is not the project's fails at this size, or the model is on another
                device or in another number format than when the segmenter was made.
        """
        self._check_weights()
        gap = self.cfg.TEST_LONG_TERM_MEM_GAP if memory_gap is None else memory_gap
        if not isinstance(gap, Integral) or isinstance(gap, bool) or gap < 1:
            raise DataError(f"memory_gap: expected a whole number of frames, 1 or more, found {gap!r:.100}")
        frame = self._prepared(image)
        mask = as_mask(mask, frame.size)
        ids = _objects(mask, track_ignored=self.cfg.TEST_TRACK_IGNORED)
        if not ids:
            raise DataError("the first mask shows no object: every pixel is background or ignored")
        self._ids, self._video, self._last = ids, None, None
        packed = self._pack(mask)
        with tf32(self.cfg.TEST_TF32):
            self._begin(frame, packed, int(gap))
        self._last = ShownFrame(mask=packed, followed=self._followed())
        return mask.copy()

    def step(self, image: ImageInput | PreparedFrame, mask: MaskInput | None = None) -> NDArray[np.uint8]:
        """Segments the next frame.

        Args:
            image: has the size of the first image, prepared or not.
            mask: given where objects appear or are corrected. The ids it shows are exactly where it shows
                them; other ids stay as predicted. Where it is 255, the prediction stands and memory ignores
                the pixel, unless 255 has been an object since ``start``.

        Returns:
            ``H x W`` labels.

        Raises:
            DataError: wrong types or sizes, or ``start`` was not called.
            ConfigError: as ``start``.
        """
        return self.submit(image, mask).array()

    @torch.inference_mode()
    def submit(self, image: ImageInput | PreparedFrame, mask: MaskInput | None = None) -> FrameLabels:
        """Does the same as ``step``, but does not wait for the labels.

        This lets a GPU begin the next frame as soon as it has finished this one.
        """
        if self._video is None:
            raise DataError("step() was called before start()")
        self._check_weights()
        frame, size = self._prepared(image), self._video.size
        if frame.size != size:
            raise DataError(
                f"the image is {format_shape(frame.size)} (H x W), the video began with {format_shape(size)}"
            )
        if frame.input_sizes != self._video.inputs:
            raise DataError(
                f"the frame was prepared for inputs of {_texts(frame.input_sizes)}, "
                f"this video has {_texts(self._video.inputs)}: prepare it with this segmenter"
            )
        given = None if mask is None else as_mask(mask, size)
        with tf32(self.cfg.TEST_TF32):
            if given is None and self._steps.current is not None:
                scores, labels = self._steps.current.step(frame.inputs)
                self._last = ShownFrame(scores, None, self._followed())
            else:
                labels = self._eager_step(self._video, frame, given)
        return FrameLabels(labels, self._ids)

    def _eager_step(self, video: VideoViews, frame: PreparedFrame, given: Mask | None) -> Tensor:
        """Segments a frame eagerly and returns its packed labels.

        This is for a frame with a given mask, and for all frames of a video without a fixed step.
        """
        predictions = video.predict(frame.inputs)
        scores = video.scores([prediction.logits for prediction in predictions], len(self._ids))
        labels, packed = scores.labels(), None
        if given is None:
            video.commit(predictions, labels)
        else:
            packed = self._take_mask(video, given)
            labels, committed = _lay_over(labels, packed)
            video.commit_reference(predictions, committed, len(self._ids))
        self._last = ShownFrame(scores, packed, self._followed())
        self._steps.keep_if_fits()
        return labels

    def prepare(self, image: ImageInput) -> PreparedFrame:
        """Scales an image to the network's input sizes, for ``start``, ``step`` and ``submit``.

        May be called in any thread and before ``start``, since it depends only on the image and the config.
        With ``TEST_GPU_IMAGES`` a JPEG file is decoded and scaled on the device. Raises ``DataError`` for
        anything that is not an image.
        """
        if self.cfg.TEST_GPU_IMAGES and isinstance(image, str | Path):
            frame = prepare_on_device(Path(image), self.device, self._input_sizes)
            if frame is not None:
                return frame
        pixels = as_image(image)
        return prepare_frame(pixels, self._input_sizes(pixels), pinned=self.device.type == "cuda")

    @torch.inference_mode()
    def probabilities(self) -> Probabilities:
        """Computes the probabilities of the last frame.

        A pixel's label is its most probable id. The objects of a mask that was given for this frame are
        certain. Raises ``DataError`` before ``start``.
        """
        if self._last is None:
            raise DataError("probabilities() was called before start()")
        followed = self._last.followed
        values = self._last.probabilities(len(self._ids))[[0, *followed]]
        return Probabilities([0, *self._ids_of(followed)], values.cpu().numpy())

    def check_finite(self) -> None:
        """Raises ``DataError`` if a logit of the current video was not a finite number; waits for a GPU.

        The labels are then all background, often from that frame to the last one. To call this once, at the
        end of a video, is enough.
        """
        if self._video is not None and not self._video.were_finite():
            raise DataError(
                f"expected finite logits, found NaN or infinity (TEST_DTYPE: {self.cfg.TEST_DTYPE}), so the "
                "masks are not valid; choose another number format, or look at the checkpoint"
            )

    def remove(self, object_id: int) -> None:
        """Stops following an object: from the next frame on it is not predicted.

        In new frames its pixels become background or other objects. The frames in memory and all other
        objects do not change. A later mask that shows the object resumes it, together with what memory
        holds of it. Raises ``DataError`` if no such object is followed.
        """
        followed = self._ids_of(self._followed())
        if self._video is None or object_id not in followed:
            known = ", ".join(map(str, followed)) or "none"
            raise DataError(f"remove({object_id!r}): there is no such object; followed are: {known}")
        self._video.state.removed.add(self._ids.index(object_id) + 1)

    def state_dict(self) -> dict[str, Any]:
        """Returns a copy of the state from which this video can be resumed: plain values and tensors.

        It does not include the model. ``torch.save`` writes it, and ``torch.load`` reads it. Raises
        ``DataError`` before ``start``, and ``ConfigError`` if your own policy cannot be copied.
        """
        if self._last is None or self._video is None:
            raise DataError("state_dict() was called before start()")
        return saved_video(self._ids, self._video, self._last)

    @torch.inference_mode()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resumes a video where ``state_dict`` was called: the next labels are the same.

        The segmenter must have the same model, and the same config values that labels depend on. It forgets
        its current video. Raises ``ConfigError`` for another config and ``DataError`` for an invalid state;
        the current video can then go on.
        """
        self._check_weights()
        try:
            ids, video, last = restored_video(state, self.model, self.cfg)
            video.trace_to(self.trace)
            self._steps.make(self._shape(video.size, video.inputs, len(ids)), video)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise DataError(f"this is not a state_dict() of a segmenter ({error!r})") from error
        self._ids, self._video, self._last = ids, video, last

    @property
    def banks(self) -> list[list[int]]:
        """Lists the frame numbers in each object group's long-term memory, oldest first (first view)."""
        return [] if self._video is None else self._video.views[0].engine.banks

    def _followed(self) -> tuple[int, ...]:
        """Lists the packed ids of the objects that have not been removed."""
        removed = () if self._video is None else self._video.state.removed
        return tuple(number for number in range(1, len(self._ids) + 1) if number not in removed)

    def _ids_of(self, packed: Iterable[int]) -> list[int]:
        return [self._ids[number - 1] for number in packed]

    def _prepared(self, image: ImageInput | PreparedFrame) -> PreparedFrame:
        frame = image if isinstance(image, PreparedFrame) else self.prepare(image)
        for pixels in frame.inputs:
            if pixels.is_cuda:  # from the readers' stream: not to be reused until this stream is done
                pixels.record_stream(torch.cuda.current_stream(self.device))
        return frame

    def _check_weights(self) -> None:
        """Discards recordings that read the weights where they no longer are. Raises ``ConfigError``."""
        if self._weights.have_changed():
            self._steps.clear()

    def _begin(self, frame: PreparedFrame, packed: Tensor, gap: int) -> None:
        """Begins the video, in the tensors of an earlier video of the same shape if there was one."""
        inputs = frame.input_sizes
        shape = self._shape(frame.size, inputs, len(self._ids))
        step = self._steps.take(shape)
        video = VideoViews(self.model, self.cfg, frame.size, inputs) if step is None else step.video
        video.trace_to(self.trace)
        video.start(frame.inputs, packed, len(self._ids), gap)
        if step is None:
            self._steps.make(shape, video)
        self._video = video

    def _input_sizes(self, image: Image | Tensor) -> list[tuple[int, int]]:
        """Returns the network's size at each scale for an image ``H x W x 3``."""
        return input_sizes(self.cfg, (image.shape[0], image.shape[1]))

    def _shape(self, size: tuple[int, int], inputs: list[tuple[int, int]], num_objects: int) -> Hashable:
        """Returns what two videos must have in common to use the same tensors."""
        groups = -(-num_objects // self.cfg.MODEL_MAX_OBJ_NUM)
        config = (*saved_config(self.cfg).items(), ("TEST_TF32", self.cfg.TEST_TF32))
        return size, tuple(inputs), groups, self.trace is None, config

    def _take_mask(self, video: VideoViews, mask: Mask) -> Tensor:
        """Adds the objects of a mask given in mid-video to those followed; returns it packed, ``H x W``."""
        new = _objects(mask, track_ignored=False)
        self._ids += [value for value in new if value not in self._ids]
        shown = {self._ids.index(value) + 1 for value in np.unique(mask).tolist() if value in self._ids}
        video.state.removed -= shown
        return self._pack(mask)

    def _pack(self, mask: Mask) -> Tensor:
        """Maps a mask's ids to 0..K, on the device, and ignored pixels to ``IGNORED``."""
        table = np.zeros(256, dtype=np.int32)
        table[IGNORE_ID] = IGNORED
        table[self._ids] = np.arange(1, len(self._ids) + 1)
        return torch.from_numpy(table[mask]).to(self.device)


def _check_model(model: AOT, cfg: Config) -> None:
    """Raises ``ConfigError`` for a model that is in training mode, or was built with other values."""
    if model.training:
        raise ConfigError("VideoSegmenter: expected a model in evaluation mode: call model.eval() first")
    built = {"MODEL_MAX_OBJ_NUM": model.num_ids - 1, "MODEL_ALIGN_CORNERS": model.decoder.align_corners}
    for name, value in built.items():
        if getattr(cfg, name) != value:
            raise ConfigError(
                f"{name}: the model was built with {value!r}, this segmenter has {getattr(cfg, name)!r}"
            )


def _texts(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(map(format_shape, sizes))


def _objects(mask: Mask, *, track_ignored: bool) -> list[int]:
    """Lists the ids of a mask's objects in ascending order; 255 is one if ``track_ignored``."""
    others = (0,) if track_ignored else (0, IGNORE_ID)
    return [value for value in np.unique(mask).tolist() if value not in others]


def _lay_over(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Lays a given mask over predicted labels; returns the labels to show and the labels to commit."""
    shown = torch.unique(mask[mask > 0])
    labels = torch.where(torch.isin(labels, shown), 0, labels)
    labels = torch.where(mask > 0, mask, labels)
    return labels, torch.where(mask == IGNORED, IGNORED, labels)
