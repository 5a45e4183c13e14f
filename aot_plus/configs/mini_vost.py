"""Training from scratch on MiniVOST, small enough for two CPU cores."""

from aot_plus.configs import pre_vost


class StageConfig(pre_vost.StageConfig):
    """A VOST stage with short clips and small crops of 192 x 256 videos."""

    DATASETS = ("mini_vost",)
    DATA_WORKERS = 1
    DATA_SEQ_LEN = 6
    DATA_RANDOMCROP = (129, 129)
    DATA_SHORT_EDGE_LEN = 160
    TRAIN_TOTAL_STEPS = 3500
    TRAIN_BATCH_SIZE = 4
    TRAIN_DTYPE = "bfloat16"
    TRAIN_LR = 6e-4
    TRAIN_ENCODER_FREEZE_AT = 0
    PRETRAIN_MODEL: str = ""
    PRETRAIN_ENCODER: str = ""
    TEST_DATASET = "mini_vost"
