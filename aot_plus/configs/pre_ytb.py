"""Training on YouTube-VOS alone, from what the stage pre gave (the AOT recipe)."""

from aot_plus.configs import pre_ytb_dav


class StageConfig(pre_ytb_dav.StageConfig):
    """``pre_ytb_dav`` without DAVIS."""

    DATASETS = ("youtubevos2019",)
