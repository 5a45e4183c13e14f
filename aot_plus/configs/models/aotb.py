"""Defines AOTB: AOT+ with a MobileNetV2 and 3 layers."""

from aot_plus.configs.models.default import DefaultModel


class ModelConfig(DefaultModel):
    """Keeps only reference frames in the memory bank, unless a memory gap is set."""

    MODEL_LSTT_NUM = 3
    PRETRAIN_MODEL = "AOTB_PRE_YTB_DAV.pth"
