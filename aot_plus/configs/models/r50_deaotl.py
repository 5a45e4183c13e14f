"""Defines R50-DeAOTL: DeAOT with a ResNet-50, 3 layers and the temporal embedding."""

from aot_plus.configs.models import deaotl


class ModelConfig(deaotl.ModelConfig):
    """Replaces DeAOTL's encoder."""

    MODEL_ENCODER = "resnet50"
    USE_TEMPORAL_POSITIONAL_EMBEDDING = True
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_MODEL = "R50_DeAOTL_PRE_YTB_DAV.pth"
    PRETRAIN_ENCODER = "resnet50-0676ba61.pth"
