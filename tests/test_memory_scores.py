"""The pure functions behind the memory policies."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aot_plus.networks.memory.scores import (
    aligned_similarity,
    attention_per_frame,
    foreground_probability,
    novelty,
    redundancy,
    relevance,
)


def dense_attention_per_frame(queries: Tensor, keys: Tensor, num_heads: int) -> Tensor:
    """Computes the definition with the whole matrix: queries B x N x D, keys B x T x N x D -> B x N x T."""
    batch, num_frames, num_tokens, width = keys.shape
    head_width = width // num_heads
    result = torch.zeros(batch, queries.shape[1], num_frames)
    for bank in range(batch):
        for head in range(num_heads):
            features = slice(head * head_width, (head + 1) * head_width)
            flat_keys = keys[bank, ..., features].reshape(-1, head_width)  # T*N x d
            weights = (queries[bank, :, features] @ flat_keys.T / math.sqrt(head_width)).softmax(dim=-1)
            result[bank] += weights.reshape(-1, num_frames, num_tokens).sum(dim=-1) / num_heads
    return result


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, Tensor):
                self.num_bytes = max(self.num_bytes, tensor.numel() * tensor.element_size())
        return result


@pytest.mark.parametrize("num_heads", [1, 4])
@pytest.mark.parametrize("num_frames", [3, 9, 17])  # 17 is more than a head has features
def test_attention_equals_the_dense_computation(num_heads: int, num_frames: int) -> None:
    torch.manual_seed(0)
    queries, keys = 3 * torch.randn(2, 20, 16), torch.randn(2, num_frames, 20, 16)
    found = attention_per_frame(queries, keys, num_heads)
    torch.testing.assert_close(
        found, dense_attention_per_frame(queries, keys, num_heads), atol=1e-6, rtol=1e-5
    )
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(2, 20))


def test_attention_shares_queries_among_banks() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(10, 8), torch.randn(3, 2, 10, 8)
    found = attention_per_frame(queries, keys, 2)
    torch.testing.assert_close(found, dense_attention_per_frame(queries.expand(3, -1, -1), keys, 2))


def test_attention_survives_large_logits() -> None:
    keys = torch.tensor([[[[100.0]], [[-100.0]]]])  # 1 x 2 x 1 x 1
    found = attention_per_frame(torch.tensor([[100.0], [-100.0]]), keys, 1)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))


def test_attention_never_stores_the_whole_matrix() -> None:
    queries, keys = torch.randn(1, 400, 16), torch.randn(1, 20, 400, 16)
    whole = 4 * 4 * 400 * 20 * 400  # bytes, 4 heads
    with LargestTensor() as largest:
        attention_per_frame(queries, keys, 4)
    assert 0 < largest.num_bytes < whole / 50


def test_scores_are_float32_under_autocast() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(1, 10, 16), torch.randn(1, 3, 10, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attention_per_frame(queries, keys, 2)
        repeated = redundancy(keys[0])
        similar = aligned_similarity(keys[0], queries[0])
    assert torch.equal(found, attention_per_frame(queries, keys, 2))
    assert torch.equal(repeated, redundancy(keys[0]))
    assert torch.equal(similar, aligned_similarity(keys[0], queries[0]))


def test_scores_in_bfloat16_are_near_float32s() -> None:
    torch.manual_seed(0)
    queries, keys = torch.randn(1, 40, 16).bfloat16(), torch.randn(1, 5, 40, 16).bfloat16()
    found = attention_per_frame(queries, keys, 2)
    assert found.dtype == torch.float32
    expected = attention_per_frame(queries.float(), keys.float(), 2)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)
    torch.testing.assert_close(found.mean(dim=1), expected.mean(dim=1), atol=1e-3, rtol=0)
    for score in (redundancy, lambda keys: aligned_similarity(keys, queries[0].to(keys.dtype))):
        found, expected = score(keys[0]), score(keys[0].float())
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("queries", "keys", "num_heads"),
    [((5, 8), (1, 2, 5, 8), 3), ((5, 4), (1, 2, 5, 8), 2), ((3, 5, 8), (1, 2, 5, 8), 2)],
)
def test_attention_names_shapes_that_do_not_fit(
    queries: tuple[int, ...], keys: tuple[int, ...], num_heads: int
) -> None:
    with pytest.raises(ValueError, match=re.escape(str(queries))):
        attention_per_frame(torch.zeros(queries), torch.zeros(keys), num_heads)


def test_relevance_weighs_tokens_by_foreground() -> None:
    attention = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    # 1 * 0.9 + 0.5 * 0.2 = 1.0 and 1 * 0.1 + 0.5 * 0.8 = 0.5
    torch.testing.assert_close(
        relevance(attention, torch.tensor([1.0, 0.5, 0.0])), torch.tensor([2 / 3, 1 / 3])
    )


def test_relevance_without_foreground_is_even() -> None:
    attention = torch.tensor([[0.9, 0.1, 0.0]])
    torch.testing.assert_close(relevance(attention, torch.zeros(1)), torch.full((3,), 1 / 3))


def test_redundancy_by_hand() -> None:
    # N = 2 tokens, D = 1 feature: scaled, the frames are (1, 0), (0.6, 0.8), (1, 0) again and (0, -1).
    keys = torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.5, 0.0], [0.0, -3.0]])[..., None]
    # Row sums of the dot products without the diagonal: 1.6, 0.6 + 0.6 - 0.8, 1.6 and -0.8; total 2.8.
    expected = torch.tensor([0.5714, 0.1429, 0.5714, -0.2857])
    torch.testing.assert_close(redundancy(keys), expected, atol=1e-6, rtol=0)


def test_redundancy_scales_features_over_tokens() -> None:
    """Scaling a feature column in one frame changes nothing; scaling a token's row does."""
    torch.manual_seed(0)
    keys = torch.randn(4, 6, 5).abs()
    scaled_column, scaled_row = keys.clone(), keys.clone()
    scaled_column[1, :, 2] *= 7
    scaled_row[1, 2, :] *= 7
    torch.testing.assert_close(redundancy(scaled_column), redundancy(keys), atol=1.1e-4, rtol=0)
    assert (redundancy(scaled_row) - redundancy(keys)).abs().max() > 1e-3


def test_redundancy_is_rounded_and_zero_without_a_total() -> None:
    torch.manual_seed(0)
    found = redundancy(torch.randn(5, 6, 3).abs()).double() * 1e4
    assert (found - found.round()).abs().max() < 1e-2
    assert torch.equal(redundancy(torch.randn(1, 6, 3)), torch.zeros(1))
    assert torch.equal(redundancy(torch.zeros(3, 6, 3)), torch.zeros(3))


def test_novelty() -> None:
    found = novelty(torch.tensor([0.4, 0.0, 0.5]), slope=10.0, midpoint=0.4)
    expected = torch.tensor([0.5, 1 / (1 + math.exp(-4)), 1 / (1 + math.exp(1))])
    torch.testing.assert_close(found, expected)


def test_foreground_is_resized_before_the_softmax() -> None:
    logits = torch.zeros(2, 1, 3)  # background and one object
    logits[1, 0] = torch.tensor([0.0, 9.0, -6.0])
    # With aligned corners 5 columns fall on 0, 0.5, 1, 1.5 and 2: logits 0, 4.5, 9, 1.5, -6.
    expected = torch.tensor([0.0, 4.5, 9.0, 1.5, -6.0]).sigmoid()
    torch.testing.assert_close(foreground_probability(logits, (1, 5)), expected)


def test_foreground_tokens_are_in_row_major_order() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 9, 13)
    found = foreground_probability(logits, (3, 4))
    resized = F.interpolate(logits[None], size=(3, 4), mode="bilinear", align_corners=True)[0]
    assert found.shape == (12,)
    assert found[1 * 4 + 2] == pytest.approx(1 - float(resized[:, 1, 2].softmax(dim=0)[0]), abs=1e-6)
