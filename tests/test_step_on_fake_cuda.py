"""The pieces of a step on fake CUDA tensors: shows what would be wrong or slow on a real GPU.

Nothing in a recorded piece may be on the host: copies from there, constants and waits break a CUDA graph. No
operation may combine tensors with different memory formats, which takes a GPU several times as long.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack
from torch.utils._pytree import tree_leaves

from aot_plus.networks.encoders import swin
from aot_plus.networks.engines import inference
from aot_plus.networks.engines.fixed_step import FixedStep
from aot_plus.networks.engines.step_graphs import StepGraphs
from aot_plus.networks.engines.views import VideoViews, input_sizes
from aot_plus.networks.layers import local_attention
from aot_plus.networks.memory import bank
from aot_plus.networks.models import build_model, prepare
from aot_plus.networks.models.number_format import use_number_format
from aot_plus.networks.models.prepare import prepare_for_inference
from aot_plus.utils.config import get_config
from tests.fake_cuda import needs_fake_cuda

SMALL = (70, 90)
FAKE = FakeTensorMode()  # shared by all tests, because tables are cached

# Their kernels traverse all tensors in step.
ELEMENTWISE = {"add", "add_", "addcmul", "cat", "clone", "copy_", "gelu", "mul", "relu_", "silu"}
IN_STEP = ELEMENTWISE | {"group_norm", "layer_norm", "upsample_bilinear2d"}


class _OnTheGPU(TorchDispatchMode):
    """Refuses operations with tensors on a device other than CUDA."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves((args, kwargs, result)) if isinstance(value, Tensor)]
        self.check(function, tensors)
        return result

    def check(self, function: Any, tensors: Sequence[Tensor]) -> None:
        for value in tensors:
            if value.device.type != "cuda":
                raise AssertionError(f"{function} has a tensor on the {value.device}")


class _AsAGPULikes(_OnTheGPU):
    """Refuses operations with tensors in two memory formats as well."""

    def check(self, function: Any, tensors: Sequence[Tensor]) -> None:
        super().check(function, tensors)
        if function.overloadpacket._qualified_op_name.removeprefix("aten::") in IN_STEP:
            for one, other in combinations(tensors, 2):
                if one.ndim == other.ndim and not _in_one_order(one, other):
                    orders = f"{one.shape} in {one.stride()} with {other.shape} in {other.stride()}"
                    raise AssertionError(f"{function} goes through two orders: {orders}")


class _Inspector:
    """A recorder that records nothing, but inspects what would be recorded."""

    def __init__(self) -> None:
        self.inspected = 0

    def warm_up(self, piece: Callable[[], None]) -> None:
        piece()

    def record(self, piece: Callable[[], None]) -> tuple[Callable[[], None], int]:
        def replay() -> None:
            self.inspected += 1
            with _AsAGPULikes():
                piece()

        return replay, 0


@needs_fake_cuda
@pytest.mark.parametrize("policy", ["emfs", "rmem", "fifo", "uniform", "spread", "lfu"])
def test_policies(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _inspect("aott", monkeypatch, gap=1, frames=4, MEM_POLICY=policy)


@needs_fake_cuda
@pytest.mark.parametrize(
    ("name", "dtype", "size"),
    [
        ("aott", "float16", SMALL),
        ("deaott", "float32", SMALL),
        ("deaott", "float16", (385, 401)),  # its window attention works in tiles
        ("r50_aotl", "float16", SMALL),
    ],
)
def test_networks(name: str, dtype: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    _inspect(name, monkeypatch, size=size, TEST_DTYPE=dtype)


@needs_fake_cuda
def test_tables_are_made_on_the_gpu() -> None:
    """A compiled network makes them in every frame: a copy from the host would break the CUDA graph."""
    device = torch.device("cuda", 0)
    with FAKE, _OnTheGPU():
        tables = [
            *local_attention._offsets(3, 41, 0, device),
            *local_attention._key_table(3, 41, 0, device),
            local_attention._hidden_in_tiles(3, 41, device),
            swin._shift_mask(14, 35, device),
        ]
    assert all(table.is_cuda for table in tables)


def test_the_inspection_notices_the_host() -> None:
    with FAKE, _AsAGPULikes(), pytest.raises(AssertionError, match="a tensor on the cpu"):
        torch.zeros(1, device="cuda").add_(torch.zeros(1))


def test_the_inspection_notices_two_orders() -> None:
    with FAKE:
        tokens, maps = torch.zeros(4, 3, device="cuda"), torch.zeros(3, 4, device="cuda")
        with _AsAGPULikes(), pytest.raises(AssertionError, match="two orders"):
            tokens.add_(maps.t())


def _inspect(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    size: tuple[int, int] = SMALL,
    gap: int = 2,
    frames: int = 7,
    **values: Any,
) -> None:
    monkeypatch.setattr(bank, "HostCopy", lambda tensor: None)  # the frame numbers are not needed
    monkeypatch.setattr(inference, "on_device", _on_device)
    monkeypatch.setattr(prepare, "conv_relu", _conv_relu)  # cuDNN's does not support fake tensors
    cfg = get_config("pre_vost_2", name, overrides={"LATTER_MEM_LEN": 1, **values})
    model = prepare_for_inference(build_model(cfg))
    use_number_format(model, cfg.TEST_DTYPE)
    recorder = _Inspector()
    with FAKE, torch.inference_mode():
        _move_shapes(model)
        inputs = input_sizes(cfg, size)
        video = VideoViews(model, cfg, size, inputs)
        pixels = [torch.zeros(*size, 3, device="cuda") for size in inputs]
        video.start(pixels, torch.ones(size, dtype=torch.int, device="cuda"), 12, gap)
        step = FixedStep(video, StepGraphs(recorder))
        for _ in range(frames):
            step.step(pixels)
    assert recorder.inspected > 5


def _on_device(values: Sequence[int], device: torch.device) -> Tensor:
    """Stands in for a copy to the device, which recorded pieces must not contain."""
    if any(isinstance(mode, _AsAGPULikes) for mode in _get_current_dispatch_mode_stack()):
        raise AssertionError("a copy from the host")
    return torch.zeros(len(values), dtype=torch.long, device=device)


def _conv_relu(conv: nn.Conv2d, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    out = conv(x)
    return torch.relu_(out if shortcut is None else out.add_(shortcut))


def _move_shapes(model: nn.Module) -> None:
    """Replaces all weights with fake CUDA tensors of the same shapes."""
    for module in model.modules():
        for name, value in module.named_parameters(recurse=False):
            module._parameters[name] = nn.Parameter(_like(value), requires_grad=False)
        for name, value in module.named_buffers(recurse=False):
            module._buffers[name] = _like(value)


def _in_one_order(one: Tensor, other: Tensor) -> bool:
    """Returns whether the dimensions of two tensors have the same order in memory."""
    dims = [
        dim
        for dim in range(one.ndim)
        if all(tensor.shape[dim] > 1 and tensor.stride(dim) > 0 for tensor in (one, other))
    ]
    return sorted(dims, key=one.stride) == sorted(dims, key=other.stride)


def _like(value: Tensor) -> Tensor:
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
