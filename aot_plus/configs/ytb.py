"""Trains on YouTube-VOS, from an encoder trained on ImageNet, without static images (the AOT recipe)."""

from aot_plus.configs import pre_ytb


class StageConfig(pre_ytb.StageConfig):
    """Follows ``pre_ytb``, but starts from the encoder's weights alone."""

    PRETRAIN_STAGE = ""
    PRETRAIN_MODEL: str = ""
