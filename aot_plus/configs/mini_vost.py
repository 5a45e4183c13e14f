"""Trains from scratch on MiniVOST, small enough for two CPU cores."""

from aot_plus.configs import pre_vost


class StageConfig(pre_vost.StageConfig):
    """Changes the VOST stage to short clips and small crops of 192 x 256 videos."""

    DATASETS = ("mini_vost",)
    DATA_WORKERS = 1
    DATA_SEQ_LEN = 6
    DATA_RANDOMCROP = (129, 129)
    DATA_SHORT_EDGE_LEN = 176
    DATA_RANDOM_GAP_VOST = 7
    TRAIN_MODEL = "aot_mini"
    TRAIN_TOTAL_STEPS = 3000
    TRAIN_BATCH_SIZE = 4
    TRAIN_DTYPE = "float32"  # in bfloat16, a step takes over a minute on a CPU without support for it
    TRAIN_LR = 6e-4
    TRAIN_LR_ENCODER_RATIO = 1.0
    TRAIN_ENCODER_FREEZE_AT = 0
    # To learn to correct drift: predictions are committed early, and the identity bank keeps learning.
    TRAIN_SEQ_TRAINING_START_RATIO = 0.1
    TRAIN_SEQ_TRAINING_END_RATIO = 0.5
    TRAIN_SEQ_TRAINING_FINAL_SHARE = 0.85
    TRAIN_SEQ_TRAINING_FREEZE_PARAMS = ()
    # With this gap, a clip fills more than the four slots of the temporal embedding, as videos do.
    TRAIN_LONG_TERM_MEM_GAP: int = 1
    PRETRAIN_MODEL: str = ""
    PRETRAIN_ENCODER: str = ""
    TEST_DATASET = "mini_vost"
