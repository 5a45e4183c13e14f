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

_EPSILON = 1e-6  # pixels; avoids division by zero in soft Jaccard, too small to affect the loss visibly


def hard_pixel_share(step: int, ramp_steps: float, final_share: float) -> float:
    """Returns the share of hardest pixels at a step: it falls linearly from 1 to ``final_share``.

    ``final_share`` (in (0, 1], ``TRAIN_TOP_K_PERCENT_PIXELS``) is reached at ``ramp_steps``
    (``TRAIN_HARD_MINING_RATIO`` times the total steps) and then kept; with 0 ramp steps, from the start.
    """
    progress = min(step / ramp_steps, 1.0) if ramp_steps > 0 else 1.0
    return 1.0 + progress * (final_share - 1.0)


def hardest_pixels(share: float, pixels: int) -> int:
    """Returns the number of pixels in a share of all: rounded down, at least one."""
    return max(int(share * pixels), 1)


def auxiliary_weight(step: int, ramp_steps: float, start_weight: float = 1.0) -> float:
    """Returns the reference frame's loss weight: linear from ``start_weight`` to 0 at ``ramp_steps``."""
    return start_weight * max(1.0 - step / ramp_steps, 0.0) if ramp_steps > 0 else 0.0


def mask_foreign(logits: Tensor, num_objects: Tensor) -> Tensor:
    """Sets the channels of ids that a sample does not have to -inf: probability 0, gradient 0.

    ``logits`` B x (M+1) x H x W, ``num_objects`` B, each in 0..M.
    """
    foreign = torch.arange(logits.shape[1], device=logits.device) > num_objects[:, None]  # B x (M+1)
    return logits.masked_fill(foreign[:, :, None, None], -torch.inf)


def frame_loss(logits: Tensor, labels: Tensor, hardest: int | Tensor) -> Tensor:
    """Averages the bootstrapped cross entropy and the soft Jaccard loss: a loss per sample, B.

    ``logits`` B x C x H x W in at least float32; ``labels`` B x H x W integer ids (uint8 suffices, 255 is
    ignored); an id masked by ``mask_foreign`` would give an infinite loss. ``hardest``: see
    ``bootstrapped_cross_entropy``.
    """
    labels = labels.long()
    return 0.5 * bootstrapped_cross_entropy(logits, labels, hardest) + 0.5 * soft_jaccard(logits, labels)


def bootstrapped_cross_entropy(logits: Tensor, labels: Tensor, hardest: int | Tensor) -> Tensor:
    """Averages the cross entropy over the hardest pixels of each sample: a loss per sample, B.

    ``logits`` B x C x H x W, ``labels`` B x H x W (int64 ids below C, or 255). ``hardest`` is the number of
    those pixels, 1..H*W; as a 0-dimensional tensor, it may change between replays of a captured step.
    Ignored pixels (255) take part with a loss of 0, as in the published losses: a label map of only 255 has
    loss 0.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_ID, reduction="none").flatten(1)  # B x H*W
    ordered = losses.sort(dim=1, descending=True).values
    chosen = torch.arange(losses.shape[1], device=losses.device) < hardest
    return torch.where(chosen, ordered, 0.0).sum(dim=1) / hardest


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """Averages 1 - soft Jaccard index over the classes in a sample's label, including the background.

    It is the Tversky loss (Salehi et al. 2017) with alpha = beta = 1 on softmax probabilities. ``logits``
    B x C x H x W, ``labels`` B x H x W (int64 ids below C, or 255: those pixels are left out) -> B. A label
    map of only 255 has loss 0.
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
