"""Defines a small AOT+ that learns from scratch on a CPU: ResNet-18, 128 channels, 2 layers."""

from aot_plus.configs.models.default import DefaultModel


class ModelConfig(DefaultModel):
    """Configures the AOT+ that ships with the project, trained on MiniVOST. Its batch norms train too."""

    MODEL_ENCODER = "resnet18"
    MODEL_ENCODER_EMBEDDING_DIM = 128
    MODEL_FREEZE_BN = False
    MODEL_SELF_HEADS = 4
    MODEL_ATT_HEADS = 4
    MODEL_LSTT_NUM = 2
    USE_TEMPORAL_POSITIONAL_EMBEDDING = True
    TEST_LONG_TERM_MEM_GAP = 5
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_ENCODER = ""
