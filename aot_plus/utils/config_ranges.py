"""Defines the allowed config values beyond their types; ``get_config`` checks values from every source."""

import math
from dataclasses import dataclass

from aot_plus.configs import Config
from aot_plus.utils.errors import ConfigError
from aot_plus.utils.paths import leads_outside

__all__ = ["RANGES", "check_relations", "check_value"]

_MANY = 10**9  # steps, frames, pixels: far beyond any use, but values computed from it still fit a number
_SEEDS = 2**32 - 1  # the largest seed that NumPy accepts


@dataclass(frozen=True)
class Range:
    """Holds the bounds of a number, both inclusive; ``above`` excludes the lowest."""

    lowest: float
    highest: float = math.inf
    above: bool = False
    multiple_of: int | None = None

    def has(self, value: float) -> bool:
        """Returns whether a number is in the range; NaN and infinity never are."""
        enough = value > self.lowest if self.above else value >= self.lowest
        within = enough and value <= self.highest and math.isfinite(value)
        return within and (self.multiple_of is None or value % self.multiple_of == 0)

    def __str__(self) -> str:
        parts = ["a finite number" if self.multiple_of is None else f"a multiple of {self.multiple_of}"]
        if self.lowest > -math.inf:
            parts.append(f"{'above' if self.above else 'from'} {self.lowest}")
        if self.highest < math.inf:
            parts.append(f"to {self.highest}")
        return " ".join(parts)


_ANY = Range(-math.inf)
_NOT_NEGATIVE = Range(0)
_POSITIVE = Range(0, above=True)
_SHARE = Range(0, 1)
_COUNT = Range(1, _MANY)
_COUNT_OR_NONE = Range(0, _MANY)
_THREADS = 256  # threads and processes: more would overload the machine

# A tuple's range applies to each of its values. A test checks that every number has a range.
RANGES = {
    "DATA_WORKERS": Range(0, _THREADS),
    "DATA_SEQ_LEN": Range(2, _MANY),
    "DATA_RANDOMCROP": Range(16, 10_000),
    "DATA_RANDOMFLIP": _SHARE,
    "DATA_SHORT_EDGE_LEN": Range(16, 10_000),
    "DATA_MIN_SCALE_FACTOR": Range(0, 10, above=True),
    "DATA_MAX_SCALE_FACTOR": Range(0, 10, above=True),
    "DATA_MAX_CROP_STEPS": _COUNT,
    "DATA_RANDOM_GAP_VOST": _COUNT,
    "DATA_RANDOM_GAP_DAVIS": _COUNT,
    "DATA_RANDOM_GAP_YTB": _COUNT,
    "DATA_DAVIS_REPEAT": Range(1, 100_000),
    "DATA_MIN_OBJ_PIXELS": _COUNT,
    "DATA_DYNAMIC_MERGE_PROB": _SHARE,
    "DATA_MERGE_MIN_OBJ_PIXELS": _COUNT_OR_NONE,
    "DATA_REF_MIN_OBJ_PIXELS": _COUNT_OR_NONE,
    "DATA_REF_MAX_IGNORED_RATIO": _SHARE,
    "DATA_REF_TRIES": _COUNT,
    "DATA_CONSISTENT_TRIES": _COUNT,
    "DATA_MINI_VOST_SEQUENCES": Range(1, 10_000_000),
    "DATA_MINI_VOST_SEED": Range(0, _SEEDS),
    "DATA_MINI_VOST_WIDE": _SHARE,
    "TRAIN_TOTAL_STEPS": _COUNT,
    "TRAIN_BATCH_SIZE": Range(1, 1_000_000),
    "TRAIN_ACCUMULATION_STEPS": Range(1, 1_000_000),
    "TRAIN_SEED": Range(0, _SEEDS),
    "TRAIN_LR": _NOT_NEGATIVE,
    "TRAIN_LR_MIN": _NOT_NEGATIVE,
    "TRAIN_LR_POWER": _NOT_NEGATIVE,
    "TRAIN_LR_ENCODER_RATIO": _NOT_NEGATIVE,
    "TRAIN_LR_WARM_UP_RATIO": _SHARE,
    "TRAIN_WEIGHT_DECAY": _NOT_NEGATIVE,
    "TRAIN_CLIP_GRAD_NORM": _POSITIVE,
    "TRAIN_AUX_LOSS_WEIGHT": _NOT_NEGATIVE,
    "TRAIN_AUX_LOSS_RATIO": _SHARE,
    "TRAIN_TOP_K_PERCENT_PIXELS": Range(0, 1, above=True),
    "TRAIN_HARD_MINING_RATIO": _SHARE,
    "TRAIN_EMA_RATIO": _POSITIVE,
    "TRAIN_SEQ_TRAINING_START_RATIO": _SHARE,
    "TRAIN_SEQ_TRAINING_END_RATIO": _SHARE,
    "TRAIN_SEQ_TRAINING_FINAL_SHARE": _SHARE,
    "TRAIN_ENCODER_FREEZE_AT": _COUNT_OR_NONE,  # at most the encoder's number of stages
    "TRAIN_MAX_BAD_STEPS": _COUNT,
    "TRAIN_LOG_STEP": _COUNT,
    "TRAIN_IMG_LOG": _COUNT_OR_NONE,
    "TRAIN_SAVE_STEP": _COUNT,
    "TRAIN_MAX_KEEP_CKPT": _COUNT,
    "TRAIN_EVAL_STEPS": _COUNT_OR_NONE,
    "TRAIN_EVAL_SEQUENCES": _COUNT,
    "TRAIN_LSTT_DROPPATH": _SHARE,
    "TRAIN_LSTT_EMB_DROPOUT": _SHARE,
    "TRAIN_LSTT_ID_DROPOUT": _SHARE,
    "TRAIN_LONG_TERM_MEM_GAP": _COUNT,
    "TEST_LONG_TERM_MEM_GAP": _COUNT,
    "TEST_MAX_LONG_EDGE": Range(16, 100_000),
    "TEST_MAX_SHORT_EDGE": Range(16, 100_000),
    "TEST_MULTISCALE_MAX_SHORT_EDGE": Range(16, 100_000),
    "TEST_OUTPUT_HEIGHT": Range(16, 100_000),
    "TEST_MULTISCALE": Range(0, 10, above=True),
    "TEST_MEM_GAP_PARTS": _COUNT,
    "TEST_MEM_GAP_MIN": _COUNT,
    "TEST_READERS": Range(1, _THREADS),
    "TEST_WRITERS": Range(1, _THREADS),
    "FORMER_MEM_LEN": Range(1, 1_000_000),
    "LATTER_MEM_LEN": Range(1, 1_000_000),
    "MEM_RELEVANCE_KEEP": _SHARE,
    "MEM_RMEM_EXPLORATION": _ANY,
    "MEM_RMEM_OFFSET": _NOT_NEGATIVE,
    "MEM_RANDOM_SEED": Range(0, _SEEDS),
    "MEM_WRITE_GATE": _SHARE,
    "MEM_SPREAD_KEEP": _SHARE,
    "MEM_SPREAD_POWER": _NOT_NEGATIVE,
    "MEM_READMEM_FLOOR": Range(-1, 1),
    "MEM_EMFS_WEIGHT": _ANY,
    "MEM_EMFS_SLOPE": _ANY,
    "MEM_EMFS_MIDPOINT": _ANY,
    "MODEL_ENCODER_EMBEDDING_DIM": Range(16, 4096, multiple_of=16),  # for the groups of norms, and the heads
    "MODEL_MAX_OBJ_NUM": Range(1, 127),  # training merges the ids of two clips in one mask
    "MODEL_SELF_HEADS": _COUNT,
    "MODEL_ATT_HEADS": _COUNT,
    "MODEL_LSTT_NUM": Range(1, 100),
}
_MAY_BE_EMPTY = ("TRAIN_WEIGHT_DECAY_EXEMPTION", "TRAIN_SEQ_TRAINING_FREEZE_PARAMS")


def check_value(name: str, value: object) -> None:
    """Raises ``ConfigError`` for a value of the right type that is out of range or is not valid text."""
    items = value if isinstance(value, tuple) else (value,)
    if not items and name not in _MAY_BE_EMPTY:
        raise ConfigError(f"{name}: expected one value or more, found none")
    for item in items:
        if isinstance(item, str) and not _is_text(item):
            raise ConfigError(f"{name}: expected text that UTF-8 can hold, without NUL, found {item!r}")
        if name == "EXP_NAME" and leads_outside(str(item)):
            raise ConfigError(f"EXP_NAME: expected a folder's name, found {item!r}")
        if isinstance(item, int | float) and name in RANGES and not RANGES[name].has(item):
            raise ConfigError(f"{name}: expected {RANGES[name]}, found {_number(item)}")


def check_relations(config: Config) -> None:
    """Raises ``ConfigError`` for values that do not fit each other."""
    channels = config.MODEL_ENCODER_EMBEDDING_DIM
    for name in ("MODEL_SELF_HEADS", "MODEL_ATT_HEADS"):
        if config.MODEL_VOS in ("aot", "official_aot") and channels % getattr(config, name):
            raise ConfigError(
                f"{name}: expected a divisor of MODEL_ENCODER_EMBEDDING_DIM, {channels}, "
                f"found {getattr(config, name)}"
            )
    if config.TRAIN_LR < config.TRAIN_LR_MIN:
        raise ConfigError(
            f"TRAIN_LR: expected at least TRAIN_LR_MIN, {config.TRAIN_LR_MIN}, found {config.TRAIN_LR}"
        )
    if config.DATA_MIN_SCALE_FACTOR > config.DATA_MAX_SCALE_FACTOR:
        raise ConfigError(
            f"DATA_MIN_SCALE_FACTOR: expected at most DATA_MAX_SCALE_FACTOR, {config.DATA_MAX_SCALE_FACTOR}, "
            f"found {config.DATA_MIN_SCALE_FACTOR}"
        )


def _is_text(value: str) -> bool:
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:  # a byte of the command line that is not UTF-8
        return False


def _number(value: float) -> str:
    """Formats a number, without the digits of a very long one."""
    return "a number of more than 20 digits" if isinstance(value, int) and abs(value) > 10**20 else str(value)
