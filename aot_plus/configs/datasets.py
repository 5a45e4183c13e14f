"""Holds each dataset's values for its published evaluation; the others are VOST's, in ``DefaultStage``."""


class VOST:
    """Keeps the values of ``DefaultStage``."""


class AOTBenchmark:
    """Follows the AOT benchmark's rules, unlike VOST: the memory gap is the model's, and 255 is no object."""

    TEST_MEM_GAP_BY_LENGTH = False
    TEST_TRACK_IGNORED = False


class Davis2017(AOTBenchmark):
    """Writes masks 480 pixels high, even for frames from ``JPEGImages/Full-Resolution``."""

    TEST_PROTOCOL = "davis"
    TEST_OUTPUT_HEIGHT = 480
    TEST_MULTISCALE_MAX_SHORT_EDGE = 624.0


class Davis2016(Davis2017):
    """Merges all objects into one."""

    TEST_PROTOCOL = "davis2016"


class YouTubeVOS(AOTBenchmark):
    """Allows objects that appear later; writes only the frames listed in ``meta.json``."""

    TEST_DATASET_SPLIT = "valid"
    TEST_PROTOCOL = "youtube-vos"
    TEST_LATER_MASKS = True
    TEST_MULTISCALE_MAX_SHORT_EDGE = 624.0


class MOSE(AOTBenchmark):
    """Limits the shorter side to 480 pixels."""

    TEST_DATASET_SPLIT = "valid"
    TEST_PROTOCOL = "davis"
    TEST_MAX_SHORT_EDGE = 480.0


class MOSEv2(MOSE):
    """Follows ``MOSE``, but has its own metric."""

    TEST_PROTOCOL = "mosev2"


class LVOS(AOTBenchmark):
    """Allows objects that appear later; limits the shorter side to 480 pixels."""

    TEST_DATASET_SPLIT = "valid"
    TEST_PROTOCOL = "lvos"
    TEST_LATER_MASKS = True
    TEST_MAX_SHORT_EDGE = 480.0


class LongVideo(AOTBenchmark):
    """Writes only the annotated frames."""

    TEST_PROTOCOL = "davis"


class VISOR(AOTBenchmark):
    """Expects frames prepared at 854 x 480."""

    TEST_PROTOCOL = "visor"


class SAV(AOTBenchmark):
    """Writes only every fourth frame, which is annotated."""

    TEST_PROTOCOL = "sav"


class Folders(AOTBenchmark):
    """Reads any folder of frames and masks; 255 is an object like any other."""

    TEST_PROTOCOL = "vos-benchmark"
    TEST_TRACK_IGNORED = True


DATASETS: dict[str, type] = {
    "vost": VOST,
    "mini_vost": VOST,
    "davis2016": Davis2016,
    "davis2017": Davis2017,
    "youtubevos2018": YouTubeVOS,
    "youtubevos2019": YouTubeVOS,
    "mose_v1": MOSE,
    "mose_v2": MOSEv2,
    "lvos_v1": LVOS,
    "lvos_v2": LVOS,
    "long_video": LongVideo,
    "long_video_x3": LongVideo,
    "visor": VISOR,
    "sav": SAV,
    "folders": Folders,
}
