"""Holds the values of a model. The defaults are those of AOT+ with a MobileNetV2."""

from typing import Literal


class DefaultModel:
    """Holds the defaults of every model. A stage may set one, and then wins; ``DefaultStage`` sets none."""

    MODEL_NAME: str = "default"  # name of the model's file; set by get_config
    # Network: aot (AOT+), official_aot (the AOT benchmark's), deaot, or package.module:ClassName of your own.
    # The checkpoint decides between the first two.
    MODEL_VOS: str = "aot"
    # mobilenetv2, resnet18, resnet50, resnet101, resnest101, swin_base, timm:NAME, or
    # package.module:ClassName of your own
    MODEL_ENCODER: str = "mobilenetv2"
    MODEL_ENCODER_EMBEDDING_DIM: int = 256  # channels C of the transformer
    MODEL_DECODER_INTERMEDIATE_LSTT: bool = True  # the decoder reads all layers, not only the last
    MODEL_FREEZE_BN: bool = True  # the encoder's batch norm keeps its statistics and affine parameters
    MODEL_MAX_OBJ_NUM: int = 10  # objects per group, M; more objects form more groups
    MODEL_SELF_HEADS: int = 8
    MODEL_ATT_HEADS: int = 8  # heads of the long- and short-term attention
    MODEL_LSTT_NUM: int = 1  # transformer layers L
    MODEL_ALIGN_CORNERS: bool = True  # input sides are 16k + 1; False: 16k
    MODEL_LINEAR_Q: bool = True  # AOT+'s short-term attention reads memory and frame concatenated, not summed
    MODEL_IGNORE_TOKEN: bool = False  # an extra identity channel marks ignored (255) pixels

    USE_TEMPORAL_POSITIONAL_EMBEDDING: bool = False  # learned embedding of the memory frames' rank in time
    TEMPORAL_POSITIONAL_EMBEDDING_SLOT_4: bool = True  # its table has 4 rows; False: 2

    # Colour augmentation. v1: weak, for static images only; v2: stronger, and for videos as well.
    TRAIN_AUG_TYPE: Literal["v1", "v2"] = "v1"
    TRAIN_LONG_TERM_MEM_GAP: int = 9999  # frames between writes to the bank; 9999: reference frames only
    TEST_LONG_TERM_MEM_GAP: int = 9999
    TRAIN_LSTT_DROPPATH: float = 0.1
    TRAIN_LSTT_EMB_DROPOUT: float = 0.0
    TRAIN_LSTT_ID_DROPOUT: float = 0.0
    TRAIN_LR_MIN: float = 2e-5  # 1e-5 for encoders other than MobileNetV2

    # Files in DIR_PRETRAIN, or paths. PRETRAIN_ENCODER is loaded if PRETRAIN_MODEL is empty or has another
    # encoder.
    PRETRAIN_MODEL: str = ""
    PRETRAIN_ENCODER: str = "mobilenet_v2-b0353104.pth"

    # EMFS preset: score = weight * relevance + 1 / (1 + exp(slope * (redundancy - midpoint))).
    MEM_EMFS_WEIGHT: float = 4.0
    MEM_EMFS_SLOPE: float = 10.0
    MEM_EMFS_MIDPOINT: float = 0.40
    # When the running averages start: at the first append that overflows the bank, or at the first append.
    MEM_AVERAGES_START: Literal["overflow", "append"] = "overflow"
