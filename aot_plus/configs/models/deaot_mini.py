"""Defines a small DeAOT that learns from scratch on a CPU: ResNet-18, 128 channels, 2 layers."""

from aot_plus.configs.models.default_deaot import DefaultDeAOTModel


class ModelConfig(DefaultDeAOTModel):
    """Configures the DeAOT that ships with the project, trained on MiniVOST. Its batch norms train too."""

    MODEL_ENCODER = "resnet18"
    MODEL_ENCODER_EMBEDDING_DIM = 128
    MODEL_FREEZE_BN = False
    MODEL_LSTT_NUM = 2
    USE_TEMPORAL_POSITIONAL_EMBEDDING = True
    TEST_LONG_TERM_MEM_GAP = 5
    TRAIN_LR_MIN = 1e-5
    PRETRAIN_ENCODER = ""
