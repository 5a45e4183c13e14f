"""Trains on YouTube-VOS and DAVIS, from the weights of the stage pre (the AOT recipe)."""

from aot_plus.configs.default import DefaultStage


class StageConfig(DefaultStage):
    """Trains for 100,000 steps.

    With encoders larger than ResNet-50, the checkpoint of step 80,000 is better.
    """

    DATASETS: tuple[str, ...] = ("youtubevos2019", "davis2017")
    DATA_TURN_BACK = True
    DATA_MAX_CROP_STEPS = 5
    DATA_BALANCED_CROP = False
    DATA_MIN_OBJ_PIXELS = 101
    DATA_REF_TRIES = 20
    DATA_REF_MAX_IGNORED_RATIO = 1.0
    DATA_DYNAMIC_MERGE_PROB = 0.3
    TRAIN_TOTAL_STEPS = 100000
    TRAIN_BATCH_SIZE = 16
    TRAIN_SAVE_STEP = 5000
    USE_TEMPORAL_POSITIONAL_EMBEDDING: bool = False
    PRETRAIN_STAGE = "pre"
    TEST_DATASET = "davis2017"
