"""Holds a stage's values for data, training, testing and memory: the published VOST recipe by default."""

from typing import Literal

DType = Literal["float32", "bfloat16", "float16"]


class DefaultStage:
    """Holds the defaults of every stage.

    A stage is a subclass. It may also set names of the model: the stage's value then wins.
    """

    EXP_NAME: str = "default"
    STAGE_NAME: str = "default"  # name of the stage's file or class; set by get_config

    # Folders, absolute or relative to AOT_PLUS_HOME, else to the checkout's root, else to the working folder.
    DIR_DATA: str = "aot_plus/datasets"
    DIR_RESULT: str = "results"
    DIR_PRETRAIN: str = "aot_plus/pretrain_models"

    # Training data.
    DATASETS: tuple[str, ...] = ("vost",)
    DATA_LAYOUT: str = ""  # layout of the folders among them, as TEST_LAYOUT; empty: VOST's or DAVIS's
    DATA_WORKERS: int = 4  # loader processes per training process; 0: samples load in the training process
    DATA_SEQ_LEN: int = 5  # frames per clip, including the reference frame
    # Pixels (height, width): 16k + 1. Without MODEL_ALIGN_CORNERS: 16k; 16k + 1 is then reduced by 1.
    DATA_RANDOMCROP: tuple[int, int] = (465, 465)
    DATA_RANDOMFLIP: float = 0.5  # probability of a horizontal flip
    DATA_SHORT_EDGE_LEN: int = 480  # pixels, before the random scale
    DATA_MIN_SCALE_FACTOR: float = 0.7
    DATA_MAX_SCALE_FACTOR: float = 1.3
    DATA_MAX_CROP_STEPS: int = 10  # tries for a crop that keeps objects in view
    DATA_BALANCED_CROP: bool = True  # keep all objects in view if possible; False: one is enough
    DATA_MIN_OBJ_PIXELS: int = 1  # objects with fewer pixels in the reference frame become background
    DATA_RANDOM_GAP_VOST: int = 3  # largest gap between neighbouring frames of a clip, in frames
    DATA_RANDOM_GAP_DAVIS: int = 12  # the same for DAVIS
    DATA_RANDOM_GAP_YTB: int = 3  # the same for YouTube-VOS, which has only every fifth frame
    DATA_TURN_BACK: bool = False  # clips turn back at the end of a video; False: they fit into it
    DATA_DAVIS_REPEAT: int = 5  # times that each DAVIS video is drawn in an epoch
    DATA_RANDOM_REVERSE_SEQ: bool = True  # play half of the clips backwards
    DATA_DYNAMIC_MERGE_PROB: float = 0.2  # probability of pasting a second video's objects over the first's
    DATA_MERGE_MIN_OBJ_PIXELS: int = 100  # smaller objects are dropped when two videos are merged
    DATA_REF_MIN_OBJ_PIXELS: int = 200  # a reference frame has more labelled pixels (objects, 255) than this
    DATA_REF_MAX_IGNORED_RATIO: float = 0.2  # largest share of ignored pixels among the labelled ones
    DATA_REF_TRIES: int = 40  # tries to find a reference frame that meets both limits
    DATA_CONSISTENT_TRIES: int = 5  # tries to find a clip whose objects are all in its reference frame
    DATA_SKIP_UNREADABLE: bool = False  # skip a sequence that cannot be read, instead of stopping
    DATA_MINI_VOST_SEQUENCES: int = 20000  # number of MiniVOST training sequences, rendered as needed
    DATA_MINI_VOST_SEED: int = 0  # seed of those sequences
    DATA_MINI_VOST_WIDE: float = 0.75  # share of them that vary more than the ones make_mini_vost writes

    # Training.
    # Training starts from the averaged weights of this stage (same model and EXP_NAME); if it is empty, from
    # PRETRAIN_MODEL or PRETRAIN_ENCODER.
    PRETRAIN_STAGE: str = ""
    TRAIN_MODEL: str = "r50_aotl"  # the model to train if none is named
    TRAIN_TOTAL_STEPS: int = 20000
    TRAIN_BATCH_SIZE: int = 8  # clips per step, over all processes
    TRAIN_ACCUMULATION_STEPS: int = 1  # parts into which each process splits its share of a batch
    TRAIN_SEED: int = 0
    TRAIN_DEVICE: str = "auto"  # a PyTorch device, or auto: CUDA if available
    TRAIN_DTYPE: DType = "float16"  # for automatic mixed precision; float16 uses loss scaling
    TRAIN_TF32: bool | None = None  # CUDA: like TEST_TF32
    TRAIN_CHANNELS_LAST: bool = False  # for convolutions; may be faster in float16 and bfloat16 on CUDA
    TRAIN_CUDA_GRAPH: bool = True  # CUDA: replay a captured step; its memory stays reserved
    TRAIN_COMPILE: bool = False  # torch.compile the whole model; the first steps then take longer
    TRAIN_CHECKPOINT_ACTIVATIONS: bool = False  # recompute activations in backward: less memory, more time
    TRAIN_SYNC_BN: bool = False  # batch statistics over all processes; only used if MODEL_FREEZE_BN is False
    TRAIN_LR: float = 2e-4
    TRAIN_LR_POWER: float = 0.9  # exponent of the polynomial decay
    TRAIN_LR_ENCODER_RATIO: float = 0.1  # encoder: (lr - TRAIN_LR_MIN) * ratio + TRAIN_LR_MIN
    TRAIN_LR_WARM_UP_RATIO: float = 0.05  # share of the steps
    TRAIN_WEIGHT_DECAY: float = 0.07
    TRAIN_WEIGHT_DECAY_EXEMPTION: tuple[str, ...] = (  # parts of names, in addition to biases and norms
        "absolute_pos_embed",
        "relative_position_bias_table",
        "relative_emb_v",
        "conv_out",
    )
    TRAIN_CLIP_GRAD_NORM: float = 5.0
    TRAIN_AUX_LOSS_WEIGHT: float = 1.0  # weight of the reference frame's loss at the first step
    TRAIN_AUX_LOSS_RATIO: float = 1.0  # share of the steps over which this weight falls to 0
    TRAIN_TOP_K_PERCENT_PIXELS: float = 0.15  # final share of pixels in the bootstrapped cross entropy, 0..1
    TRAIN_HARD_MINING_RATIO: float = 0.5  # share of the steps over which that share falls from 1
    TRAIN_EMA_RATIO: float = 0.1  # decay of the weight average: 1 - 1 / (ratio * TRAIN_TOTAL_STEPS)
    # Sequential training: steps that commit predictions to the memory instead of the ground truth. Their
    # share is 0 up to START_RATIO of all steps and rises linearly to FINAL_SHARE at END_RATIO; if END_RATIO
    # is not after START_RATIO, it jumps.
    TRAIN_SEQ_TRAINING_START_RATIO: float = 0.5
    TRAIN_SEQ_TRAINING_END_RATIO: float = 0.5
    TRAIN_SEQ_TRAINING_FINAL_SHARE: float = 1.0
    TRAIN_SEQ_TRAINING_FREEZE_PARAMS: tuple[str, ...] = ("patch_wise_id_bank",)  # parts of names; frozen then
    TRAIN_ID_SHUFFLE: bool = True  # permute the object ids of each sample
    TRAIN_ENCODER_FREEZE_AT: int = 2  # leading encoder stages to freeze; 2: the stem and the first stage
    TRAIN_MAX_BAD_STEPS: int = 20  # the run ends after this many consecutive steps with a non-finite loss
    TRAIN_LOG_STEP: int = 20
    TRAIN_IMG_LOG: int = 500  # steps between pictures of predictions; 0: none
    TRAIN_TBLOG: bool = False  # write TensorBoard files
    TRAIN_SAVE_STEP: int = 500
    TRAIN_MAX_KEEP_CKPT: int = 8
    # Validation: J of the averaged weights on the test set; the best weights are kept as best.pth.
    TRAIN_EVAL_STEPS: int = 0  # steps between validations; 0: none
    TRAIN_EVAL_SEQUENCES: int = 5  # number of sequences of the split, spread over it

    # Testing. The datasets in ``datasets.py`` override some of these.
    TEST_DATASET: str = "vost"
    TEST_DATASET_SPLIT: str = "val"
    TEST_LAYOUT: str = ""  # dataset with the folder's layout, or package.module:ClassName of your own
    TEST_IMAGES: str | None = None  # folder of the frames; None: the layout's (VOST: JPEGImages_10fps)
    TEST_LATER_MASKS: bool = False  # objects that first appear in a later mask are segmented from there
    TEST_SAVE_ALL_FRAMES: bool = False  # also write masks that neither the metric nor a server reads
    TEST_PROTOCOL: str = "vost"  # rules of the metric
    TEST_CKPT_PATH: str | None = None
    TEST_MAX_LONG_EDGE: float = 1040.0  # pixels; larger images are scaled down to it
    TEST_MAX_SHORT_EDGE: float | None = None  # the same limit for the shorter side; applied first
    TEST_MULTISCALE_MAX_SHORT_EDGE: float | None = None  # replaces it if TEST_MULTISCALE is not (1.0,)
    TEST_OUTPUT_HEIGHT: int | None = None  # pixels; masks of taller frames are written at this height
    TEST_MULTISCALE: tuple[float, ...] = (1.0,)
    TEST_FLIP: bool = False  # average with the prediction for the horizontally flipped image
    TEST_DTYPE: DType = "float32"
    # CUDA: compute float32 convolutions and matrix products in TF32, with 10 of 23 mantissa bits. None leaves
    # PyTorch's settings: by default, only convolutions.
    TEST_TF32: bool | None = None
    TEST_DEVICE: str = "auto"  # a PyTorch device, or auto: CUDA if available
    TEST_CUDA_GRAPH: bool = True  # CUDA: replay a captured frame, instead of launching its kernels one by one
    TEST_GPU_IMAGES: bool = False  # decode and resize JPEG on the device: faster, but not bit-identical
    TEST_COMPILE: bool = False  # torch.compile all that predicts; the first frames of a size then take longer
    TEST_TRACK_IGNORED: bool = True  # track 255 in the first mask as one more object, written as 255
    TEST_MEM_GAP_BY_LENGTH: bool = True  # gap = max(round(frames / TEST_MEM_GAP_PARTS), TEST_MEM_GAP_MIN)
    TEST_MEM_GAP_PARTS: int = 30
    TEST_MEM_GAP_MIN: int = 5  # frames
    TEST_READERS: int | None = None  # threads that read frames; None: 2, or with a GPU up to 8 on free cores
    TEST_WRITERS: int | None = None  # threads that write masks; None: like TEST_READERS
    TEST_MEM_TRACE: bool = False  # write the memory policy's decisions as JSON lines

    # Long-term memory bank: capacity FORMER_MEM_LEN + LATTER_MEM_LEN frames.
    FORMER_MEM_LEN: int = 1  # oldest frames that fifo and training keep; other policies keep only references
    LATTER_MEM_LEN: int = 8
    MEM_POLICY: str = "emfs"  # emfs, fifo, spread, ... (memory/policies), or package.module:ClassName
    MEM_WRITE_GATE: float = 0.0  # skip frames predicted below this share of the first frames' quality
    MEM_RELEVANCE_KEEP: float = 0.2  # weight of the old value in the running average of relevance
    MEM_RMEM_EXPLORATION: float = 1.5  # factor of RMem's exploration term
    MEM_RMEM_OFFSET: float = 8.0  # added in that term to an entry's age, in runs of the policy
    MEM_RANDOM_SEED: int = 0  # seed of the policy random
    MEM_SPREAD_KEEP: float = 0.8  # like MEM_RELEVANCE_KEEP, for the policy spread
    MEM_SPREAD_POWER: float = 0.5  # exponent of the relevance in its score; the room in time has 1
    MEM_READMEM_FLOOR: float = 0.5  # readmem stores only frames at least this similar to the first


StageConfig = DefaultStage
