"""Computes a frame's labels from its logits, and its probabilities on request."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aot_plus.networks.layers.processor import best_channel

__all__ = ["FrameScores", "ShownFrame", "best_of_groups", "merge_groups"]

_LEAST = 1e-5  # the smallest probability of merged groups; the largest is 1 minus this


@dataclass(frozen=True)
class FrameScores:
    """Holds a predicted frame at the network's size, in one or several views of the video."""

    logits: Sequence[Tensor]  # for each view: groups x (M+1) x H/4 x W/4, float32
    flips: Sequence[bool]  # for each view
    num_objects: int  # K
    size: tuple[int, int]  # of the video: H, W
    align_corners: bool

    def labels(self) -> Tensor:
        """Returns packed labels, ``H x W`` at the video's size; several views by their mean probabilities."""
        if len(self.logits) == 1:
            return best_of_groups(self._full_logits(self.logits[0]))
        return best_channel(self.probabilities()).int()

    def probabilities(self) -> Tensor:
        """Averages the views' probabilities at the video's size: ``(K+1) x H x W``, background first."""
        scores = [merge_groups(self._full_logits(own)) for own in self.logits]  # of each: (K+1) x H x W
        views = [
            torch.softmax(score.flip(2) if flip else score, dim=0)
            for score, flip in zip(scores, self.flips, strict=True)
        ]
        return torch.stack(views).mean(dim=0)

    def _full_logits(self, logits: Tensor) -> list[Tensor]:
        """Resizes a view's logits ``groups x (M+1) x H/4 x W/4`` to the video's size.

        Returns, for each group, the logits of background and objects: ``(1 + its objects) x H x W``.
        """
        most = logits.shape[1] - 1
        groups = []
        for group, own in enumerate(logits):
            used = min(most, self.num_objects - group * most)
            groups.append(
                F.interpolate(
                    own[None, : used + 1], size=self.size, mode="bilinear", align_corners=self.align_corners
                )[0]
            )
        return groups


@dataclass(frozen=True)
class ShownFrame:
    """Holds the last frame of a video: how it was predicted, and the mask that was given for it.

    Both are set if a mask was given in mid-video; in the first frame only the mask is set.
    """

    scores: FrameScores | None = None
    mask: Tensor | None = None  # H x W packed labels, below 0 where ignored
    followed: tuple[int, ...] = ()  # packed ids

    def probabilities(self, num_objects: int) -> Tensor:
        """Returns ``(K+1) x H x W``, background first, for K = ``num_objects``.

        A mask is certain: its objects are where it shows them and nowhere else; where one of them was
        predicted outside its mask, there is background.
        """
        if self.mask is None:
            if self.scores is None:
                raise ValueError("a frame was neither predicted nor given")
            return self.scores.probabilities()
        certain = F.one_hot(self.mask.clamp(min=0).long(), num_objects + 1).permute(2, 0, 1).float()
        if self.scores is None:
            return certain
        values = torch.zeros_like(certain)
        values[: self.scores.num_objects + 1] = self.scores.probabilities()
        shown = torch.unique(self.mask[self.mask > 0]).long()
        known = (self.mask > 0) | torch.isin(self.scores.labels(), shown)
        values[shown] = 0
        return torch.where(known, certain, values / values.sum(dim=0))


def merge_groups(logits: Sequence[Tensor]) -> Tensor:
    """Merges the logits of all groups into those of all objects (AOT's soft aggregation).

    Args:
        logits: for each group, ``(1 + its objects) x H x W``, background first.

    Returns:
        ``(1 + all objects) x H x W``. One group's logits stay as they are.
    """
    if len(logits) == 1:
        return logits[0]
    background, objects = _probabilities_of_groups(logits)
    merged = torch.cat([background[None], *objects])
    return torch.logit(merged.clamp(_LEAST, 1 - _LEAST))


def best_of_groups(logits: Sequence[Tensor]) -> Tensor:
    """Returns the best channel of ``merge_groups(logits)``, ``H x W`` int32, without making all channels."""
    if len(logits) == 1:
        return best_channel(logits[0]).int()
    background, objects = _probabilities_of_groups(logits)
    best = [group.max(dim=0) for group in objects]
    values = torch.stack([background, *(group.values for group in best)])
    places = [torch.zeros_like(background, dtype=torch.int)]
    first = 1
    for group, (_, place) in zip(objects, best, strict=True):
        places.append(place.int() + first)
        first += len(group)
    winner = best_channel(values.clamp_(_LEAST, 1 - _LEAST))
    return torch.stack(places).gather(0, winner[None])[0]


def _probabilities_of_groups(logits: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Computes probabilities: the background's ``H x W``, and each group's ``its objects x H x W``."""
    probabilities = [torch.softmax(group, dim=0) for group in logits]
    background = torch.stack([group[0] for group in probabilities]).prod(dim=0)
    return background, [group[1:] for group in probabilities]
