"""Defines the interface of the datasets that inference runs on, and the rules that most layouts share."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from aot_plus.dataloaders.own_layout import guard_methods
from aot_plus.dataloaders.video_sequence import VideoSequence
from aot_plus.utils.errors import DataError
from evaluation.datasets import DATASET_FOLDERS, OTHER_SPLIT
from evaluation.layouts import Truth, annotations_folder, ground_truth
from evaluation.masks import IGNORE_ID
from evaluation.protocols import Protocol
from evaluation.vost import (
    ANNOTATIONS,
    SPLITS,
    check_names,
    check_split_name,
    mask_paths,
    nested_copy,
    read_split,
    require_lower_case,
    visible_folders,
)

__all__ = ["ALL_FRAMES", "IMAGE_SUFFIXES", "Dataset"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
ONLY_SPLIT = "val"  # of a dataset without splits
ALL_FRAMES = "_all_frames"  # suffix of a split's name and of its folder
_IMAGES = ("JPEGImages*", "JPEGImages/480p", "JPEGImages/Full-Resolution")


class Dataset:
    """Opens one split of a dataset on disk: lists its sequences, and reads each as a ``VideoSequence``.

    This class reads ``<images>/<sequence>/<frame>.jpg`` and ``Annotations[/480p]/<sequence>/<frame>.png``; a
    split is all sequences with a folder of masks. A broken sequence raises an error only when it is read.

    Attributes:
        frames: the folder of the frames, unless another is given.
        masks: the folder of the masks, unless ``annotations_folder`` finds one.
        part: the folder in the root that contains images and masks; ``{split}`` stands for the split.
        split_folders: the folders in ``ImageSets`` with lists of sequences; None if there are no lists.
        merged: whether all ids of a mask form one object.
        ignored: the id of ignored pixels; None if every id but 0 is an object.
        page: the web page where the dataset can be downloaded.
        servers: the server that scores the results of each split. Other splits have public ground truth.
        zip_folder: the folder of the sequences in the zip file for the server; None if it takes no masks.
    """

    frames: ClassVar[str] = "JPEGImages"
    masks: ClassVar[str] = ANNOTATIONS
    layout_name: ClassVar[str] = "DAVIS"
    part: ClassVar[str] = ""
    split_folders: ClassVar[Sequence[str] | None] = None
    merged: ClassVar[bool] = False
    ignored: ClassVar[int | None] = IGNORE_ID
    page: ClassVar[str] = ""
    servers: ClassVar[Mapping[str, str]] = {}
    zip_folder: ClassVar[str | None] = ""

    def __init_subclass__(cls) -> None:
        """Wraps a user's own layout so that its errors and wrong answers name it."""
        super().__init_subclass__()
        if not cls.__module__.startswith("aot_plus."):
            guard_methods(cls, Dataset)

    def __init__(
        self,
        root: Path,
        name: str,
        images: str | None = None,
        split: str = ONLY_SPLIT,
        *,
        later: bool = False,
        save_all: bool = False,
        height: int | None = None,
    ) -> None:
        """
        Args:
            root: the folder of the dataset.
            name: the dataset's name in messages and results.
            images: the folder of the frames, in the split's folder; None for ``default_images``.
            split: the split to read; ``val`` and ``valid`` are interchangeable.
            later: whether objects that appear after the first frame are given, with their first mask.
            save_all: whether to write the results of all frames, even if fewer are needed.
            height: the height at which the results of taller frames are written.
        """
        check_split_name(split)
        self.root = root
        self.name = name
        self.split = split
        self.later = later
        self.save_all = save_all
        self.height = height
        self._given_images = images
        if not root.is_dir():
            raise DataError(f"{root}: there is no such dataset folder{self.how_to_get()}")
        if self.split_folders is not None and not (root / SPLITS).is_dir():
            layout = f"not a dataset in {self.layout_name}'s layout"
            nested = nested_copy(root, root / SPLITS)
            raise DataError(f"{root}: {layout}: there is no folder {SPLITS}{nested}")
        other = OTHER_SPLIT.get(self.truth_split)
        if other and not self.folder.is_dir():
            self.split = other + split.removeprefix(self.truth_split)
            if not self.folder.is_dir():
                self.split = split
        self.images = self.default_images() if images is None else images

    def default_images(self) -> str:
        """Returns the folder of the frames to read if none is given."""
        return self.frames

    def how_to_get(self) -> str:
        """Returns where to get the dataset, as the end of a message; empty if that is not known."""
        known = self.page and self.name in DATASET_FOLDERS
        return f"; get it from {self.page} and put (or link) it there" if known else ""

    @property
    def truth_split(self) -> str:
        """Returns the split whose masks are read: for ``valid_all_frames`` it is ``valid``."""
        return self.split.removesuffix(ALL_FRAMES)

    @property
    def folder(self) -> Path:
        """Returns the split's folder, the root or a part of it, with the masks and usually the images."""
        return self.root / self.part.format(split=self.truth_split)

    @property
    def frames_folder(self) -> Path:
        """Returns the folder with a folder of images for each sequence."""
        return self.folder / self.images

    @property
    def masks_folder(self) -> Path:
        """Returns the folder with a folder of masks for each sequence."""
        found = annotations_folder(self.folder)
        return self.folder / self.masks if found == self.folder else found

    @property
    def result_name(self) -> str:
        """Returns the dataset's name in results, with a suffix for a split of all frames."""
        return self.name + (ALL_FRAMES if self.split.endswith(ALL_FRAMES) else "")

    def truth(self, protocol: Protocol) -> Truth:
        """Returns where the metric finds the split's ground truth."""
        if self.split_folders is not None:
            return Truth(self.root, self.truth_split, protocol)
        leads = annotations_folder(self.folder) == self.masks_folder
        folder = self.folder if leads else self.masks_folder
        return ground_truth(self.root, folder, self.truth_split, protocol)

    @property
    def server(self) -> str:
        """Returns where the split's results are scored; empty if they can be scored here."""
        return self.servers.get(self.truth_split, "")

    def missing(self) -> list[str]:
        """Returns a message for each missing folder, with the remedy."""
        found = []
        if not self.frames_folder.is_dir():
            cures = " or ".join(f"--images {name}" for name in self._other_images())
            cure = f"; to use the frames of another folder, add {cures} (TEST_IMAGES)" if cures else ""
            found.append(self._missing_folder(self.frames_folder, cure))
        if not self.masks_folder.is_dir():
            found.append(self._missing_folder(self.masks_folder))
        return found

    def _missing_folder(self, folder: Path, cure: str = "") -> str:
        remedy = nested_copy(self.root, folder) or cure or self.how_to_get()
        return f"{folder.parent}: there is no folder {folder.name}{remedy}"

    def _other_images(self) -> list[str]:
        """Lists folders that may contain the frames."""
        found = [path for pattern in _IMAGES for path in self.folder.glob(pattern) if path.is_dir()]
        outer = {path.parent for path in found}
        return sorted(str(path.relative_to(self.folder)) for path in found if path not in outer)

    def require(self) -> None:
        """Raises ``DataError`` that lists everything that is missing."""
        if missing := self.missing():
            raise DataError("\n".join(missing))

    def splits(self) -> list[str]:
        """Returns the names of the splits that exist."""
        if self.split_folders is not None:
            lists = ([*(self.root / SPLITS / folder).glob("*.txt")] for folder in self.split_folders)
            return sorted(path.stem for path in next(filter(None, lists), []))
        if "{split}" not in self.part:
            return [self.split]
        pattern = re.escape(self.part).replace(re.escape("{split}"), "(.+)")
        matches = [re.fullmatch(pattern, name) for name in visible_folders(self.root)]
        return [match[1] for match in matches if match and not match[1].endswith(ALL_FRAMES)]

    def of_split(self, split: str) -> "Dataset":
        """Opens another split."""
        options: dict[str, Any] = {"later": self.later, "save_all": self.save_all, "height": self.height}
        return type(self)(self.root, self.name, self._given_images, split, **options)

    def sequences(self) -> list[str]:
        """Returns the names of the split's sequences. Raises ``DataError``."""
        if self.split_folders is not None:
            return read_split(self.root, self.split, self.split_folders)
        if "{split}" in self.part and not self.folder.is_dir():
            known = ", ".join(self.splits()) or "none"
            raise DataError(f"{self.folder}: unknown split {self.split!r}; splits here: {known}")
        if "{split}" not in self.part and self.split != ONLY_SPLIT:
            raise DataError(f"{self.root}: unknown split {self.split!r}: its sequences are in no splits")
        names = visible_folders(self.masks_folder)
        if not names:
            raise DataError(f"{self.masks_folder}: there is no sequence: no folder of masks")
        check_names(names, self.masks_folder)
        return names

    def select(self, wanted: Sequence[str] | None) -> list[str]:
        """Returns the split's sequences, limited to the ``wanted`` ones unless that is None.

        Raises ``DataError`` for an unknown sequence.
        """
        names = self.sequences()
        unknown = sorted(set(wanted or ()) - set(names))
        if unknown:
            raise DataError(
                f"{self.root}: no sequence {', '.join(unknown)} in split {self.split!r}; "
                f"its sequences: {', '.join(names)}"
            )
        return [name for name in names if wanted is None or name in wanted]

    def sequence(self, name: str) -> VideoSequence:
        """Describes a sequence by its frames and masks.

        Raises ``DataError`` if there are none, or if two frames have the same name.
        """
        images = self.list_images(name)
        masks = self.list_masks(name)
        start = self.start(name, images, masks)
        images = images[start:]
        first = images[0].stem
        given = {frame: files for frame, files in masks.items() if self.later and frame > first}
        return VideoSequence(
            name,
            images,
            {**given, first: masks.get(first, (self.masks_folder / name / f"{first}.png",))},
            tuple(path.stem for path in images if self.save_all or self.is_needed(name, path.stem, masks)),
            objects=self.object_folders(name),
            merged=self.merged,
            ignored=self.ignored,
            height=self.height,
        )

    def list_images(self, name: str) -> tuple[Path, ...]:
        """Lists the images of a sequence, in the order of their names. Raises ``DataError``."""
        folder = self.frames_folder / name
        if not folder.is_dir():
            raise DataError(f"{folder}: there is no such sequence folder")
        images = tuple(sorted(path for path in folder.iterdir() if _is_frame(path)))
        if not images:
            raise DataError(f"{folder}: the sequence has no frames ({', '.join(IMAGE_SUFFIXES)})")
        for one, other in pairwise(images):
            if one.stem == other.stem:
                raise DataError(f"{folder}: two images of one frame: {one.name} and {other.name}")
        return images

    def list_masks(self, name: str) -> dict[str, tuple[Path, ...]]:
        """Returns the files of each mask of a sequence by the name of its frame, in order."""
        return {path.stem: (path,) for path in mask_paths(self.masks_folder / name)}

    def start(self, name: str, images: Sequence[Path], masks: Mapping[str, Sequence[Path]]) -> int:
        """Returns the index of the first frame that has a mask. Raises ``DataError`` if none has."""
        for index, path in enumerate(images):
            if path.stem in masks:
                return index
        if not images:
            raise DataError(f"{self.root}: the sequence {name} has no frames")
        if masks:
            frame, files = next(iter(masks.items()))
            first = images[0].stem
            raise DataError(
                f"{files[0]}: no frame has the name of the mask, {frame!r}; the first is {first!r}"
            )
        require_lower_case(self.masks_folder / name)
        raise DataError(f"{self.masks_folder / name}: there is no mask (.png) of any frame")

    def is_needed(self, name: str, frame: str, masks: Mapping[str, Sequence[Path]]) -> bool:
        """Returns whether the metric or the server reads a frame's result."""
        return True

    def object_folders(self, name: str) -> tuple[str, ...]:
        """Lists the folders of a sequence's objects; empty if each mask shows all objects."""
        return ()

    def length(self, name: str) -> int:
        """Counts a sequence's frames; 0 if they cannot be listed."""
        try:
            return len(self.list_images(name))
        except (DataError, OSError):
            return 0


def _is_frame(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
