"""Trains on VOST with clips of 25 frames."""

from aot_plus.configs import pre_vost


class StageConfig(pre_vost.StageConfig):
    """Follows ``pre_vost`` with the longest clips."""

    DATA_SEQ_LEN = 25
