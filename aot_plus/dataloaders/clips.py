"""Makes training samples: raw clips, two clips merged into one, and batches for the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from aot_plus.utils.errors import DataError
from aot_plus.utils.images import Image, normalise
from aot_plus.utils.masks import object_ids
from evaluation.masks import IGNORE_ID, Mask


@dataclass(frozen=True)
class RawClip:
    """Holds a clip as read: ``images`` (T of H x W x 3), ``labels`` (T of H x W; None where not annotated).

    The first frame is the reference: it always has a label.
    """

    images: list[Image]
    labels: list[Mask | None]
    names: list[str]

    @property
    def reference(self) -> Mask:
        """Returns the first frame's label, H x W."""
        label = self.labels[0]
        if label is None:
            raise DataError(f"{' + '.join(self.names)}: expected a label for the first frame of a clip")
        return label


@dataclass(frozen=True)
class Clip:
    """Holds one training sample.

    ``images``: T x 3 x H x W float32, RGB, ImageNet-normalised. ``labels``: T x H x W uint8, ids
    1..``num_objects`` of the reference frame (the first), 0 background, 255 ignored; 255 everywhere on a
    frame without annotation. ``names``: the videos or images that the sample was made from.
    """

    images: Tensor
    labels: Tensor
    num_objects: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Holds B samples: ``images`` T x B x 3 x H x W, ``labels`` T x B x H x W uint8, ``num_objects`` B."""

    images: Tensor
    labels: Tensor
    num_objects: Tensor
    names: list[str]

    def pin_memory(self) -> "Batch":
        """Copies the batch to page-locked memory (called by the data loader)."""
        return Batch(
            self.images.pin_memory(), self.labels.pin_memory(), self.num_objects.pin_memory(), self.names
        )


def collate(clips: Sequence[Clip]) -> Batch:
    """Puts clips of the same length and size into a batch."""
    return Batch(
        images=_side_by_side([clip.images for clip in clips]),
        labels=_side_by_side([clip.labels for clip in clips]),
        num_objects=torch.tensor([clip.num_objects for clip in clips], dtype=torch.int64),
        names=[" + ".join(clip.names) for clip in clips],
    )


def _side_by_side(tensors: Sequence[Tensor]) -> Tensor:
    """Stacks ``T x ...`` tensors as ``T x B x ...``; a single one, which may be large, is not copied."""
    return tensors[0][:, None] if len(tensors) == 1 else torch.stack(list(tensors), dim=1)


def keep_objects(
    clip: RawClip, max_objects: int, rng: np.random.Generator, min_pixels: int = 1
) -> tuple[RawClip, int]:
    """Renumbers the reference frame's objects to 1..K, other ids to background; returns the clip and K.

    Objects with fewer than ``min_pixels`` pixels in the reference become background; if more than
    ``max_objects`` are left, a random subset is kept. An object that is not in the reference becomes
    background too: it cannot be tracked, because the network never sees its mask.
    """
    ids = object_ids(clip.reference, min_pixels)
    if len(ids) > max_objects:
        ids = sorted(int(i) for i in rng.choice(ids, max_objects, replace=False))
    table = np.zeros(256, dtype=np.uint8)
    table[IGNORE_ID] = IGNORE_ID
    table[ids] = np.arange(1, len(ids) + 1)
    labels = [None if label is None else np.asarray(cv2.LUT(label, table), np.uint8) for label in clip.labels]
    return RawClip(clip.images, labels, clip.names), len(ids)


def paste_objects(under: RawClip, over: RawClip, shift: int) -> RawClip:
    """Pastes the objects of ``over``, their ids raised by ``shift``, onto ``under`` (same length and size).

    Pixels that are ignored in either clip are ignored. A frame has a label only if it has one in both clips.
    Where ``over`` is not annotated, the area of its most recent mask is pasted, so that its objects do not
    vanish from the picture.
    """
    images: list[Image] = []
    labels: list[Mask | None] = []
    place = np.zeros(over.reference.shape, dtype=bool)  # H x W
    for index, (low, high) in enumerate(zip(under.labels, over.labels, strict=True)):
        if high is not None:
            place = (high != 0) & (high != IGNORE_ID)
        images.append(np.where(place[..., None], over.images[index], under.images[index]))
        labels.append(None if low is None or high is None else _paste_label(low, high, shift))
    return RawClip(images, labels, under.names + over.names)


def _paste_label(low: Mask, high: Mask, shift: int) -> Mask:
    label = np.where(high != 0, high + np.uint8(shift), low)
    label[(low == IGNORE_ID) | (high == IGNORE_ID)] = IGNORE_ID
    return label


def merge_clips(
    first: RawClip, second: RawClip, max_objects: int, min_pixels: int, rng: np.random.Generator
) -> tuple[RawClip, int]:
    """Pastes the second clip's objects over the first; returns the clip with ids 1..K, and K.

    Objects left with fewer than ``min_pixels`` pixels in the reference frame are dropped; if more than
    ``max_objects`` (127 at most) are left, a random subset is kept. The ids of both clips must be within
    1..``max_objects``. If no object is large enough, the first clip is returned alone.
    """
    merged, count = keep_objects(paste_objects(first, second, max_objects), max_objects, rng, min_pixels)
    return (merged, count) if count else keep_objects(first, max_objects, rng)


def finish_clip(clip: RawClip, num_objects: int) -> Clip:
    """Converts a raw clip with ids 1..``num_objects`` to tensors."""
    missing = np.full(clip.reference.shape, IGNORE_ID, dtype=np.uint8)
    labels = np.stack([missing if label is None else label for label in clip.labels])
    images = torch.from_numpy(normalise(np.stack(clip.images)))
    return Clip(images, torch.from_numpy(labels), num_objects, tuple(clip.names))
