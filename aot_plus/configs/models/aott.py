"""AOTT: AOT+ with a MobileNetV2 and 1 layer."""

from aot_plus.configs.models.default import DefaultModel


class ModelConfig(DefaultModel):
    """The memory bank holds reference frames only, unless a memory gap is set."""

    PRETRAIN_MODEL = "AOTT_PRE_YTB_DAV.pth"
