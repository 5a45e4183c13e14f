"""Opens a dataset by name or path."""

from pathlib import Path

from aot_plus.configs import Config
from aot_plus.configs.datasets import DATASETS
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.layouts import LAYOUTS, VOSTDataset
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.own_classes import import_class
from aot_plus.utils.paths import find_path
from evaluation.datasets import DATASET_FOLDERS, known_folder
from evaluation.home import home
from evaluation.vost import SPLITS, visible_folders

__all__ = ["find_layout", "open_configured", "open_dataset"]


def open_dataset(
    name: str,
    data_folder: Path,
    images: str | None = None,
    split: str = "val",
    layout: str = "",
    key: str = "TEST_LAYOUT",
) -> Dataset:
    """Opens a known dataset in ``data_folder``, or the one at the path ``name``.

    Args:
        name: one of ``DATASET_FOLDERS``, or a folder.
        data_folder: the folder that holds known datasets.
        images: the folder of the frames; None for the layout's default.
        split: the split to read; another is opened with ``Dataset.of_split``.
        layout: a layout's name or class, as in ``TEST_LAYOUT``; empty for that of a known dataset, or to
            detect it.
        key: the config value that names the layout, for messages.

    Raises:
        DataError: there is no such folder, or its layout is not known.
        ConfigError: there is no such layout or class.
    """
    root, called, cls = _find(name, data_folder, layout, key)
    later = getattr(DATASETS.get(layout or name, Config), "TEST_LATER_MASKS", False)
    return cls(root, called, images, split, later=later)


def open_configured(cfg: Config) -> Dataset:
    """Opens ``TEST_DATASET`` with the config's settings. Raises the same errors as ``open_dataset``."""
    root, called, cls = _find(cfg.TEST_DATASET, home() / cfg.DIR_DATA, cfg.TEST_LAYOUT)
    return cls(
        root,
        called,
        cfg.TEST_IMAGES,
        cfg.TEST_DATASET_SPLIT,
        later=cfg.TEST_LATER_MASKS,
        save_all=cfg.TEST_SAVE_ALL_FRAMES,
        height=cfg.TEST_OUTPUT_HEIGHT,
    )


def _find(
    name: str, data_folder: Path, layout: str, key: str = "TEST_LAYOUT"
) -> tuple[Path, str, type[Dataset]]:
    """Finds a dataset's folder, its name in results, and its layout."""
    if name in DATASET_FOLDERS:
        return known_folder(data_folder, name), name, _layout_class(layout or name, key)
    root = find_path(name)
    if root is None or not root.is_dir():
        known = ", ".join(DATASET_FOLDERS)
        raise DataError(f"{name}: neither a known dataset ({known}) nor a folder")
    return root, root.resolve().name.lower(), _layout_class(layout or find_layout(root), key)


def _layout_class(layout: str, key: str) -> type[Dataset]:
    """Returns a layout's class. Raises ``ConfigError`` if there is none."""
    if layout in LAYOUTS:
        return LAYOUTS[layout]
    if ":" not in layout:
        known = ", ".join(LAYOUTS)
        raise ConfigError(f"{key}: expected one of {known}, or package.module:ClassName, found {layout!r}")
    own = import_class(layout, key)
    if not issubclass(own, Dataset):
        raise ConfigError(f"{key}: expected a subclass of {Dataset.__module__}.Dataset, found {own!r}")
    return own


def find_layout(root: Path) -> str:
    """Detects a folder's layout from its contents: ``vost``, ``davis2017`` or ``folders``.

    Raises ``DataError`` if it is none of them.
    """
    in_480p = (root / "JPEGImages" / "480p").is_dir()
    if (root / VOSTDataset.frames).is_dir():
        return "vost"
    if (root / SPLITS / "2017").is_dir() or (in_480p and (root / SPLITS).is_dir()):
        return "davis2017"
    if (root / SPLITS).is_dir():
        return "vost"
    if (root / "JPEGImages").is_dir():
        return "folders"
    inner = [root / name for name in visible_folders(root) if (root / name / "JPEGImages").is_dir()]
    nested = f"; did you mean {', '.join(map(str, inner))}?" if inner else "."
    raise DataError(
        f"{root}: not a dataset in VOST's layout: there is no folder {SPLITS}; nor in DAVIS's: there is no "
        f"folder JPEGImages{nested} For another layout, set --layout (DATA_LAYOUT in training) to one of "
        f"{', '.join(LAYOUTS)}, or your own"
    )
