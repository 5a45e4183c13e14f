"""Defines AOTT: AOT+ with a MobileNetV2 and 1 layer."""

from aot_plus.configs.models.default import DefaultModel


class ModelConfig(DefaultModel):
    """Keeps only reference frames in the memory bank, unless a memory gap is set."""

    PRETRAIN_MODEL = "AOTT_PRE_YTB_DAV.pth"
