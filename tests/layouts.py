"""Rewrites a small dataset in VOST's layout in every other layout."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aot_plus.utils.masks import mask_palette, write_mask
from evaluation.datasets import DATASET_FOLDERS
from evaluation.masks import read_mask

FRAMES, MASKS = "JPEGImages_10fps", "Annotations"


def write_layout(name: str, source: Path, data_folder: Path) -> Path:
    """Writes ``source``'s val sequences as dataset ``name`` in ``data_folder``, and returns its root."""
    root = data_folder / DATASET_FOLDERS[name]
    _WRITERS[name.partition("_")[0].rstrip("0123456789")](name, source, root)
    return root


def sequences_of(source: Path) -> list[str]:
    return (source / "ImageSets" / "val.txt").read_text(encoding="utf-8").split()


def add_truth(name: str, source: Path, root: Path) -> None:
    """Adds the ground truth, which only its owner has, where the dataset is published without it."""
    if name.startswith("youtubevos"):
        shutil.copytree(source / MASKS, root / "valid" / MASKS, dirs_exist_ok=True)
    if name.startswith("lvos"):
        _add_lvos_truth(root)
    if name == "mose_v2":
        objects = {folder.name: {"objects": _ids(folder)} for folder in _visible(root / "valid" / MASKS)}
        (root / "valid" / "meta.json").write_text(json.dumps({"videos": objects}), encoding="utf-8")


def _add_lvos_truth(root: Path) -> None:
    """Names frames as LVOS does, annotated frames five apart, and writes its meta file and list."""
    videos = {}
    for folder in _visible(root / "valid" / MASKS):
        number = {}
        for index, path in enumerate(sorted((root / "valid" / "JPEGImages" / folder.name).iterdir())):
            number[path.stem] = 1 + 5 * index // 2
            path.rename(path.with_stem(f"{number[path.stem]:08d}"))
        shown: dict[str, list[int]] = {}
        for path in sorted(folder.iterdir()):
            for one in map(str, set(np.unique(read_mask(path)).tolist()) - {0, 255}):
                shown.setdefault(one, []).append(number[path.stem])
            path.rename(path.with_stem(f"{number[path.stem]:08d}"))
        videos[folder.name] = {"objects": {one: {"frame_range": _range(at)} for one, at in shown.items()}}
    (root / "valid" / "valid_meta.json").write_text(json.dumps({"videos": videos}), encoding="utf-8")
    (root / "unseen_videos.txt").write_text(f"{min(videos)}\n", encoding="utf-8")


def _range(frames: list[int]) -> dict[str, str]:
    first, last = min(frames), max(frames)
    return {"start": f"{first:08d}", "end": f"{last:08d}", "frame_nums": str((last - first) // 5 + 1)}


def _ids(folder: Path) -> list[str]:
    ids = {int(number) for path in folder.iterdir() for number in np.unique(read_mask(path))}
    return [str(number) for number in sorted(ids - {0, 255})]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _copy(source: Path, images: Path, masks: Path) -> None:
    for name in sequences_of(source):
        shutil.copytree(source / FRAMES / name, images / name)
        shutil.copytree(source / MASKS / name, masks / name)


def _list(source: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in sequences_of(source)), encoding="utf-8")


def _vost(name: str, source: Path, root: Path) -> None:
    _copy(source, root / FRAMES, root / MASKS)
    _list(source, root / "ImageSets" / "val.txt")


def _davis(name: str, source: Path, root: Path) -> None:
    _copy(source, root / "JPEGImages" / "480p", root / "Annotations" / "480p")
    year = "2022" if name == "visor" else name.removeprefix("davis")
    _list(source, root / "ImageSets" / year / "val.txt")


def _youtubevos(name: str, source: Path, root: Path) -> None:
    """Writes every second frame to ``valid``, all to ``valid_all_frames``; masks show new objects only."""
    videos = {}
    for video in sequences_of(source):
        shutil.copytree(source / FRAMES / video, root / "valid_all_frames" / "JPEGImages" / video)
        files = sorted((source / MASKS / video).glob("*.png"))
        objects: dict[str, dict[str, list[str]]] = {}
        for index, file in enumerate(files):
            mask = read_mask(file)
            new = [
                number for number in np.unique(mask) if number not in (0, 255) and str(number) not in objects
            ]
            for number in new:
                objects[str(number)] = {"frames": [later.stem for later in files[index:]]}
            if new:
                shown = np.where(np.isin(mask, new), mask, 0).astype(np.uint8)
                write_mask(root / "valid" / "Annotations" / video / file.name, shown, mask_palette(file))
            image = next((source / FRAMES / video).glob(f"{file.stem}.*"))
            (root / "valid" / "JPEGImages" / video).mkdir(parents=True, exist_ok=True)
            shutil.copy(image, root / "valid" / "JPEGImages" / video)
        videos[video] = {"objects": objects}
    (root / "valid" / "meta.json").write_text(json.dumps({"videos": videos}), encoding="utf-8")


def _parts(name: str, source: Path, root: Path) -> None:
    _copy(source, root / "valid" / "JPEGImages", root / "valid" / "Annotations")


def _folders(name: str, source: Path, root: Path) -> None:
    _copy(source, root / "JPEGImages", root / "Annotations")


def _sav(name: str, source: Path, root: Path) -> None:
    """Writes one folder for each object, starting with 000 for id 1."""
    for video in sequences_of(source):
        shutil.copytree(source / FRAMES / video, root / "sav_val" / "JPEGImages_24fps" / video)
        files = sorted((source / MASKS / video).glob("*.png"))
        for number in range(1, len(set(np.unique(read_mask(files[0])).tolist()) - {0, 255}) + 1):
            folder = root / "sav_val" / "Annotations_6fps" / video / f"{number - 1:03d}"
            for file in files:
                write_mask(folder / file.name, (read_mask(file) == number).astype(np.uint8))
    _list(source, root / "sav_val" / "sav_val.txt")


_WRITERS: dict[str, Callable[[str, Path, Path], None]] = {
    "vost": _vost,
    "mini": _vost,
    "davis": _davis,
    "visor": _davis,
    "youtubevos": _youtubevos,
    "mose": _parts,
    "lvos": _parts,
    "long": _folders,
    "sav": _sav,
}
