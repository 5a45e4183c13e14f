"""Training on DAVIS alone, from what the stage pre gave (the AOT recipe)."""

from aot_plus.configs import pre_ytb_dav


class StageConfig(pre_ytb_dav.StageConfig):
    """``pre_ytb_dav`` without YouTube-VOS, half as long."""

    DATASETS = ("davis2017",)
    TRAIN_TOTAL_STEPS = 50000
