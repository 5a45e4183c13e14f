"""AOTS: AOT+ with a MobileNetV2 and 2 layers."""

from aot_plus.configs.models.default import DefaultModel


class ModelConfig(DefaultModel):
    """The memory bank holds reference frames only, unless a memory gap is set."""

    MODEL_LSTT_NUM = 2
    PRETRAIN_MODEL = "AOTS_PRE_YTB_DAV.pth"
