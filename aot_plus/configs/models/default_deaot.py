"""Holds the values that all DeAOT models share."""

from aot_plus.configs.models.default import DefaultModel


class DefaultDeAOTModel(DefaultModel):
    """Configures DeAOT with a MobileNetV2: one head, the decoder reads the last layer, own EMFS preset."""

    MODEL_VOS = "deaot"
    MODEL_DECODER_INTERMEDIATE_LSTT = False
    MODEL_SELF_HEADS = 1
    MODEL_ATT_HEADS = 1

    TRAIN_AUG_TYPE = "v2"

    MEM_EMFS_WEIGHT = 2.0
    MEM_EMFS_SLOPE = 7.0
    MEM_EMFS_MIDPOINT = 0.25
    MEM_AVERAGES_START = "append"
