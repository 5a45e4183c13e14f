"""Computes the training loss of a frame: bootstrapped cross entropy, soft Jaccard, and their schedules."""

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.masks import IGNORE_ID

__all__ = [
    "auxiliary_weight",
    "bootstrapped_cross_entropy",
    "frame_loss",
    "hard_pixel_share",
    "hardest_pixels",
    "mask_foreign",
    "soft_jaccard",
]

_EPSILON = 1e-6  # pixels; keeps soft Jaccard's division defined, too small to be seen in a loss


def hard_pixel_share(step: int, ramp_steps: float, final_share: float) -> float:
    """Returns the share of hardest pixels of a step: linear from 1 to ``final_share``.

    ``ramp_steps`` (``TRAIN_HARD_MINING_RATIO`` times the total steps) is where ``final_share`` (in (0, 1],
    ``TRAIN_TOP_K_PERCENT_PIXELS``) is reached; it stays there. 0 ramp steps: ``final_share`` from the start.
    """
    progress = min(step / ramp_steps, 1.0) if ramp_steps > 0 else 1.0
    return 1.0 + progress * (final_share - 1.0)


def hardest_pixels(share: float, pixels: int) -> int:
    """Counts the pixels in a share of all: rounded down, but one at least."""
    return max(int(share * pixels), 1)


def auxiliary_weight(step: int, ramp_steps: float, start_weight: float = 1.0) -> float:
    """Weighs the reference frame's loss: from ``start_weight`` linearly to 0 at ``ramp_steps``."""
    return start_weight * max(1.0 - step / ramp_steps, 0.0) if ramp_steps > 0 else 0.0


def mask_foreign(logits: Tensor, num_objects: Tensor) -> Tensor:
    """Sets the channels of ids that a sample does not have to -inf: probability 0, gradient 0.

    ``logits`` B x (M+1) x H x W, ``num_objects`` B, each in 0..M.
    """
    foreign = torch.arange(logits.shape[1], device=logits.device) > num_objects[:, None]  # B x (M+1)
    return logits.masked_fill(foreign[:, :, None, None], -torch.inf)


def frame_loss(logits: Tensor, labels: Tensor, hardest: int | Tensor) -> Tensor:
    """Adds half the bootstrapped cross entropy and half the soft Jaccard loss: a loss per sample, B.

    ``logits`` B x C x H x W in at least float32; ``labels`` B x H x W ids as integers (uint8 will do, 255
    ignored, none that ``mask_foreign`` took away: its loss would be infinite); ``hardest`` as below.
    """
    labels = labels.long()
    return 0.5 * bootstrapped_cross_entropy(logits, labels, hardest) + 0.5 * soft_jaccard(logits, labels)


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, hardest: int | Tensor) -> Tensor:
    """Averages the cross entropy over the hardest pixels of each sample: a loss per sample, B.

    ``logits`` B x C x H x W, ``labels`` B x H x W (int64 ids below C, or 255). ``hardest`` counts those
    pixels, 1..H*W; as a tensor without dimensions, it may change while the work on a GPU stays the same.
    Ignored pixels (255) are among them with a loss of 0, as the published losses have it: a label map of
    255 only has loss 0.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_ID, reduction="none").flatten(1)  # B x H*W
    ordered = losses.sort(dim=1, descending=True).values
    chosen = torch.arange(losses.shape[1], device=losses.device) < hardest
    return torch.where(chosen, ordered, 0.0).sum(dim=1) / hardest


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """Averages 1 - soft Jaccard index over the classes (background too) that a sample's label shows.

    It is the Tversky loss (Salehi et al. 2017) with alpha = beta = 1 on softmax probabilities. ``logits``
    B x C x H x W, ``labels`` B x H x W (int64 ids below C, or 255: such pixels take no part) -> B. A label
    map of 255 only has loss 0.
    """
    classes = torch.arange(logits.shape[1], device=logits.device)
    target = labels[:, None] == classes[:, None, None]  # B x C x H x W; no class at ignored pixels
    probability = logits.softmax(dim=1) * (labels != IGNORE_ID)[:, None]
    pixels = target.sum(dim=(2, 3))  # B x C
    overlap = (probability * target).sum(dim=(2, 3))
    union = probability.sum(dim=(2, 3)) + pixels - overlap
    present = pixels > 0
    losses = (1.0 - overlap / (union + _EPSILON)) * present
    return losses.sum(dim=1) / present.sum(dim=1).clamp(min=1)
