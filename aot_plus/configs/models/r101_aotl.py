"""R101-AOTL: AOT+ with a ResNet-101 and 3 layers."""

from aot_plus.configs.models import aotl


class ModelConfig(aotl.ModelConfig):
    """AOTL with another encoder."""

    MODEL_ENCODER = "resnet101"
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_MODEL = "R101_AOTL_PRE_YTB_DAV.pth"
    PRETRAIN_ENCODER = "resnet101-63fe2227.pth"
