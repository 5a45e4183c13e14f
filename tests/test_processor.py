"""Choices for each kind of processor, including CUDA, tested without a GPU."""

import itertools
import multiprocessing

import pytest
import torch
from torch._subclasses import FakeTensorMode

import aot_plus
from aot_plus.networks.engines.segmenter import VideoSegmenter
from aot_plus.networks.layers.processor import (
    convolution_format,
    decomposes_group_norm,
    uses_matmul_attention,
)
from aot_plus.utils.device import tf32
from tests.fake_cuda import needs_fake_cuda
from tests.test_segmenter import _squares, _video

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("values", "gradients", "by_products"), [(1024, False, True), (1024, True, False), (128, False, False)]
)
def test_cuda_uses_matrix_products_only_for_wide_values(
    values: int, gradients: bool, by_products: bool
) -> None:
    """In training, the products would keep all attention weights for the backward pass."""
    with FakeTensorMode(), torch.set_grad_enabled(gradients):
        q, v = (torch.empty(1, 1, 8, width, dtype=torch.float16, device=CUDA) for width in (128, values))
        assert uses_matmul_attention(q, v) == by_products


@needs_fake_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("allowed", [True, False])
def test_cuda_normalises_large_and_channels_last_maps_in_several_operations(
    dtype: torch.dtype, allowed: bool
) -> None:
    """The exception is channels_last maps where convolutions prefer contiguous ones."""
    with FakeTensorMode(), torch.inference_mode(), tf32(allowed):
        small = torch.empty(1, 16, 31, 54, dtype=dtype, device=CUDA)
        last = small.contiguous(memory_format=torch.channels_last)
        assert not decomposes_group_norm(small, 8)
        assert decomposes_group_norm(last, 8) == (dtype == torch.float16 or allowed)
        assert decomposes_group_norm(torch.empty(1, 128, 121, 213, dtype=dtype, device=CUDA), 8)
        assert not decomposes_group_norm(
            torch.empty(last.shape).contiguous(memory_format=torch.channels_last), 8
        )


def test_convolutions_are_channels_last_except_where_that_is_slow() -> None:
    choices = itertools.product((CUDA, CPU), ("float32", "float16"), (True, False))
    slow = {choice for choice in choices if convolution_format(*choice) is torch.contiguous_format}
    assert slow == {(CUDA, "float32", False)}
    with tf32(False):
        assert convolution_format(CUDA, "float32", None) is torch.contiguous_format


@pytest.mark.parametrize("allowed", [None, True, False])
def test_tf32_is_set_while_a_frame_is_computed_and_no_longer(
    allowed: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings() -> tuple[bool, bool]:
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    model = aot_plus.load_model("aott", None, device="cpu", overrides={"TEST_TF32": allowed})
    seen = []
    monkeypatch.setattr(model.encoder, "forward", lambda _: [seen.append(settings())])
    before = settings()
    with pytest.raises(IndexError):  # from an encoder that returns nothing
        VideoSegmenter(model).start(_video(1)[0], _squares([1]))
    assert seen == [before if allowed is None else (allowed, allowed)]
    assert settings() == before


def _follow_new_settings(place: str) -> None:
    conv, products = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    if place == "cudnn.conv":
        conv.fp32_precision = "ieee"
    else:
        products.fp32_precision = "tf32"
    before = conv.fp32_precision, products.fp32_precision
    for allowed, precision in ((True, "tf32"), (False, "ieee")):
        with tf32(allowed):
            assert (conv.fp32_precision, products.fp32_precision) == (precision, precision)
            layout = convolution_format(torch.device("cuda"), "float32", None)
            assert (layout is torch.channels_last) == allowed
        assert (conv.fp32_precision, products.fp32_precision) == before


@pytest.mark.parametrize("place", ["cudnn.conv", "cuda.matmul"])
def test_tf32_follows_the_new_settings_where_a_user_set_them(place: str) -> None:
    """``allow_tf32`` raises once ``fp32_precision`` is set. Both are global, hence the separate process."""
    process = multiprocessing.get_context("fork").Process(target=_follow_new_settings, args=(place,))
    process.start()
    process.join()
    assert process.exitcode == 0  # otherwise, it has printed its traceback
