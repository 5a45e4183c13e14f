"""Defines the kinds of findings, with their severity and their effect on a run; formats the report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from textwrap import wrap

_LINES_PER_KIND = 8  # one for each place
_EFFECT_WIDTH = 100  # columns


class Severity(Enum):
    """Ranks findings; the value is a heading in the report."""

    ERROR = "Errors: they break inference, metric or training"
    WARNING = "Warnings: runs finish, the numbers may not mean what you think"
    NOTE = "Notes"


@dataclass(frozen=True)
class Kind:
    """Describes a kind of finding: its title, and the ``effect`` it has on the pipeline."""

    severity: Severity
    title: str
    effect: str


@dataclass(frozen=True)
class Finding:
    """Holds one finding. ``place``: the sequence, or a split's file. ``detail``: what was found there."""

    kind: Kind
    place: str
    detail: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_FAILS = (
    "Inference skips the sequence, finishes the others and ends with exit code 1; the metric then stops "
    "because its masks are missing. Training stops when it draws the sequence, or leaves it out with "
    "DATA_SKIP_UNREADABLE."
)

FOLDER_MISSING = Kind(
    _E,
    "a folder or file is missing",
    "Inference, metric and training stop. If another folder has all frames, name it with --images.",
)
NOTHING_TO_CHECK = Kind(
    _E, "no sequence to check", "Inference, metric and training stop: there is no sequence to work on."
)
SPLIT_UNREADABLE = Kind(
    _E, "a split file cannot be read", "Inference, metric and training with this split stop."
)
SPLIT_BAD_NAME = Kind(
    _E,
    "a split file holds a name that no folder can have",
    "Inference, metric and training with this split stop.",
)
SPLIT_TWICE = Kind(
    _E, "a split names a sequence twice", "Inference, metric and training with this split stop."
)
SPLIT_WORDS = Kind(
    _E,
    "a line of a split has several words",
    "The whole line is taken as the name of one sequence, and there is no such folder.",
)
SPLIT_EMPTY = Kind(_W, "a split is empty", "Inference, metric and training with this split stop.")
SPLITS_OVERLAP = Kind(
    _W,
    "a sequence is in several splits",
    "Each split is used as it is, so results on one split are partly results on data of the other.",
)
SEQUENCES_MISSING = Kind(
    _E,
    "sequences of a split have no folder",
    "Inference skips them, and the metric then stops. The archive may be unpacked only in part, or belong to "
    "another split or version: unpack it again, or remove the names from the split's list.",
)
FRAMES_BROKEN = Kind(_E, "the frames cannot be listed", _FAILS)
NO_ANNOTATIONS = Kind(
    _E,
    "there is no annotation",
    "Inference skips the sequence; the metric stops for the whole split; training stops when it draws the "
    "sequence.",
)
FEW_ANNOTATIONS = Kind(
    _E,
    "there are fewer than 3 annotations",
    "The metric stops for the whole split, because it does not score the first and the last. Inference needs "
    "only the first frame's.",
)
FIRST_NOT_ANNOTATED = Kind(
    _E,
    "the first frame has no annotation",
    "Inference has no objects to follow and skips the sequence; the metric then stops. Training uses the "
    "annotated frames.",
)
FIRST_MASK_WITHOUT_FRAME = Kind(
    _E,
    "the first annotation has no frame",
    "Inference would begin with a later mask, which the metric would score, because it leaves out the first "
    "annotation instead. So an evaluation stops at once. Training ignores the annotation.",
)
MASK_WITHOUT_FRAME = Kind(
    _E,
    "an annotation has no frame",
    "Inference would write no mask of that name, but the metric needs one, so an evaluation stops at once. "
    "Training ignores the annotation.",
)
LAST_MASK_WITHOUT_FRAME = Kind(
    _W,
    "the last annotation has no frame",
    "The metric does not score the last annotation. Inference and training ignore it.",
)
IMAGE_UNREADABLE = Kind(_E, "an image cannot be read", _FAILS)
IMAGE_SIZE = Kind(
    _E,
    "an image differs in size from the first frame",
    "Inference skips the sequence; the metric then stops. Training stops at a clip with both sizes.",
)
MASK_UNREADABLE = Kind(
    _E,
    "a mask cannot be read",
    "The metric stops, and so does training when it draws the mask. Inference reads only the first frame's "
    "mask; if that is the unreadable one, it skips the sequence.",
)
MASK_UPPER_CASE = Kind(
    _E,
    "the name of a mask does not end in .png in lower case",
    "The metric stops. Inference and training do not find the mask.",
)
MASK_SIZE = Kind(
    _E,
    "a mask differs in size from the frames",
    "The metric stops (predictions have the size of the frames), and so does training when it draws the "
    "mask. If it is the first frame's, inference skips the sequence.",
)
LAST_MASK = Kind(
    _W,
    "the last annotation cannot be read, or differs in size from the frames",
    "Inference and metric do not read it; training stops when it draws the mask.",
)
FIRST_MASK_EMPTY = Kind(
    _E,
    "the first mask has no object",
    "Inference skips the sequence, the metric stops. Ids 1..254 are objects; 0 is background, 255 is "
    "ignored: a mask of 0 and 255 must be written as 0 and 1.",
)
ID_GAPS = Kind(
    _W,
    "the first mask's ids have gaps",
    "The metric scores every id from 1 to the largest; an id that never occurs scores 1 in every frame and "
    "raises the means. Inference and training renumber the ids and are not affected.",
)
LATE_IDS = Kind(
    _W,
    "ids appear after the first mask",
    "Inference does not know about them. The metric ignores those above the first annotation's largest id "
    "and counts those below it as missed. Training makes them background in clips that begin without them.",
)
NO_REFERENCE = Kind(
    _W,
    "no mask may begin a training clip",
    "Training skips the sequence: with the usual config, a clip's first mask must show more than 200 pixels, "
    "at most 20 % of them ignored. Inference and metric are not affected.",
)
FRAME_ORDER = Kind(
    _W,
    "frames in the order of their names are not in the order of their numbers",
    "Frames are always read in the order of their names, so this video is read out of order. Write the "
    "numbers with leading zeros.",
)
IGNORED_IN_FIRST = Kind(
    _N,
    "the first mask has ignored pixels (255)",
    "Inference follows them as one more object and writes them as 255, as the published evaluation does "
    "(TEST_TRACK_IGNORED); the metric reads 255 as background.",
)
MUCH_IGNORED = Kind(
    _N,
    "masks with more than 20 % of their labelled pixels ignored",
    "The metric reads 255 as background in annotations and predictions. Training does not begin clips with "
    "these masks.",
)
MANY_OBJECTS = Kind(
    _N,
    "more than 10 objects in the first mask",
    "Inference follows them in groups of ten, each with its own memory, which is slower. Training keeps a "
    "random ten. If the video has fewer objects, the mask may have soft edges.",
)
GREY_MASK = Kind(_N, "grey masks", "Their values are read as ids. Results are written with DAVIS's palette.")
OTHER_PALETTE = Kind(
    _N,
    "masks with another palette than DAVIS's and VOST's",
    "Their indices are read as ids, their colours are ignored. Results have the first mask's palette.",
)
OTHER_FILES = Kind(
    _N, "other files among frames or masks", "Nothing reads them: frames are .jpg, .jpeg, .png, masks .png."
)
FRAME_NOT_ANNOTATED = Kind(
    _N,
    "frames of JPEGImages without annotation",
    "In VOST, every frame of JPEGImages has one. Inference gives them masks if they are in "
    "JPEGImages_10fps; the metric does not score them, training has no labels for them.",
)
FRAME_NOT_AT_10FPS = Kind(
    _N,
    "frames of JPEGImages that JPEGImages_10fps lacks",
    "They are not used, except with --images JPEGImages.",
)
NO_JPEGIMAGES = Kind(
    _N,
    "there is no folder JPEGImages",
    "VOST has one. It is read with --images JPEGImages, and for train and test if they lack 10 fps.",
)
MASKS_WITHHELD = Kind(
    _N,
    "VOST's test split is not checked: it has no masks",
    "VOST's archive does not contain them: inference has no objects to follow, and the metric has nothing to "
    "compare with. To check the split all the same, use --split test.",
)
UNLISTED = Kind(_N, "sequences that no split names", "Nothing uses them.")
VOST_COUNTS = Kind(
    _N,
    "not as many sequences as VOST has",
    "The pipeline uses the sequences in the split, but only results on the whole split are comparable with "
    "published ones.",
)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Returns True if any finding would break a run."""
    return any(finding.kind.severity is Severity.ERROR for finding in findings)


def format_findings(findings: Sequence[Finding]) -> str:
    """Formats the findings by severity and kind, one line per place; long lists are cut, with a count."""
    blocks = []
    for severity in Severity:
        kinds = dict.fromkeys(finding.kind for finding in findings if finding.kind.severity is severity)
        if kinds:
            parts = [severity.value, *(_format_kind(kind, findings) for kind in kinds)]
            blocks.append("\n".join(parts))
    return "\n\n".join(blocks)


def _format_kind(kind: Kind, findings: Sequence[Finding]) -> str:
    places: dict[str, list[str]] = {}
    for finding in findings:
        if finding.kind == kind:
            places.setdefault(finding.place, []).append(finding.detail)
    lines = [f"  * {kind.title} ({sum(map(len, places.values()))})"]
    lines += [f"    {line}" for line in wrap(kind.effect, _EFFECT_WIDTH)]
    for place, details in list(places.items())[:_LINES_PER_KIND]:
        more = f" (and {len(details) - 1} more there)" if len(details) > 1 else ""
        lines.append(f"      {place}: {details[0]}{more}")
    if len(places) > _LINES_PER_KIND:
        rest = list(places.values())[_LINES_PER_KIND:]
        lines.append(f"      ... and {sum(map(len, rest))} more in {len(rest)} others")
    return "\n".join(lines)
