"""Defines DeAOTT: DeAOT with a MobileNetV2 and 1 layer."""

from aot_plus.configs.models.default_deaot import DefaultDeAOTModel


class ModelConfig(DefaultDeAOTModel):
    """Keeps only reference frames in the memory bank, unless a memory gap is set."""

    PRETRAIN_MODEL = "DeAOTT_PRE_YTB_DAV.pth"
