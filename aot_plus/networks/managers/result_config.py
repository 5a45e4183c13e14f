"""The config beside a result folder's masks, so that results of two configs never mix unnoticed."""

from collections.abc import Collection
from pathlib import Path

from aot_plus.configs import Config
from aot_plus.networks.managers.summary import SUMMARY_FILE
from aot_plus.utils.config import CONFIG_FILE, config_differences, save_config
from aot_plus.utils.errors import ConfigError
from evaluation.results import remove_results

# Names, and beginnings of names, that cannot change a mask.
_IRRELEVANT = frozenset(
    {
        "EXP_NAME",
        "STAGE_NAME",
        "DATASETS",
        "TEST_DATASET_SPLIT",
        "TEST_DEVICE",
        "TEST_WRITERS",
        "TEST_MEM_TRACE",
        *("DATA_", "DIR_", "TRAIN_"),
    }
)


def claim_result_folder(
    cfg: Config, result_dir: Path, sequences: Collection[str], *, overwrite: bool
) -> None:
    """Puts the config into the folder; with ``overwrite`` removes the figures and the summary of old masks.

    Raises ``ConfigError`` with the names that differ if the folder holds results of another config that would
    stay: those of any sequence, or with ``overwrite`` of a sequence that is not in ``sequences``.
    """
    path = result_dir / CONFIG_FILE
    replaced = frozenset(sequences) if overwrite else frozenset()
    finished = _finished(result_dir)
    if finished and not path.is_file():  # it may be a dataset, and must not lose anything
        raise ConfigError(
            f"{result_dir}: not a result folder: it holds {finished[0]}, ... but no {CONFIG_FILE}"
        )
    kept = [name for name in finished if name not in replaced]
    if kept:
        differences = config_differences(path, cfg, _IRRELEVANT)
        if differences:
            raise ConfigError(
                f"{path}: {len(kept)} sequences there ({kept[0]}, ...) were made with another config: "
                f"{'; '.join(differences)}. Choose another result folder, or overwrite all of them"
            )
    if overwrite:
        remove_results(result_dir)
        (result_dir / SUMMARY_FILE).unlink(missing_ok=True)
    save_config(cfg, path)


def _finished(result_dir: Path) -> list[str]:
    """Returns the names of the folders with masks."""
    return sorted(
        folder.name
        for folder in result_dir.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.name != "traces"
    )
