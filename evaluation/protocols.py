"""Lists the protocols of the metric: what differs between the published tools, as data."""

from dataclasses import dataclass, replace
from typing import Literal

from evaluation.errors import DataError

__all__ = ["PROTOCOLS", "Protocol", "get_protocol"]

_DAVIS_MEASURES = ("J", "F")


@dataclass(frozen=True)
class Protocol:
    """Selects the frames, objects and pixels that count, and the figures. Defaults are those of DAVIS 2017.

    Attributes:
        layout: the way to the ground truth, a name of ``evaluation.layouts``.
        figures: the figures and their files, a name of ``evaluation.figures``.
        split: the set if none is named; None: all sequences that are in both folders.
        split_folders: inside ``ImageSets``, the folders with the lists of sequences; the first that has one.
        skips_first, skips_last: the first (the last) annotated frame does not count.
        objects: ``first``, all ids up to the largest of the first annotation (255 apart); ``scored``, all ids
            (255 too) of the annotations that count; ``listed``, those that a meta file names.
        merges: all objects are one; all ids of the annotation are 1.
        from_occurrence: frames before an object is first annotated or predicted do not count for it.
        refuses_foreign: a prediction with a larger id than the objects' is an error. Else it is background.
        smoothing: is added to the intersection and the union of an object that is in one of the masks.
        measures: of a frame. ``F_new`` is MOSE v2's, whose reach goes by the object's size.
        strict: sequences that only the ground truth or only the predictions have are an error.
    """

    name: str
    layout: Literal["splits", "folders", "lvos", "mosev2", "youtube-vos"] = "splits"
    figures: Literal["vost", "davis", "percent", "lvos", "mosev2", "youtube-vos"] = "davis"
    split: str | None = "val"
    split_folders: tuple[str, ...] = ("2017", "")
    skips_first: bool = True
    skips_last: bool = True
    objects: Literal["first", "scored", "listed"] = "first"
    merges: bool = False
    from_occurrence: bool = False
    refuses_foreign: bool = False
    smoothing: int = 0
    measures: tuple[str, ...] = _DAVIS_MEASURES
    strict: bool = False

    @property
    def ends(self) -> tuple[int, int]:
        """Counts the annotated frames at the start and at the end that do not count."""
        return int(self.skips_first), int(self.skips_last)

    def set_name(self, split: str | None) -> str:
        """Returns the set's name in names of files. ``split``: None for the protocol's own.

        Figures of all frames are in other files than those without the ends.
        """
        name = self.split if split is None else split
        return ("all" if name is None else name) + ("" if any(self.ends) else "_all_frames")


_VOS_BENCHMARK = Protocol(
    "vos-benchmark", "folders", "percent", split=None, objects="scored", from_occurrence=True
)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("vost", figures="vost", split_folders=("",), measures=("J",)),
        Protocol("davis", refuses_foreign=True),
        Protocol("davis2016", split_folders=("2016", "2017", ""), merges=True),
        Protocol("visor", split_folders=("2022", "2017", ""), skips_last=False, refuses_foreign=True),
        _VOS_BENCHMARK,
        replace(_VOS_BENCHMARK, name="sav"),
        Protocol("lvos", "lvos", "lvos", split="valid", objects="listed"),
        Protocol(
            "mosev2",
            "mosev2",
            "mosev2",
            split="valid",
            objects="listed",
            smoothing=1,
            measures=("J", "F_new", "F"),
        ),
        Protocol("youtube-vos", "youtube-vos", "youtube-vos", "valid", skips_last=False, objects="listed"),
    )
}


def get_protocol(name: str, *, all_frames: bool = False, strict: bool = False) -> Protocol:
    """Looks a protocol up by its name. ``all_frames``: the first and the last frame count as well.

    Raises ``DataError`` for an unknown name.
    """
    if name not in PROTOCOLS:
        raise DataError(f"{name!r} is no protocol of the metric; expected one of {', '.join(PROTOCOLS)}")
    protocol = replace(PROTOCOLS[name], strict=strict)
    return replace(protocol, skips_first=False, skips_last=False) if all_frames else protocol
