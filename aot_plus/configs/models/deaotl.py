"""Defines DeAOTL: DeAOT with a MobileNetV2 and 3 layers, and a long-term memory."""

from aot_plus.configs.models.default_deaot import DefaultDeAOTModel


class ModelConfig(DefaultDeAOTModel):
    """Writes to the memory bank at regular gaps."""

    MODEL_LSTT_NUM = 3
    TRAIN_LONG_TERM_MEM_GAP = 2
    TEST_LONG_TERM_MEM_GAP = 5
    PRETRAIN_MODEL = "DeAOTL_PRE_YTB_DAV.pth"
