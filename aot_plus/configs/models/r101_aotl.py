"""Defines R101-AOTL: AOT+ with a ResNet-101 and 3 layers. No checkpoint is published."""

from aot_plus.configs.models import aotl


class ModelConfig(aotl.ModelConfig):
    """Replaces AOTL's encoder."""

    MODEL_ENCODER = "resnet101"
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_MODEL = ""
    PRETRAIN_ENCODER = "resnet101-63fe2227.pth"
