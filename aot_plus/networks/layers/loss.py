"""The training loss of a frame: bootstrapped cross entropy, soft Jaccard, and their schedules."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluation.masks import IGNORE_ID

__all__ = ["BootstrappedCrossEntropy", "FrameLoss", "SoftJaccard", "auxiliary_weight", "hard_pixel_share"]


def hard_pixel_share(step: int, ramp_steps: float, final_share: float) -> float:
    """The share of hardest pixels the cross entropy is averaged over: linear from 1 to ``final_share``.

    ``ramp_steps`` (``TRAIN_HARD_MINING_RATIO`` times the total steps) is where ``final_share`` (in (0, 1],
    ``TRAIN_TOP_K_PERCENT_PIXELS``) is reached; it stays there. 0 ramp steps: ``final_share`` from the start.
    """
    progress = min(step / ramp_steps, 1.0) if ramp_steps > 0 else 1.0
    return 1.0 + progress * (final_share - 1.0)


def auxiliary_weight(step: int, ramp_steps: float, start_weight: float = 1.0) -> float:
    """The weight of the reference frame's loss: from ``start_weight`` linearly to 0 at ``ramp_steps``."""
    return start_weight * max(1.0 - step / ramp_steps, 0.0) if ramp_steps > 0 else 0.0


class BootstrappedCrossEntropy(nn.Module):
    """Cross entropy averaged over each sample's hardest pixels only.

    The share is taken of all pixels of the label map: ignored ones (255) count among them, with a loss of 0,
    as the published losses have it. A label map of 255 only has loss 0.
    """

    def __init__(self, ramp_steps: float, final_share: float) -> None:
        """``ramp_steps`` and ``final_share``: see ``hard_pixel_share``."""
        super().__init__()
        self.ramp_steps = ramp_steps
        self.final_share = final_share

    def forward(self, logits: Tensor, labels: Tensor, step: int) -> Tensor:
        """``logits`` B x C x H x W, ``labels`` B x H x W (int64 ids below C, or 255) -> loss per sample B."""
        losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_ID, reduction="none")
        losses = losses.flatten(1)  # B x H*W
        share = hard_pixel_share(step, self.ramp_steps, self.final_share)
        hardest = max(int(share * losses.shape[1]), 1)
        return losses.topk(hardest, dim=1, sorted=False).values.mean(dim=1)


class SoftJaccard(nn.Module):
    """1 - soft Jaccard index, averaged over the classes (background too) that a sample's label shows.

    It is the Tversky loss (Salehi et al. 2017) with alpha = beta = 1 on softmax probabilities. Ignored pixels
    (255) take no part. A label map of 255 only has loss 0.
    """

    EPSILON = 1e-6  # pixels; keeps the division defined, too small to be seen in a loss

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """``logits`` B x C x H x W, ``labels`` B x H x W (int64 ids below C, or 255) -> loss per sample B."""
        classes = torch.arange(logits.shape[1], device=logits.device)
        target = labels[:, None] == classes[:, None, None]  # B x C x H x W; no class at ignored pixels
        probability = logits.softmax(dim=1) * (labels != IGNORE_ID)[:, None]
        pixels = target.sum(dim=(2, 3))  # B x C
        overlap = (probability * target).sum(dim=(2, 3))
        union = probability.sum(dim=(2, 3)) + pixels - overlap
        present = pixels > 0
        losses = (1.0 - overlap / (union + self.EPSILON)) * present
        return losses.sum(dim=1) / present.sum(dim=1).clamp(min=1)


class FrameLoss(nn.Module):
    """Half bootstrapped cross entropy, half soft Jaccard, on the channels of a sample's own objects."""

    def __init__(self, ramp_steps: float, final_share: float, *, align_corners: bool) -> None:
        """``ramp_steps``, ``final_share``: see ``hard_pixel_share``; ``align_corners``: of the upsampling."""
        super().__init__()
        self.cross_entropy = BootstrappedCrossEntropy(ramp_steps, final_share)
        self.jaccard = SoftJaccard()
        self.align_corners = align_corners

    def forward(self, logits: Tensor, labels: Tensor, object_numbers: Tensor, step: int) -> Tensor:
        """The loss of each sample, B, in at least float32.

        ``logits`` B x (M+1) x h x w, upsampled bilinearly when they are smaller than the labels; ``labels``
        B x H x W ids as integers (uint8 will do, 255 ignored, no id above the sample's number of objects: its
        loss would be infinite); ``object_numbers`` B, each in 0..M; ``step`` of the training, from 0.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if logits.shape[-2:] != labels.shape[-2:]:
            logits = F.interpolate(
                logits, size=labels.shape[-2:], mode="bilinear", align_corners=self.align_corners
            )
        channels = torch.arange(logits.shape[1], device=logits.device)
        foreign = channels > object_numbers.to(logits.device)[:, None]  # B x (M+1)
        logits = logits.masked_fill(foreign[:, :, None, None], -torch.inf)  # probability 0, gradient 0
        labels = labels.long()
        return 0.5 * self.cross_entropy(logits, labels, step) + 0.5 * self.jaccard(logits, labels)
