"""Trains on VOST with clips of 17 frames: the stage of the published table."""

from aot_plus.configs import pre_vost


class StageConfig(pre_vost.StageConfig):
    """Follows ``pre_vost`` with longer clips."""

    DATA_SEQ_LEN = 17
