"""Defines the protocols of the metric: the differences between the published tools, as data."""

from dataclasses import dataclass, replace
from typing import Literal

from evaluation.errors import DataError

__all__ = ["PROTOCOLS", "Protocol", "get_protocol"]


@dataclass(frozen=True)
class Protocol:
    """Selects the frames, objects and pixels that count, and the figures. The defaults follow DAVIS 2017.

    Attributes:
        layout: how the ground truth is laid out on disk; see ``evaluation.layouts``.
        figures: the figures and their files, a key of ``evaluation.figures.FIGURE_SETS``.
        split: the default set; None for all sequences that are in both folders.
        split_folders: folders in ``ImageSets`` that may hold the list of sequences; the first match counts.
        skips_first, skips_last: the first (the last) annotated frame does not count.
        objects: ``first``, all ids up to the largest in the first annotation (except 255); ``scored``, all
            ids (including 255) in the annotations that count; ``listed``, the ids that a meta file lists.
        merges: all objects are scored as one; all ids of the annotation become 1.
        from_occurrence: frames before an object is first annotated or predicted do not count for it.
        refuses_foreign: a predicted id above the objects' ids is an error; otherwise it is background.
        smoothing: added to the intersection and the union of an object that is in at least one of the masks.
        measures: measures per frame. ``F_new`` is MOSE v2's F, whose reach depends on the object's size.
        strict: a sequence that only the ground truth or only the predictions have is an error.
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
    measures: tuple[str, ...] = ("J", "F")
    strict: bool = False

    @property
    def ends(self) -> tuple[int, int]:
        """Returns how many annotated frames do not count, at the start and at the end."""
        return int(self.skips_first), int(self.skips_last)

    def set_name(self, split: str | None) -> str:
        """Returns the set's name as used in file names. ``split``: None for the protocol's default.

        With all frames scored, the name ends in ``_all_frames``, so that no other figures are overwritten.
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
    """Looks up a protocol by name. ``all_frames``: the first and the last frame count as well.

    Raises ``DataError`` for an unknown name.
    """
    if name not in PROTOCOLS:
        raise DataError(f"{name!r} is no protocol of the metric; expected one of {', '.join(PROTOCOLS)}")
    protocol = replace(PROTOCOLS[name], strict=strict)
    return replace(protocol, skips_first=False, skips_last=False) if all_frames else protocol
