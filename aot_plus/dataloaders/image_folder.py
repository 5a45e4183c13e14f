"""Reads a folder of images as a video."""

from collections.abc import Iterator
from pathlib import Path

from aot_plus.dataloaders.frame_source import Frame, Selection
from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image, natural_order
from aot_plus.utils.masks import read_image

__all__ = ["ImageFolder", "is_image"]

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_FPS = 10.0  # a folder of images has no frame rate


class ImageFolder:
    """Reads images in the order of the numbers in their names: 2.jpg comes before 10.jpg.

    >>> video = ImageFolder(Path("frames"))
    >>> image = video.frame(len(video) - 1)
    """

    def __init__(self, path: Path) -> None:
        """Lists the folder. Raises ``DataError`` if it has no images, or two of the same name, or is none."""
        self.path = path
        self.fps = _FPS
        try:
            entries = [entry for entry in path.iterdir() if is_image(entry)]
        except OSError as error:
            raise DataError(f"{path}: cannot be opened as a folder ({error.strerror or error})") from error
        self._images = sorted(entries, key=lambda entry: natural_order(entry.name))
        if not self._images:
            raise DataError(f"{path}: the folder has no frames ({', '.join(_SUFFIXES)})")
        self.total: int | None = len(self._images)
        self._numbers = {image.stem: number for number, image in enumerate(self._images)}
        if len(self._numbers) < len(self._images):
            raise DataError(f"{path}: some images have the same name but for their suffix")
        self._size: tuple[int, ...] | None = None  # of the first image that was read

    def __len__(self) -> int:
        return len(self._images)

    def frame(self, number: int) -> Image:
        """Reads a frame, H x W x 3, RGB. Raises ``DataError``, also if it differs in size from the first."""
        if not 0 <= number < len(self):
            raise DataError(f"{self.path}: there is no frame {number}; it has {len(self)} frames, from 0")
        path = self.path_of(number)
        image = read_image(path)
        self._size = size = self._size or image.shape
        if image.shape != size:
            found = f"{image.shape[1]} x {image.shape[0]} pixels"
            raise DataError(f"{path}: {found}, but the first frame has {size[1]} x {size[0]}")
        return image

    def path_of(self, number: int) -> Path:
        """Returns the path of a frame's image."""
        return self._images[number]

    def name(self, number: int) -> str:
        """Returns the name of a frame's mask, without suffix."""
        return self._images[number].stem

    def index(self, name: str) -> int | None:
        """Returns the number of the frame that a mask's name (without suffix) stands for; None if none."""
        return self._numbers.get(name)

    def holds(self, path: Path) -> bool:
        """Returns whether a file is one of the frames."""
        return any(image.samefile(path) for image in self._images if image.name == path.name)

    def frames(self, selection: Selection) -> Iterator[Frame]:
        """Reads the selected frames one after another. Raises ``DataError`` if one cannot be read."""
        for number in range(selection.start, len(self), selection.every):
            if not selection.is_before_end(number):
                return
            yield Frame(number, self.name(number), self.frame(number), number / self.fps)


def is_image(path: Path) -> bool:
    """Returns True if a path has the suffix of an image and is not hidden."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
