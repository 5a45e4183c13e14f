"""Trains on YouTube-VOS alone, from the weights of the stage pre (the AOT recipe)."""

from aot_plus.configs import pre_ytb_dav


class StageConfig(pre_ytb_dav.StageConfig):
    """Follows ``pre_ytb_dav`` without DAVIS."""

    DATASETS = ("youtubevos2019",)
