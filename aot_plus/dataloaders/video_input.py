"""Opens a user's video, which is a file, a folder of images or a camera, and selects its frames."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aot_plus.dataloaders.camera import Camera
from aot_plus.dataloaders.frame_source import Frame, FrameSource, Selection
from aot_plus.dataloaders.image_folder import ImageFolder, is_image
from aot_plus.dataloaders.video_file import VideoFile
from aot_plus.utils.errors import DataError
from evaluation.files import is_folder

__all__ = ["VideoInput", "open_frames", "open_video"]


@dataclass(frozen=True)
class VideoInput:
    """Holds a video and the selection of its frames."""

    name: str  # as the user gave it
    source: FrameSource
    selection: Selection

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.source.frames(self.selection))

    @property
    def total(self) -> int | None:
        """Returns the number of selected frames; None if it is not known in advance."""
        total = self.selection.end if self.source.total is None else self.source.total
        return None if total is None else self.selection.count(total)


def open_video(given: str, selection: Selection) -> VideoInput:
    """Opens ``camera:<number>``, or the path of a video file or a folder of images.

    Raises ``DataError`` if it has none of the selected frames.
    """
    camera = re.fullmatch(r"camera:(\d{1,3})", given)
    source: FrameSource = Camera(int(camera[1])) if camera else open_frames(Path(given))
    video = VideoInput(given, source, selection)
    if video.total == 0:
        raise DataError(f"{given}: no frame is left: it has {source.total}, --start is {selection.start}")
    return video


def open_frames(path: Path) -> VideoFile | ImageFolder:
    """Opens a video file or a folder of images, to read frames in any order. Raises ``DataError``."""
    if is_folder(path):
        return ImageFolder(path)
    if path.is_file():
        if is_image(path):
            raise DataError(f"{path}: is one image: expected a video file, or a folder of images")
        return VideoFile(path)
    raise DataError(f"{path}: there is no such video or folder")
