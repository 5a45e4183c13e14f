"""Defines RS101-AOTL: the AOT benchmark's AOT with a ResNeSt-101 and 3 layers. No checkpoint is published."""

from aot_plus.configs.models import aotl


class ModelConfig(aotl.ModelConfig):
    """Replaces AOTL's encoder."""

    MODEL_VOS = "official_aot"
    MODEL_ENCODER = "resnest101"
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_MODEL = ""
    PRETRAIN_ENCODER = "resnest101-22405ba7.pth"
