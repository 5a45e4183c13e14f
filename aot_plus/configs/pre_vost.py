"""Trains on VOST from the official AOT-benchmark checkpoints, clips of 15 frames."""

from typing import Literal

from aot_plus.configs.default import DefaultStage


class StageConfig(DefaultStage):
    """Follows the published VOST recipe; the other VOST stages differ in the length of the clips."""

    DATA_SEQ_LEN = 15
    MODEL_LINEAR_Q: bool = False
    MODEL_IGNORE_TOKEN: bool = True
    TRAIN_LONG_TERM_MEM_GAP: int = 4
    TRAIN_AUG_TYPE: Literal["v1", "v2"] = "v1"
