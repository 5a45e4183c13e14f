"""Packs the zip file for a dataset's evaluation server."""

import zipfile
from pathlib import Path

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.pipeline.run import Job
from aot_plus.utils.errors import ConfigError, DataError
from evaluation.files import replacing

__all__ = ["check_zip", "write_zip"]


def check_zip(job: Job) -> Dataset:
    """Returns the dataset. Raises ``ConfigError`` if its server takes no masks, or for part of a split."""
    dataset = job.open_dataset()
    if dataset.zip_folder is None:
        taken = f"the server of {dataset.name} takes polygons in a JSON file, not masks"
        raise ConfigError(f"--zip: {taken}; docs/data.md names a script that makes them")
    if job.sequences is not None:
        raise ConfigError("--zip: a server takes the masks of all sequences; leave out --sequences")
    return dataset


def write_zip(job: Job) -> Path:
    """Packs the masks of a split as its server expects them; returns the path, in the result folder.

    Raises ``DataError`` if a mask is missing, and like ``check_zip``.
    """
    dataset = check_zip(job)
    dataset.save_all = False  # other masks are not for the server
    folder = f"{dataset.zip_folder}/" if dataset.zip_folder else ""
    path = job.folder / f"{dataset.split}.zip"
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,  # PNG files are already compressed
    ):
        for name in dataset.sequences():
            for file in dataset.sequence(name).files():
                source = job.folder / name / file
                if not source.is_file():
                    raise DataError(f"{source}: there is no such mask; --zip needs all of the split")
                # ZipInfo's default time is fixed: the same masks give the same file.
                archive.writestr(zipfile.ZipInfo(f"{folder}{name}/{file}"), source.read_bytes())
    return path
