"""Pre-trains on clips made of static images, from an encoder trained on ImageNet (the AOT recipe)."""

from aot_plus.configs.default import DefaultStage


class StageConfig(DefaultStage):
    """Trains for 100,000 steps; always commits the ground truth, and always merges two clips."""

    DATASETS = ("static",)
    DATA_DYNAMIC_MERGE_PROB = 1.0
    TRAIN_TOTAL_STEPS = 100000
    TRAIN_BATCH_SIZE = 16
    TRAIN_LR = 4e-4
    TRAIN_LR_MIN: float = 2e-5
    TRAIN_WEIGHT_DECAY = 0.03
    TRAIN_SEQ_TRAINING_START_RATIO = 1.0
    TRAIN_AUX_LOSS_RATIO = 0.1
    TRAIN_SAVE_STEP = 5000
    USE_TEMPORAL_POSITIONAL_EMBEDDING: bool = False
    PRETRAIN_MODEL: str = ""
    TEST_DATASET = "davis2017"
