"""Measures masks, and checks the objects in a sequence's masks."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aot_plus.configs import Config
from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.dataset_check import findings as kinds
from aot_plus.dataloaders.dataset_check.findings import Finding, Kind
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import davis_palette
from aot_plus.utils.words import format_list
from evaluation.masks import IGNORE_ID, MOST_OBJECTS, open_image, read_mask

_PALETTE = np.array(davis_palette(), dtype=np.uint8).reshape(256, 3)


@dataclass(frozen=True)
class MaskFacts:
    """Holds facts about a mask: its file name, size (H, W), object ids, and pixel counts.

    ``labelled`` counts the pixels that are not 0, ``ignored`` those that are 255.
    """

    name: str
    size: tuple[int, int]
    ids: frozenset[int]
    labelled: int
    ignored: int
    grey: bool
    vost_palette: bool

    @property
    def largest(self) -> int:
        """Returns the largest object id; 0 if there are no objects."""
        return max(self.ids, default=0)

    @property
    def much_ignored(self) -> bool:
        """Returns whether too many labelled pixels are ignored for a training clip to begin with the mask."""
        return self.ignored > Config.DATA_REF_MAX_IGNORED_RATIO * self.labelled

    @property
    def may_begin_clip(self) -> bool:
        """Returns whether a training clip may begin with the mask (``ClipRules``' rule, without torch)."""
        return self.labelled > Config.DATA_REF_MIN_OBJ_PIXELS and not self.much_ignored


def read_facts(path: Path, *, binary: bool = False) -> MaskFacts:
    """Reads a mask. Raises ``DataError`` as the pipeline would.

    For a mask with more than 8 bits, the message adds its largest id. ``binary``: as for ``read_mask``.
    """
    try:
        mask = read_mask(path, binary=binary)
    except DataError as error:
        raise DataError(f"{error}{_wide_ids(path)}") from error
    height, width = mask.shape
    counts = np.bincount(mask.ravel(), minlength=IGNORE_ID + 1)
    present = np.flatnonzero(counts[:IGNORE_ID])
    with open_image(path, "a mask") as image:
        grey, palette = image.mode in ("L", "1"), image.getpalette("RGB") or []
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours.ravel()[: len(palette)] = palette
    return MaskFacts(
        name=path.name,
        size=(height, width),
        ids=frozenset(present[present > 0].tolist()),
        labelled=int(mask.size - counts[0]),
        ignored=int(counts[IGNORE_ID]),
        grey=grey,
        vost_palette=bool((colours[present] == _PALETTE[present]).all()),
    )


def _wide_ids(path: Path) -> str:
    """Describes the largest id of a mask with more than 8 bits, as the end of a message; else empty."""
    with suppress(DataError), open_image(path, "a mask") as image:
        if image.mode.startswith("I"):
            largest = int(np.array(image).max(initial=0))
            return f"; its largest id is {largest}, objects may have 1..{MOST_OBJECTS}"
    return ""


def check_objects(
    dataset: Dataset, sequence: str, masks: Sequence[MaskFacts | None], first_frame: str | None
) -> list[Finding]:
    """Checks the ids, palettes and ignored pixels of a sequence's masks (None: unreadable).

    Masks must suit training clips in the split train, and in all splits in VOST's layout.

    ``first_frame``: the name of the first frame, without suffix. Inference takes its objects from that
    frame's mask, the metric from the first annotation; in a valid dataset, they are the same.
    """
    readable = [mask for mask in masks if mask is not None]
    given = next((mask for mask in readable if Path(mask.name).stem == first_frame), None)
    counted = masks[0] if masks else None
    found: list[tuple[Kind, str]] = []
    if not dataset.merged:
        for mask in dict.fromkeys(mask for mask in (given, counted) if mask is not None):
            found += _check_first(mask, ignores=dataset.ignored is not None)
        if given is not None and given.ids and not dataset.later:
            found += _check_late(given, readable)
    if isinstance(dataset, VOSTDataset) or dataset.truth_split == "train":
        found += _check_training(readable)
    found += _check_colours(readable)
    return [Finding(kind, sequence, detail) for kind, detail in found]


def _check_first(mask: MaskFacts, *, ignores: bool) -> list[tuple[Kind, str]]:
    """Checks the first mask. ``ignores``: whether 255 is ignored, not an object."""
    found = []
    if not mask.ids and (ignores or not mask.ignored):
        shown = "only 255 (and background)" if mask.ignored else "only background"
        return [(kinds.FIRST_MASK_EMPTY, f"{mask.name}: {shown}")]
    gaps = [str(number) for number in range(1, mask.largest) if number not in mask.ids]
    if gaps:
        found.append((kinds.ID_GAPS, f"{mask.name}: ids up to {mask.largest} without {format_list(gaps, 5)}"))
    if len(mask.ids) > Config.MODEL_MAX_OBJ_NUM:
        found.append((kinds.MANY_OBJECTS, f"{mask.name}: {len(mask.ids)} objects"))
    if mask.ignored and ignores:
        share = mask.ignored / (mask.size[0] * mask.size[1])
        found.append((kinds.IGNORED_IN_FIRST, f"{mask.name}: {share:.1%} of its pixels"))
    return found


def _check_late(first: MaskFacts, masks: Sequence[MaskFacts]) -> list[tuple[Kind, str]]:
    late: dict[int, str] = {}
    for mask in masks:
        for number in sorted(mask.ids - first.ids):
            late.setdefault(number, mask.name)
    return [(kinds.LATE_IDS, f"id {number} from {name}") for number, name in late.items()]


def _check_training(masks: Sequence[MaskFacts]) -> list[tuple[Kind, str]]:
    found = []
    much = [mask for mask in masks if mask.much_ignored]
    if much:
        labelled, ignored = sum(mask.labelled for mask in masks), sum(mask.ignored for mask in masks)
        detail = f"{len(much)} of {len(masks)} masks, first {much[0].name}; {ignored / labelled:.0%} over all"
        found.append((kinds.MUCH_IGNORED, detail))
    if masks and not any(mask.may_begin_clip for mask in masks):
        largest = max(mask.labelled for mask in masks)
        found.append((kinds.NO_REFERENCE, f"at most {largest} labelled pixels in a mask"))
    return found


def _check_colours(masks: Sequence[MaskFacts]) -> list[tuple[Kind, str]]:
    grey = [mask.name for mask in masks if mask.grey]
    other = [mask.name for mask in masks if not mask.grey and not mask.vost_palette]
    return [
        (kind, f"{len(names)} of {len(masks)} masks, first {names[0]}")
        for kind, names in ((kinds.GREY_MASK, grey), (kinds.OTHER_PALETTE, other))
        if names
    ]
