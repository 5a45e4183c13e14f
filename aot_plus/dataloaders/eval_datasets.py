"""Sequences to run inference over, in VOST's layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.utils.catalogue import VOST_PAGE
from aot_plus.utils.errors import DataError
from aot_plus.utils.paths import find_path
from evaluation.vost import ANNOTATIONS, DATASET_FOLDERS, SPLITS, list_splits, read_split

FRAMES = Config.TEST_IMAGES
_HOW_TO_GET = {
    "vost": f"; get VOST from {VOST_PAGE} and put (or link) it there",
    "mini_vost": "; python -m aot_plus.tools.make_mini_vost makes it",
}
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class VideoSequence:
    """One video: the images of its frames in name order and the path of the first frame's annotation."""

    name: str
    images: tuple[Path, ...]
    annotation: Path


class VOSTDataset:
    """A folder in VOST's layout: ``JPEGImages_10fps``, ``Annotations`` and ``ImageSets/<split>.txt``.

    ``images``: the folder of the frames, where it is another. Nothing but the folder itself is checked on
    construction: a broken sequence is an error of that sequence.
    """

    def __init__(self, root: Path, name: str, images: str = FRAMES) -> None:
        self.root = root
        self.name = name
        self.images = images
        if not root.is_dir():
            raise DataError(f"{root}: there is no such dataset folder{_HOW_TO_GET.get(name, '')}")
        if not (root / SPLITS).is_dir():
            raise DataError(f"{root}: not a dataset in VOST's layout: there is no folder {SPLITS}")

    def require_images(self) -> None:
        """Raises ``DataError`` with the cure where there is no folder of images of that name."""
        if not (self.root / self.images).is_dir():
            others = sorted(path.name for path in self.root.glob("JPEGImages*") if path.is_dir())
            cures = " or ".join(f"--images {name}" for name in others)
            cure = f"; the frames of another folder are taken with {cures} (TEST_IMAGES)" if others else ""
            raise DataError(f"{self.root}: there is no folder {self.images}{cure}")

    def splits(self) -> list[str]:
        """Returns the names of the splits that exist."""
        return list_splits(self.root)

    def sequences(self, split: str) -> list[str]:
        """Returns the names of a split's sequences, in the file's order. Raises ``DataError``."""
        return read_split(self.root, split)

    def select(self, split: str, wanted: Sequence[str] | None) -> list[str]:
        """Selects the split's sequences, or those of them that are ``wanted``.

        Raises ``DataError`` for an unknown one.
        """
        names = self.sequences(split)
        unknown = sorted(set(wanted or ()) - set(names))
        if unknown:
            raise DataError(
                f"{self.root}: no sequence {', '.join(unknown)} in split {split!r}; "
                f"its sequences: {', '.join(names)}"
            )
        return [name for name in names if wanted is None or name in wanted]

    def sequence(self, name: str) -> VideoSequence:
        """Lists one sequence's frames.

        Raises ``DataError`` where there are none, or two have the same name.
        """
        folder = self.root / self.images / name
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such sequence folder")
        images = tuple(sorted(path for path in folder.iterdir() if _is_frame(path)))
        if not images:
            raise DataError(f"{folder}: the sequence has no frames ({', '.join(IMAGE_SUFFIXES)})")
        for one, other in pairwise(images):
            if one.stem == other.stem:
                raise DataError(f"{folder}: two images of one frame: {one.name} and {other.name}")
        return VideoSequence(name, images, self.root / ANNOTATIONS / name / f"{images[0].stem}.png")

    def length(self, name: str) -> int:
        """Number of a sequence's frames; 0 where its folder is missing."""
        folder = self.root / self.images / name
        return sum(map(_is_frame, folder.iterdir())) if folder.is_dir() else 0


def _is_frame(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def open_dataset(name: str, data_folder: Path, images: str = FRAMES) -> VOSTDataset:
    """Opens the dataset ``vost`` or ``mini_vost`` in ``data_folder``, or the one at the path ``name``."""
    if name in DATASET_FOLDERS:
        return VOSTDataset(data_folder / DATASET_FOLDERS[name], name, images)
    root = find_path(name)
    if root is None or not root.is_dir():
        known = ", ".join(DATASET_FOLDERS)
        raise DataError(f"{name}: neither a known dataset ({known}) nor a folder in VOST's layout")
    return VOSTDataset(root, root.resolve().name.lower(), images)
