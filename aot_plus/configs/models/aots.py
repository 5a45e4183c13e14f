"""Defines AOTS: AOT+ with a MobileNetV2 and 2 layers."""

from aot_plus.configs.models.default import DefaultModel


class ModelConfig(DefaultModel):
    """Keeps only reference frames in the memory bank, unless a memory gap is set."""

    MODEL_LSTT_NUM = 2
    PRETRAIN_MODEL = "AOTS_PRE_YTB_DAV.pth"
