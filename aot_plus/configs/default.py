"""Holds a stage's values for data, training, testing and memory: the published VOST recipe by default."""

from typing import Literal

DType = Literal["float32", "bfloat16", "float16"]


class DefaultStage:
    """Holds the defaults of every stage. A stage subclasses it; one that sets a name of the model wins."""

    EXP_NAME: str = "default"
    STAGE_NAME: str = "default"  # name of the stage's file or class; set by get_config

    # Folders, absolute or relative to AOT_PLUS_HOME, else the checkout's root, else the working folder.
    DIR_DATA: str = "aot_plus/datasets"
    DIR_RESULT: str = "results"
    DIR_PRETRAIN: str = "aot_plus/pretrain_models"

    # Training data.
    DATASETS: tuple[str, ...] = ("vost",)
    DATA_WORKERS: int = 4  # processes that load samples for one training process; 0: it loads them itself
    DATA_SEQ_LEN: int = 5  # frames of a clip, the reference included
    DATA_RANDOMCROP: tuple[int, int] = (465, 465)  # pixels (height, width): 16k + 1, or the 16k below it
    DATA_RANDOMFLIP: float = 0.5  # probability of a horizontal flip
    DATA_SHORT_EDGE_LEN: int = 480  # pixels, before the random scale
    DATA_MIN_SCALE_FACTOR: float = 0.7
    DATA_MAX_SCALE_FACTOR: float = 1.3
    DATA_MAX_CROP_STEPS: int = 10  # tries for a crop that keeps objects in view
    DATA_BALANCED_CROP: bool = True  # it keeps all objects, as far as possible; without it, one is enough
    DATA_MIN_OBJ_PIXELS: int = 1  # objects with fewer in a clip's reference frame are background
    DATA_RANDOM_GAP_VOST: int = 3  # largest distance of neighbouring frames of a clip, in frames
    DATA_RANDOM_GAP_DAVIS: int = 12  # the same in clips of DAVIS
    DATA_RANDOM_GAP_YTB: int = 3  # and in clips of YouTube-VOS, which has every fifth frame of its videos
    DATA_TURN_BACK: bool = False  # clips that reach a video's end turn back; without it, they fit
    DATA_DAVIS_REPEAT: int = 5  # how often each of DAVIS's videos comes in an epoch
    DATA_RANDOM_REVERSE_SEQ: bool = True  # play half of the clips backwards
    DATA_DYNAMIC_MERGE_PROB: float = 0.2  # probability of pasting a second video's objects over the first's
    DATA_MERGE_MIN_OBJ_PIXELS: int = 100  # smaller objects are dropped when two videos are merged
    DATA_REF_MIN_OBJ_PIXELS: int = 200  # a reference shows more labelled pixels (objects, 255) than this
    DATA_REF_MAX_IGNORED_RATIO: float = 0.2  # ignored pixels of a reference, as a share of the labelled ones
    DATA_REF_TRIES: int = 40  # tries for such a reference frame
    DATA_CONSISTENT_TRIES: int = 5  # tries for a clip whose objects are all in its reference frame
    DATA_SKIP_UNREADABLE: bool = False  # leave out a sequence that cannot be read, instead of stopping
    DATA_MINI_VOST_SEQUENCES: int = 20000  # MiniVOST train sequences that clips come from, drawn as needed
    DATA_MINI_VOST_SEED: int = 0  # of those sequences
    DATA_MINI_VOST_WIDE: float = 0.75  # share of them that vary more than those that make_mini_vost writes

    # Training.
    # A stage whose averaged weights, of the same model and EXP_NAME, are the start; empty: PRETRAIN_MODEL or
    # PRETRAIN_ENCODER is.
    PRETRAIN_STAGE: str = ""
    TRAIN_MODEL: str = "r50_aotl"  # the model of this stage where none is named
    TRAIN_TOTAL_STEPS: int = 20000
    TRAIN_BATCH_SIZE: int = 8  # clips of a step, over all processes
    TRAIN_ACCUMULATION_STEPS: int = 1  # parts in which a process works through its share of a batch
    TRAIN_SEED: int = 0
    TRAIN_DEVICE: str = "auto"  # a device of PyTorch, or auto: CUDA when there is one
    TRAIN_DTYPE: DType = "float16"  # of automatic mixed precision; float16 scales the loss
    TRAIN_TF32: bool | None = None  # CUDA: as TEST_TF32
    TRAIN_CHANNELS_LAST: bool = False  # of convolutions; may pay in float16 and bfloat16 on CUDA
    TRAIN_CUDA_GRAPH: bool = True  # CUDA: repeat a recorded step; its memory stays reserved
    TRAIN_COMPILE: bool = False  # torch.compile for all of the model; the first steps then wait
    TRAIN_CHECKPOINT_ACTIVATIONS: bool = False  # recompute them in the backward pass: less memory, more time
    TRAIN_SYNC_BN: bool = False  # batch statistics over all processes; only where MODEL_FREEZE_BN is off
    TRAIN_LR: float = 2e-4
    TRAIN_LR_POWER: float = 0.9  # of the polynomial decay
    TRAIN_LR_ENCODER_RATIO: float = 0.1  # encoder: (lr - TRAIN_LR_MIN) * ratio + TRAIN_LR_MIN
    TRAIN_LR_WARM_UP_RATIO: float = 0.05  # share of the steps
    TRAIN_WEIGHT_DECAY: float = 0.07
    TRAIN_WEIGHT_DECAY_EXEMPTION: tuple[str, ...] = (  # parts of names, besides biases and norms
        "absolute_pos_embed",
        "relative_position_bias_table",
        "relative_emb_v",
        "conv_out",
    )
    TRAIN_CLIP_GRAD_NORM: float = 5.0
    TRAIN_AUX_LOSS_WEIGHT: float = 1.0  # of the reference frame's loss, at the first step
    TRAIN_AUX_LOSS_RATIO: float = 1.0  # share of the steps over which that weight falls to 0
    TRAIN_TOP_K_PERCENT_PIXELS: float = 0.15  # final share of pixels in the bootstrapped cross entropy, 0..1
    TRAIN_HARD_MINING_RATIO: float = 0.5  # share of the steps over which that share falls from 1
    TRAIN_EMA_RATIO: float = 0.1  # decay of the weight average: 1 - 1 / (ratio * TRAIN_TOTAL_STEPS)
    # Sequential training: steps that commit predictions to the memory, not the ground truth; their share is 0
    # up to START_RATIO of the steps and rises linearly to FINAL_SHARE at END_RATIO (not after it: a jump).
    TRAIN_SEQ_TRAINING_START_RATIO: float = 0.5
    TRAIN_SEQ_TRAINING_END_RATIO: float = 0.5
    TRAIN_SEQ_TRAINING_FINAL_SHARE: float = 1.0
    TRAIN_SEQ_TRAINING_FREEZE_PARAMS: tuple[str, ...] = ("patch_wise_id_bank",)  # parts of names; frozen then
    TRAIN_ID_SHUFFLE: bool = True  # permute the object ids of each sample
    TRAIN_ENCODER_FREEZE_AT: int = 2  # frozen leading stages of the encoder; 2: the stem and the first stage
    TRAIN_MAX_BAD_STEPS: int = 20  # steps in a row with a loss that is not finite that end the run
    TRAIN_LOG_STEP: int = 20
    TRAIN_IMG_LOG: int = 500  # steps from one picture of predictions to the next; 0: none
    TRAIN_TBLOG: bool = False  # write TensorBoard files
    TRAIN_SAVE_STEP: int = 500
    TRAIN_MAX_KEEP_CKPT: int = 8
    # Validation: J of the averaged weights on the test set; those of the best one are kept as best.pth.
    TRAIN_EVAL_STEPS: int = 0  # steps from one validation to the next; 0: none
    TRAIN_EVAL_SEQUENCES: int = 5  # number of sequences of the split, spread over it

    # Testing. A data set of ``datasets.py`` has values of its own for some of these.
    TEST_DATASET: str = "vost"
    TEST_DATASET_SPLIT: str = "val"
    TEST_LAYOUT: str = ""  # the data set whose layout a folder has, or package.module:ClassName of your own
    TEST_IMAGES: str | None = None  # folder of the frames; None: the layout's, VOST's JPEGImages_10fps
    TEST_LATER_MASKS: bool = False  # objects that a later mask shows first start at it
    TEST_SAVE_ALL_FRAMES: bool = False  # write the masks that neither metric nor server reads as well
    TEST_PROTOCOL: str = "vost"  # of the metric
    TEST_CKPT_PATH: str | None = None
    TEST_MAX_LONG_EDGE: float = 1040.0  # pixels; longer images are scaled down to it
    TEST_MAX_SHORT_EDGE: float | None = None  # the same limit for the shorter side; applied first
    TEST_MULTISCALE_MAX_SHORT_EDGE: float | None = None  # replaces it where TEST_MULTISCALE is not (1.0,)
    TEST_OUTPUT_HEIGHT: int | None = None  # pixels; masks of higher frames are written at that height
    TEST_MULTISCALE: tuple[float, ...] = (1.0,)
    TEST_FLIP: bool = False  # average with the horizontally flipped image's prediction
    TEST_DTYPE: DType = "float32"
    TEST_TF32: bool | None = None  # CUDA: 10 bits of float32's 23 in products; None: as PyTorch, convolutions
    TEST_DEVICE: str = "auto"  # a device of PyTorch, or auto: CUDA when there is one
    TEST_CUDA_GRAPH: bool = True  # CUDA: repeat a recorded frame, instead of launching its parts one by one
    TEST_GPU_IMAGES: bool = False  # decode and resize JPEG on the device: faster, not equal to the last bit
    TEST_COMPILE: bool = False  # torch.compile for all that predicts; the first frames of a size then wait
    TEST_TRACK_IGNORED: bool = True  # follow the first mask's 255 as one more object, written as 255
    TEST_MEM_GAP_BY_LENGTH: bool = True  # gap = max(round(frames / TEST_MEM_GAP_PARTS), TEST_MEM_GAP_MIN)
    TEST_MEM_GAP_PARTS: int = 30
    TEST_MEM_GAP_MIN: int = 5  # frames
    TEST_READERS: int | None = None  # threads that read frames; None: 2, beside a GPU up to 8 on free cores
    TEST_WRITERS: int | None = None  # threads that write masks; None: as for TEST_READERS
    TEST_MEM_TRACE: bool = False  # write the memory policy's decisions as JSON lines

    # Long-term memory bank: capacity FORMER_MEM_LEN + LATTER_MEM_LEN frames.
    FORMER_MEM_LEN: int = 1  # oldest frames that fifo and training keep; other policies keep references only
    LATTER_MEM_LEN: int = 8
    MEM_POLICY: str = "emfs"  # a name of memory/policies (emfs, fifo, spread, ...), or one of your own
    MEM_WRITE_GATE: float = 0.0  # frames predicted below this share of the first ones' quality: not stored
    MEM_RELEVANCE_KEEP: float = 0.2  # weight of the old value in the running average of relevance
    MEM_RMEM_EXPLORATION: float = 1.5  # factor of RMem's exploration term
    MEM_RMEM_OFFSET: float = 8.0  # added, in that term, to the policy's runs since the frame entered the bank
    MEM_RANDOM_SEED: int = 0  # of the policy random
    MEM_SPREAD_KEEP: float = 0.8  # as MEM_RELEVANCE_KEEP, of the policy spread
    MEM_SPREAD_POWER: float = 0.5  # of the relevance in its score; the room in time has 1
    MEM_READMEM_FLOOR: float = 0.5  # least similarity to the first frame of those that readmem stores


StageConfig = DefaultStage
