"""Trains on DAVIS alone, from the weights of the stage pre (the AOT recipe)."""

from aot_plus.configs import pre_ytb_dav


class StageConfig(pre_ytb_dav.StageConfig):
    """Follows ``pre_ytb_dav`` without YouTube-VOS, half as long."""

    DATASETS = ("davis2017",)
    TRAIN_TOTAL_STEPS = 50000
