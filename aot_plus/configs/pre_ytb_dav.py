"""The stage of the official AOT-benchmark checkpoints: YouTube-VOS and DAVIS 2017, after ``pre``.

Its own start is a checkpoint of ``pre``, which is named with ``PRETRAIN_MODEL``.
"""

from aot_plus.configs.default import DefaultStage


class StageConfig(DefaultStage):
    """100,000 steps of the AOT recipe."""

    DATASETS = ("youtubevos", "davis2017")
    DATA_DYNAMIC_MERGE_PROB = 0.3
    TRAIN_TOTAL_STEPS = 100000
    TRAIN_BATCH_SIZE = 16
    TRAIN_SAVE_STEP = 5000
    PRETRAIN_MODEL: str = ""
