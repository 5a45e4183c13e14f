"""Turns a user's own video into masks and an overlay video, one frame at a time."""

import logging
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aot_plus.dataloaders.frame_source import Frame
from aot_plus.dataloaders.given_masks import GivenMasks
from aot_plus.dataloaders.video_input import VideoInput
from aot_plus.networks.engines.prepared import PreparedFrame
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.managers.processes import ProcessPlace, helper_threads
from aot_plus.networks.managers.stop_request import StopRequest
from aot_plus.networks.managers.video_pass import LazyMask, VideoPass
from aot_plus.networks.managers.writer import BackgroundWriter
from aot_plus.networks.memory.gap import memory_gap
from aot_plus.networks.memory.policies import build_policy
from aot_plus.utils.cores import Pace
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.images import Image
from aot_plus.utils.masks import object_ids, write_mask
from aot_plus.utils.read_ahead import ReadAhead
from aot_plus.utils.words import format_count
from aot_plus.viz.overlay import draw_objects
from aot_plus.viz.strip import MemoryStrip
from aot_plus.viz.video_writer import VideoWriter
from evaluation.files import write_target
from evaluation.folder_lock import FolderLock
from evaluation.masks import Mask
from evaluation.progress import ProgressBar

__all__ = ["DemoResult", "DemoRun", "claimed_output"]

_log = logging.getLogger(__name__)

_Picture = tuple[Image, float]  # a frame of the overlay, and its time in the video in seconds

OVERLAY = "overlay.mp4"
_UNBOUNDED_ROOM = 9  # frames in the strip if the memory has no fixed capacity
_NARROWEST = 240  # pixels: in the overlay of a narrower video, the strip would be larger than the picture
_TALLEST = 2160  # pixels: no video is enlarged beyond this height


class _Read(NamedTuple):
    """Holds a frame as it was read and as the segmenter prepared it."""

    frame: Frame
    prepared: PreparedFrame


@dataclass
class DemoResult:
    """Holds the frames and files written so far."""

    masks: Path
    frames: int = 0
    seconds: float = 0.0
    video: Path | None = None
    stopped_by: signal.Signals | None = None


class DemoRun:
    """Segments a video and writes ``<output>/masks/<frame>.png`` and ``<output>/overlay.mp4``.

    Threads read, draw and write frames while others are segmented. Only the memory bank and its thumbnails
    keep past frames, so memory does not grow with the video's length, except under the policy ``unbounded``.
    After Ctrl-C (or SIGTERM) the frame in progress is finished, and the video is closed properly; after an
    error in mid-video, the results so far stay.
    """

    def __init__(
        self,
        segmenter: VideoSegmenter,
        video: VideoInput,
        masks: GivenMasks,
        output: Path,
    ) -> None:
        """
        Args:
            segmenter: segments this video only.
            video: selects the frames to segment.
            masks: given for frames of the video, among them the first.
            output: folder; files of the same names are replaced.
        """
        self.segmenter = segmenter
        self.video = video
        self.masks = masks
        self.output = output
        self.gap = memory_gap(segmenter.cfg, video.total)
        self._objects: set[int] = set()  # all ids in the masks given so far
        self._bounded = build_policy(segmenter.cfg).bounded
        if not self._bounded:
            _log.warning("policy %s: memory grows with the video's length", segmenter.cfg.MEM_POLICY)

    def run(self) -> DemoResult:
        """Segments the video.

        Raises ``DataError`` for a frame or mask that cannot be used, or if the model's logits are not finite.
        """
        result = DemoResult(self.output / "masks")
        fps = self.video.source.fps / self.video.selection.every
        writers = self.segmenter.cfg.TEST_WRITERS or helper_threads(ProcessPlace(), self.segmenter.device)

        def show(_: Path, picture: _Picture) -> None:
            overlay.write(*picture)

        with (
            StopRequest() as stop,
            VideoWriter(self.output / OVERLAY, fps) as overlay,
            BackgroundWriter(1, show) as pictures,
            BackgroundWriter(writers, write_mask) as masks,
            ReadAhead.of(self._read()) as frames,
            ProgressBar(total=self.video.total, unit="frame", mininterval=0.5) as bar,
        ):
            started, pace = time.perf_counter(), Pace()
            try:
                for name, predicted, draw in self._segmented(frames):
                    if not result.frames:  # the first frame and its mask proved usable
                        _make_room(self.output)
                    masks.write(result.masks / f"{name}.png", predicted)
                    pictures.write(self.output, draw)
                    result.frames += 1
                    bar.update()
                    pace.tick()
                    if stop.signal is not None:
                        result.stopped_by = stop.signal
                        break
            finally:  # also after an error: what was segmented is written
                masks.join()
                pictures.join()
            result.seconds = time.perf_counter() - started
        result.video = overlay.path
        if result.stopped_by is None:
            self.masks.check_all_taken(self.video.name)
        return result

    def _read(self) -> Iterator[_Read]:
        for frame in self.video:
            yield _Read(frame, self.segmenter.prepare(frame.image))

    def _segmented(self, frames: Iterable[_Read]) -> Iterator[tuple[str, LazyMask, Callable[[], _Picture]]]:
        """Yields each frame's name, its mask, and the function that draws its picture."""
        video = VideoPass(self.video.name, self.segmenter, self.gap)
        strip: MemoryStrip | None = None
        for index, (frame, prepared) in enumerate(frames):
            if strip is None:
                self.masks.check_sizes(prepared.size)
                height, width = prepared.size
                scale = max(1, min(-(-_NARROWEST // width), _TALLEST // height))
                strip = MemoryStrip((height * scale, width * scale), self._strip_room())
            predicted = video.step(prepared, self._mask(frame))
            bank = self.segmenter.banks[0]
            title = self._title(frame.name, len(bank))
            yield frame.name, predicted, partial(_draw, frame, index, predicted, strip, bank, title)
        self.segmenter.check_finite()

    def _mask(self, frame: Frame) -> Mask | None:
        """Returns the mask given for a frame, if any, and logs what it shows."""
        given = self.masks.take(frame.number, frame.image)
        if given is None:
            return None
        ids = object_ids(given.ids)
        new = ", ".join(str(number) for number in ids if number not in self._objects) or "none"
        shown = format_count(len(ids), "object")
        _log.info("frame %s: mask %s shows %s; new ids: %s", frame.name, given.name, shown, new)
        self._objects.update(ids)
        return given.ids

    def _strip_room(self) -> int:
        cfg = self.segmenter.cfg
        return cfg.FORMER_MEM_LEN + cfg.LATTER_MEM_LEN if self._bounded else _UNBOUNDED_ROOM

    def _title(self, name: str, stored: int) -> str:
        groups = len(self.segmenter.banks)
        which = f", first of {groups} groups" if groups > 1 else ""
        capacity = f" of {self._strip_room()}" if self._bounded else ""
        return f"{name}   memory: {stored}{capacity} ({self.segmenter.cfg.MEM_POLICY}{which})"


@contextmanager
def claimed_output(output: Path, inputs: Iterable[Path], *, overwrite: bool) -> Iterator[None]:
    """Locks the folder ``output`` for the results while the block runs; earlier results stay in it.

    Raises ``ConfigError`` if new results would replace an input, or earlier results without ``overwrite``, or
    if nothing can be written; ``DataError`` if the video would be written to a device or a pipe, or if
    another run uses the folder.
    """
    written = _written(output)
    for given in (path.resolve() for path in inputs):
        if given in written or written[0] in given.parents:
            raise ConfigError(f"--output {output}: the results would replace the input {given}")
    with _writing_to(output):
        output.mkdir(parents=True, exist_ok=True)
    with FolderLock(output):
        if not overwrite and any(path.exists() for path in written):
            raise ConfigError(
                f"--output {output}: holds the results of an earlier run; "
                "choose another folder, or give --overwrite to remove them"
            )
        yield


def _written(output: Path) -> tuple[Path, Path]:
    """Returns the paths of the masks' folder and the overlay, with links resolved."""
    return (output / "masks").resolve(), write_target(output / OVERLAY).resolve()


def _make_room(output: Path) -> None:
    """Removes earlier results and creates the masks' folder. Raises ``ConfigError``."""
    masks, overlay = _written(output)
    with _writing_to(output):
        for path in (masks, overlay):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        masks.mkdir(parents=True)  # the target of a link, which is then valid again


@contextmanager
def _writing_to(output: Path) -> Iterator[None]:
    """Turns an ``OSError`` of the block into a ``ConfigError`` that names the flag."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--output {output}: cannot be written to ({error.strerror or error})") from error


def _draw(
    frame: Frame,
    index: int,
    predicted: LazyMask,
    strip: MemoryStrip,
    bank: Sequence[int],
    title: str,
) -> _Picture:
    """Draws the objects on a frame, enlarged to the width of the strip, which is drawn below it."""
    image, ids = frame.image, predicted()
    scale = strip.width // image.shape[1]
    if scale > 1:
        image, ids = (value.repeat(scale, axis=0).repeat(scale, axis=1) for value in (image, ids))
    picture = draw_objects(image, ids)
    strip.update(bank, index, frame.name, picture)
    return np.concatenate([picture, strip.draw(title)]), frame.seconds
