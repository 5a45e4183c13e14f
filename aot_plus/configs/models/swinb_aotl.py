"""Defines SwinB-AOTL: the AOT benchmark's AOT with a Swin-B and 3 layers."""

from aot_plus.configs.models import aotl


class ModelConfig(aotl.ModelConfig):
    """Replaces AOTL's encoder; input sides are 16k."""

    MODEL_VOS = "official_aot"
    MODEL_ENCODER = "swin_base"
    MODEL_ALIGN_CORNERS = False
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_MODEL = "SwinB_AOTL_PRE_YTB_DAV.pth"
    PRETRAIN_ENCODER = "swin_base_patch4_window7_224_22k.pth"
