"""The losses, compared with cases computed by hand and with numerical gradients."""

import math

import pytest
import torch
from torch import Tensor

from aot_plus.networks.layers.loss import (
    auxiliary_weight,
    bootstrapped_cross_entropy,
    frame_loss,
    hard_pixel_share,
    hardest_pixels,
    mask_foreign,
    soft_jaccard,
)

RAMP = 100.0


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """Returns logits, 1 x C x 1 x pixels, whose softmax is the given rows (one per class)."""
    return torch.tensor(probabilities, dtype=torch.float64).log()[None, :, None, :]


@pytest.mark.parametrize(
    ("step", "share"), [(0, 1.0), (50, 0.575), (99, 1 - 0.85 * 0.99), (100, 0.15), (200, 0.15)]
)
def test_hard_pixel_share_is_linear_then_constant(step: int, share: float) -> None:
    assert hard_pixel_share(step, RAMP, 0.15) == pytest.approx(share)


def test_hard_pixel_share_without_a_ramp() -> None:
    assert hard_pixel_share(0, 0.0, 0.15) == pytest.approx(0.15)
    assert hard_pixel_share(0, 0.5, 0.15) == 1.0  # a short ramp still begins with all pixels


@pytest.mark.parametrize(("step", "weight"), [(0, 1.0), (25, 0.75), (100, 0.0), (150, 0.0)])
def test_auxiliary_weight(step: int, weight: float) -> None:
    assert auxiliary_weight(step, RAMP) == pytest.approx(weight)
    assert auxiliary_weight(step, RAMP, 0.5) == pytest.approx(0.5 * weight)


def test_auxiliary_weight_without_a_ramp() -> None:
    assert auxiliary_weight(0, 0.0) == 0.0


# Four pixels, two classes: the probabilities of the right class are 0.8, 0.5, 0.1; the last pixel is ignored.
PROBABILITIES = [[0.8, 0.5, 0.9, 0.3], [0.2, 0.5, 0.1, 0.7]]
LABELS = torch.tensor([[[0, 0, 1, 255]]])


@pytest.mark.parametrize(
    ("share", "right_class"),
    [
        (1.0, [0.8, 0.5, 0.1, 1.0]),  # all four pixels, with loss 0 for the ignored one
        (0.575, [0.1, 0.5]),  # int(2.3) pixels
        (0.15, [0.1]),  # int(0.6), but at least one
    ],
)
def test_cross_entropy_by_hand(share: float, right_class: list[float]) -> None:
    hardest = hardest_pixels(share, LABELS.numel())
    expected = -sum(math.log(p) for p in right_class) / len(right_class)
    for count in (hardest, torch.tensor(hardest)):
        loss = bootstrapped_cross_entropy(logits_of(PROBABILITIES), LABELS, count)
        assert loss.tolist() == pytest.approx([expected])


def test_soft_jaccard_by_hand() -> None:
    # Class 0: overlap 0.8 + 0.5, union 2 + 0.9 (pixel 2). Class 1: overlap 0.1, union 1 + 0.2 + 0.5.
    loss = soft_jaccard(logits_of(PROBABILITIES), LABELS)
    expected = (1 - 1.3 / 2.9 + 1 - 0.1 / 1.7) / 2
    assert loss.tolist() == pytest.approx([expected], abs=1e-6)


def test_soft_jaccard_counts_present_classes_only() -> None:
    # Only class 0 is in the label: overlap 0.8, union 1. Class 1 is predicted, but not part of the mean.
    loss = soft_jaccard(logits_of([[0.8], [0.2]]), torch.tensor([[[0]]]))
    assert loss.tolist() == pytest.approx([0.2], abs=1e-6)


def test_frame_loss_is_half_of_each() -> None:
    loss = frame_loss(logits_of(PROBABILITIES), LABELS.to(torch.uint8), hardest_pixels(0.15, 4))
    jaccard = (1 - 1.3 / 2.9 + 1 - 0.1 / 1.7) / 2
    assert loss.tolist() == pytest.approx([0.5 * -math.log(0.1) + 0.5 * jaccard], abs=1e-6)


def test_only_the_samples_own_channels_count() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 2, (2, 5, 6))
    losses = frame_loss(mask_foreign(logits, torch.tensor([1, 3])), labels, 15)
    alone = frame_loss(logits[:1, :2], labels[:1], 15)
    assert losses[0].item() == pytest.approx(alone.item())
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert gradient[0, 2:].abs().max() == 0
    assert gradient[1, 2:].abs().max() > 0


def test_a_frame_without_annotation_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = frame_loss(logits, torch.full((1, 4, 4), 255), 2)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.item() == 0
    assert gradient.abs().max() == 0


@pytest.mark.parametrize("hardest", [30, 15, 4])
def test_gradients_equal_numerical_ones(hardest: int) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 5, 6))
    labels[:, 0, :2] = 255
    logits = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: bootstrapped_cross_entropy(x, labels, hardest), (logits,))
    assert torch.autograd.gradcheck(lambda x: soft_jaccard(x, labels), (logits,))
