"""DeAOTB: DeAOT with a MobileNetV2 and 3 layers."""

from aot_plus.configs.models.default_deaot import DefaultDeAOTModel


class ModelConfig(DefaultDeAOTModel):
    """The memory bank holds reference frames only, unless a memory gap is set."""

    MODEL_LSTT_NUM = 3
    PRETRAIN_MODEL = "DeAOTB_PRE_YTB_DAV.pth"
