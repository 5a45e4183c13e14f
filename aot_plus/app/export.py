"""Exports results: masks in a dataset's layout, an overlay video, and a zip of both."""

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aot_plus.app.frames import Frames
from aot_plus.app.project import Project
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import write_mask
from aot_plus.viz.overlay import draw_objects
from aot_plus.viz.video_writer import VideoWriter
from evaluation.files import replace_text, replacing, writing
from evaluation.vost import ANNOTATIONS, SPLITS

__all__ = ["LAYOUTS", "export"]


@dataclass(frozen=True)
class _Names:
    """Holds the file names of a layout, relative to its root."""

    masks: str  # folder that holds the sequences
    split: str
    numbered: bool  # files are named by five-digit frame numbers, not by the frames' names in the video


_NAMES = {
    "vost": _Names(ANNOTATIONS, f"{SPLITS}/val.txt", numbered=False),
    "davis": _Names(f"{ANNOTATIONS}/480p", f"{SPLITS}/2017/val.txt", numbered=True),
}
LAYOUTS = tuple(_NAMES)


def export(project: Project, frames: Frames, layout: str, tell: Callable[[int, int], None]) -> Path:
    """Writes ``masks-<layout>``, ``overlay.mp4`` and a zip of both to ``<project>/export``.

    An earlier export stays until the new one is complete. Hidden objects are left out of the overlay, but not
    of the masks.

    Args:
        project: the project whose masks are written.
        frames: the frames of its video.
        layout: one of ``LAYOUTS``.
        tell: is called with the number of finished frames and the total.

    Returns:
        The path of the zip.

    Raises:
        ConfigError: for an unknown layout.
        DataError: if there are no masks, or something cannot be read or written.
    """
    if layout not in _NAMES:
        raise ConfigError(f"layout: expected one of {', '.join(LAYOUTS)}, found {layout!r:.40}")
    numbers = project.masks.frames()
    if not numbers:
        raise DataError("there are no masks to export yet: paint an object, then click Segment")
    names, sequence = _NAMES[layout], project.folder.name
    written = range(numbers[0], numbers[-1] + 1)
    with _moved_when_complete(project.folder / "export") as folder:
        masks = folder / f"masks-{layout}"
        with VideoWriter(folder / "overlay.mp4", frames.fps) as overlay:
            for done, frame in enumerate(frames.read(written), start=1):
                mask, picture = project.mask(frame.number), frame.image
                if mask is not None:
                    name = f"{frame.number:05d}" if names.numbered else frame.name
                    write_mask(masks / names.masks / sequence / f"{name}.png", mask)
                    picture = draw_objects(picture, project.visible(mask))
                overlay.write(picture, frame.seconds)
                tell(done, len(written))
        replace_text(masks / names.split, f"{sequence}\n")
        zip_name = f"{sequence}-{layout}.zip"
        _zip(folder / zip_name, masks, overlay.path)
    return project.folder / "export" / zip_name


@contextmanager
def _moved_when_complete(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder whose content moves to ``folder`` if the block ends without an error."""
    unfinished = folder / ".unfinished"
    with writing(folder):
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a killed program
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            for path in unfinished.iterdir():
                shutil.rmtree(folder / path.name, ignore_errors=True)  # skips a file, which is then replaced
                path.replace(folder / path.name)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _zip(path: Path, masks: Path, overlay: Path) -> None:
    """Packs a folder of masks and a video into a zip, without compression: both are compressed already."""
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for file in sorted(filter(Path.is_file, masks.rglob("*"))):
            archive.write(file, f"masks/{file.relative_to(masks)}")
        archive.write(overlay, overlay.name)
