"""Trains on VOST with clips of 15 frames, from the official checkpoints of the AOT benchmark."""

from typing import Literal

from aot_plus.configs.default import DefaultStage


class StageConfig(DefaultStage):
    """Follows the published VOST recipe; the other VOST stages differ only in the length of the clips."""

    DATA_SEQ_LEN = 15
    MODEL_LINEAR_Q: bool = False
    MODEL_IGNORE_TOKEN: bool = True
    TRAIN_LONG_TERM_MEM_GAP: int = 4
    TRAIN_AUG_TYPE: Literal["v1", "v2"] = "v1"
