"""A training small enough for the tests: a narrow two-layer AOT+ on videos of moving squares."""

from pathlib import Path
from typing import Any

from aot_plus.configs import Config
from aot_plus.utils.config import config_to_dict, get_config

TINY: dict[str, Any] = {
    "MODEL_ENCODER_EMBEDDING_DIM": 32,
    "MODEL_LSTT_NUM": 1,
    "DATA_WORKERS": 0,
    "DATA_RANDOMCROP": (49, 49),
    "DATA_SHORT_EDGE_LEN": 64,
    "DATA_SEQ_LEN": 3,
    "TRAIN_LONG_TERM_MEM_GAP": 1,
    "TRAIN_BATCH_SIZE": 2,
    "TRAIN_TOTAL_STEPS": 6,
    "TRAIN_SAVE_STEP": 2,
    "TRAIN_LOG_STEP": 1,
    "TRAIN_IMG_LOG": 0,
    "TRAIN_DTYPE": "float32",
    "TRAIN_DEVICE": "cpu",
    "TRAIN_SEQ_TRAINING_START_RATIO": 0.5,
    "TRAIN_SEQ_TRAINING_END_RATIO": 0.5,
    "TRAIN_SEQ_TRAINING_FINAL_SHARE": 1.0,
}


def tiny_config(dataset: Path, **values: Any) -> Config:
    """Returns the config of a tiny training on a dataset written by ``tests.train_videos.write_dataset``."""
    return get_config("mini_vost", "aot_mini", overrides={"DATASETS": (str(dataset),), **TINY, **values})


def as_flags(cfg: Config) -> list[str]:
    """Returns the same config as flags for ``aot_plus.tools.train``."""
    names = [name for name in config_to_dict(cfg) if name not in ("STAGE_NAME", "MODEL_NAME", "EXP_NAME")]
    values = [f"{name}={getattr(cfg, name)}" for name in names]
    return [
        "--stage",
        cfg.STAGE_NAME,
        "--model",
        cfg.MODEL_NAME,
        "--exp_name",
        cfg.EXP_NAME,
        "--set",
        *values,
    ]
