"""Names the known datasets and finds their folders. Needs no installed package: ``eval --help`` uses it."""

from pathlib import Path

from evaluation.errors import DataError
from evaluation.home import home

# The folder of each dataset, by its name in commands. A folder with that name itself is found as well.
DATASET_FOLDERS = {
    "vost": "VOST",
    "mini_vost": "MiniVOST",
    "davis2016": "DAVIS",
    "davis2017": "DAVIS",
    "youtubevos2018": "YTB/2018",
    "youtubevos2019": "YTB/2019",
    "mose_v1": "MOSE_v1",
    "mose_v2": "MOSE_v2",
    "lvos_v1": "LVOS_v1",
    "lvos_v2": "LVOS_v2",
    "long_video": "long_video_set/long_video",
    "long_video_x3": "long_video_set/long_video_x3",
    "visor": "VISOR_2022",
    "sav": "SA-V",
}
# The subfolder that holds a split, for the datasets without lists of sequences in ``ImageSets``.
SPLIT_FOLDERS = {
    "youtubevos2018": "{split}",
    "youtubevos2019": "{split}",
    "mose_v1": "{split}",
    "mose_v2": "{split}",
    "lvos_v1": "{split}",
    "lvos_v2": "{split}",
    "long_video": "",
    "long_video_x3": "",
    "sav": "sav_{split}",
}
OTHER_SPLIT = {"val": "valid", "valid": "val"}  # either name is accepted for the other
_DATA = "aot_plus/datasets"  # relative to ``home``


def dataset_folder(dataset: str) -> Path:
    """Returns the folder of a dataset, given by name or path. Raises ``DataError`` if it does not exist."""
    folder = known_folder(home() / _DATA, dataset) if dataset in DATASET_FOLDERS else Path(dataset)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such dataset folder")
    return folder


def known_folder(data_folder: Path, name: str) -> Path:
    """Returns the folder of the known dataset ``name`` in ``data_folder``; it may be missing."""
    folders = [data_folder / DATASET_FOLDERS[name], data_folder / name]
    return next((folder for folder in folders if folder.is_dir()), folders[0])
