"""Defines the layouts of known datasets. Each overrides attributes or methods of ``Dataset``."""

import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.utils.errors import DataError
from aot_plus.utils.sources import VOST, how_to_get
from evaluation.datasets import SPLIT_FOLDERS
from evaluation.layouts import meta_path, read_videos
from evaluation.masks import IGNORE_ID, MOST_OBJECTS
from evaluation.protocols import PROTOCOLS
from evaluation.vost import ANNOTATIONS, mask_paths, read_names, visible_folders

__all__ = ["LAYOUTS", "VOSTDataset"]


class Folders(Dataset):
    """Reads any folder in DAVIS's layout: ``JPEGImages[/480p]``, ``Annotations[/480p]``."""

    ignored: ClassVar[int | None] = None

    @property
    def frames_folder(self) -> Path:
        """Returns the folder with a folder of images for each sequence."""
        at_480p = self.folder / self.images / "480p"
        return at_480p if at_480p.is_dir() else self.folder / self.images


class VOSTDataset(Dataset):
    """Reads VOST: ``JPEGImages_10fps``, ``Annotations``, ``ImageSets/<split>.txt``; frame 0 has a mask.

    The frames at 5 fps, which all have masks, are in ``JPEGImages``.
    """

    layout_name = "VOST"
    frames = "JPEGImages_10fps"
    frames_at_5fps = "JPEGImages"
    split_folders = PROTOCOLS["vost"].split_folders
    page = VOST.page
    servers: ClassVar = {"test": VOST.page}

    def default_images(self) -> str:
        """Returns the folder at 10 fps or, except for val, at 5 fps if no sequence of the split has 10 fps.

        VOST's archive has frames at 10 fps for val only.
        """
        if self.split == "val" or not (self.root / self.frames_at_5fps).is_dir():
            return self.frames
        try:
            names = self.sequences()
        except DataError:  # raised again, with its message, when the list is read
            return self.frames
        is_at_10fps = not set(names).isdisjoint(visible_folders(self.root / self.frames))
        return self.frames if is_at_10fps else self.frames_at_5fps

    def how_to_get(self) -> str:
        """Returns where to get VOST, or how to make MiniVOST, as the end of a message."""
        vost = f"; {how_to_get('vost')}. Or put (or link) it there"
        made = f"; python -m aot_plus make-mini-vost --output {shlex.quote(str(self.root))} makes it"
        return {"vost": vost, "mini_vost": made}.get(self.name, "")

    @property
    def server(self) -> str:
        """Returns where VOST's own test split is scored; empty for other data in VOST's layout."""
        return super().server if self.name == "vost" else ""

    def start(self, name: str, images: Sequence[Path], masks: Mapping[str, Sequence[Path]]) -> int:
        """Returns 0: a sequence begins with its first frame, which must have a mask."""
        return 0


class Davis2017(Dataset):
    """Reads DAVIS 2017: ``JPEGImages/480p``, ``Annotations/480p``, ``ImageSets/2017/<split>.txt``."""

    frames = "JPEGImages/480p"
    split_folders = PROTOCOLS["davis"].split_folders
    page = "https://davischallenge.org"
    servers: ClassVar = dict.fromkeys(
        ("test-dev", "test-challenge"), "the DAVIS 2017 server (https://davischallenge.org)"
    )

    @property
    def masks_folder(self) -> Path:
        """Returns the folder of the masks at 480p, or those at full resolution if there are no others."""
        full = self.root / ANNOTATIONS / "Full-Resolution"
        at_480p = super().masks_folder
        return full if at_480p == full.parent and full.is_dir() else at_480p


class Davis2016(Davis2017):
    """Reads DAVIS 2016: laid out as DAVIS 2017, with its own lists; all objects are merged into one."""

    split_folders = PROTOCOLS["davis2016"].split_folders
    merged = True
    servers: ClassVar = {}


class VISOR(Davis2017):
    """Reads VISOR as converted by its official script: ``ImageSets/2022/<split>.txt``.

    VISOR is published as polygons, which the script fills.
    """

    split_folders = PROTOCOLS["visor"].split_folders
    page = "https://epic-kitchens.github.io/VISOR"
    servers: ClassVar = {}
    zip_folder = None

    def how_to_get(self) -> str:
        """Returns where to get VISOR, and which script makes its masks, as the end of a message."""
        script = "make masks of it with visor_to_davis.py of https://github.com/epic-kitchens/VISOR-VOS"
        return f"; get it from {self.page}, {script}, and put (or link) them there"


class YouTubeVOS(Dataset):
    """Reads YouTube-VOS: ``<split>/JPEGImages``, ``<split>/Annotations``, ``<split>/meta.json``.

    The images of the split ``valid_all_frames`` are in ``valid_all_frames/JPEGImages``, everything else is
    in ``valid``. Results are needed for the frames that the meta file names.
    """

    part = SPLIT_FOLDERS["youtubevos2019"]
    page = "https://youtube-vos.org"
    servers: ClassVar = dict.fromkeys(("valid", "test"), "the YouTube-VOS server (https://youtube-vos.org)")
    zip_folder = "Annotations"

    @property
    def frames_folder(self) -> Path:
        """Returns the folder with a folder of images for each sequence."""
        return self.root / self.split / self.images

    @property
    def videos(self) -> Mapping[str, Any]:
        """Returns what the meta file says about each sequence. Raises ``DataError``."""
        path = meta_path(self.root, self.truth_split)
        return _read_videos(path, path.stat().st_mtime_ns if path.is_file() else 0)

    def missing(self) -> list[str]:
        """Returns a message for each missing folder, and for the meta file, with the remedy."""
        found = super().missing()
        if not meta_path(self.root, self.truth_split).is_file():
            found.append(f"{self.folder}: there is no file meta.json, which the split's archive contains")
        return found

    def sequences(self) -> list[str]:
        """Returns the sequences that the meta file names. Raises ``DataError``."""
        return sorted(self.videos)

    def list_images(self, name: str) -> tuple[Path, ...]:
        """Lists the images from the first to the last frame of the meta file. Raises ``DataError``."""
        named = self._named(name)
        images = super().list_images(name)
        return tuple(path for path in images if min(named) <= path.stem <= max(named))

    def is_needed(self, name: str, frame: str, masks: Mapping[str, Sequence[Path]]) -> bool:
        """Returns whether the meta file names the frame."""
        return frame in self._named(name)

    def frames_of_objects(self, name: str) -> list[frozenset[str]]:
        """Returns the names of each object's frames in the meta file. Raises ``DataError``."""
        try:
            return [frozenset(one["frames"]) for one in self.videos[name]["objects"].values()]
        except (KeyError, TypeError, AttributeError) as error:
            raise self._without_frames(name, f" ({error!r})") from error

    def _named(self, name: str) -> frozenset[str]:
        """Returns the names of all objects' frames in the meta file. Raises ``DataError``."""
        named = frozenset[str]().union(*self.frames_of_objects(name))
        if not named or not all(isinstance(frame, str) for frame in named):
            raise self._without_frames(name)
        return named

    def _without_frames(self, name: str, reason: str = "") -> DataError:
        path = meta_path(self.root, self.truth_split)
        return DataError(f"{path}: {name}: expected objects with names of frames{reason}")


@cache
def _read_videos(path: Path, _: int) -> Mapping[str, Any]:
    """Reads a meta file, which may be large, and caches it until it changes. Raises ``DataError``."""
    return read_videos(path)


class MOSE(Dataset):
    """Reads MOSE: ``<split>/JPEGImages`` or ``JPEGImages/<split>``, and ``Annotations`` likewise."""

    part = SPLIT_FOLDERS["mose_v2"]
    page = "https://mose.video"
    servers: ClassVar = {"valid": "the MOSE server (https://mose.video)"}

    @property
    def folder(self) -> Path:
        """Returns the folder of the split's images and masks."""
        within = super().folder
        outside = self.root / self.frames / self.truth_split
        return self.root if outside.is_dir() and not within.is_dir() else within

    @property
    def frames_folder(self) -> Path:
        """Returns the folder with a folder of images for each sequence."""
        return self._split_of(super().frames_folder)

    @property
    def masks_folder(self) -> Path:
        """Returns the folder with a folder of masks for each sequence."""
        return self._split_of(super().masks_folder)

    def _split_of(self, folder: Path) -> Path:
        return folder / self.truth_split if self.folder == self.root else folder


class LVOS(Dataset):
    """Reads LVOS: ``<split>/JPEGImages``, ``<split>/Annotations``, ``<split>/<split>_meta.json``."""

    part = SPLIT_FOLDERS["lvos_v2"]
    page = "https://lingyihongfd.github.io/lvos.github.io"
    servers: ClassVar = {"test": "the LVOS server (https://lingyihongfd.github.io/lvos.github.io)"}
    zip_folder = "Annotations"


class LongVideo(Folders):
    """Reads Long-time Video; results are needed for annotated frames."""

    ignored = IGNORE_ID
    page = "https://github.com/xmlyqing00/AFB-URR"

    def is_needed(self, name: str, frame: str, masks: Mapping[str, Sequence[Path]]) -> bool:
        """Returns whether the frame has a mask."""
        return frame in masks


class SAV(Dataset):
    """Reads SA-V: ``sav_<split>/JPEGImages_24fps``, and masks of every fourth frame, one folder per object.

    Objects may overlap in the data, but never in results: the network predicts one label per pixel.
    """

    frames = "JPEGImages_24fps"
    masks = "Annotations_6fps"
    part = SPLIT_FOLDERS["sav"]
    page = "https://ai.meta.com/datasets/segment-anything-video"

    def sequences(self) -> list[str]:
        """Returns the names in the split's list; all sequences if there is no list. Raises ``DataError``."""
        path = self.folder / f"{self.folder.name}.txt"
        return read_names(path) if path.is_file() else super().sequences()

    def object_folders(self, name: str) -> tuple[str, ...]:
        """Lists the folders of a sequence's objects. Raises ``DataError`` if there are too many."""
        folders = visible_folders(self.masks_folder / name)
        if len(folders) > MOST_OBJECTS:
            raise DataError(f"{self.masks_folder / name}: {len(folders)} objects, at most {MOST_OBJECTS}")
        return tuple(folders)

    def list_masks(self, name: str) -> dict[str, tuple[Path, ...]]:
        """Returns the files of each mask of a sequence by the name of its frame, in order."""
        found: dict[str, list[Path]] = {}
        for folder in visible_folders(self.masks_folder / name):
            for path in mask_paths(self.masks_folder / name / folder):
                found.setdefault(path.stem, []).append(path)
        return {frame: tuple(files) for frame, files in sorted(found.items())}

    def is_needed(self, name: str, frame: str, masks: Mapping[str, Sequence[Path]]) -> bool:
        """Returns whether the frame has a mask."""
        return frame in masks


LAYOUTS: dict[str, type[Dataset]] = {
    "vost": VOSTDataset,
    "mini_vost": VOSTDataset,
    "davis2016": Davis2016,
    "davis2017": Davis2017,
    "youtubevos2018": YouTubeVOS,
    "youtubevos2019": YouTubeVOS,
    "mose_v1": MOSE,
    "mose_v2": MOSE,
    "lvos_v1": LVOS,
    "lvos_v2": LVOS,
    "long_video": LongVideo,
    "long_video_x3": LongVideo,
    "visor": VISOR,
    "sav": SAV,
    "folders": Folders,
}
