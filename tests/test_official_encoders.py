"""Swin-B and ResNeSt-101 stage by stage against the published numbers, and their initial weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aot_plus.networks.encoders import Encoder, SwinEncoder, build_encoder
from aot_plus.networks.managers.param_groups import freeze_encoder
from aot_plus.networks.models.checkpoint import load_encoder
from aot_plus.utils.errors import CheckpointError
from aot_plus.utils.images import normalise
from tests.weights_by_name import Undrawn, fill_by_name

GOLDEN = Path(__file__).parent / "golden" / "encoders"
TOLERANCE = 1e-4  # relative to the largest value


def _golden(name: str) -> dict[str, NDArray[Any]]:
    with np.load(GOLDEN / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def _filled(name: str, *, align_corners: bool) -> tuple[Encoder, nn.Module]:
    """Returns an encoder and its projector, with weights by the names that they have in a model."""
    with Undrawn():
        encoder = build_encoder(name, freeze_bn=True, align_corners=align_corners)
    projector = nn.Conv2d(encoder.channels[-1], 256, 1)
    fill_by_name(nn.ModuleDict({"encoder": encoder, "encoder_projector": projector}).eval())
    return encoder, projector


def _images(frame: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(normalise(frame))[None]


def _close(mine: Tensor, golden: NDArray[Any]) -> None:
    assert mine.shape == golden.shape
    assert np.abs(mine.numpy() - golden).max() <= TOLERANCE * np.abs(golden).max()


def _keep(kept: dict[str, Tensor], name: str, *, entering: bool = False) -> Callable[..., None]:
    """Returns a hook that keeps a module's output, or its input if ``entering``."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kept[name] = inputs[0] if entering else output

    return hook


def _compare(encoder: Encoder, projector: nn.Module, golden: dict[str, NDArray[Any]]) -> None:
    levels = encoder(_images(golden["frame"]))
    for index, level in enumerate(levels[:3]):
        _close(level[0, ::16], golden[f"encoder_{index}_every_16th_channel"])
    assert levels[3] is levels[2]
    _close(projector(levels[3])[0, ::16], golden["encoder_projected_every_16th_channel"])


@torch.inference_mode()
def test_swin_equals_the_published_one_stage_by_stage() -> None:
    golden = _golden("swinb")
    encoder, projector = _filled("swin_base", align_corners=False)
    kept: dict[str, Tensor] = {}
    encoder.get_submodule("patch_embed").register_forward_hook(_keep(kept, "patch_embedding"))
    for index in range(3):
        hook = _keep(kept, f"stage_{index}_before_norm", entering=True)
        encoder.get_submodule(f"norm{index}").register_forward_hook(hook)
    _compare(encoder, projector, golden)
    for name, tensor in kept.items():
        _close(tensor[0].permute(2, 0, 1)[::16], golden[f"{name}_every_16th_channel"])
    for index, level in enumerate(encoder(_images(golden["wide_frame"]))[:3]):
        _close(level[0, ::16], golden[f"wide_encoder_{index}_every_16th_channel"])


@torch.inference_mode()
def test_resnest_equals_the_published_one_stage_by_stage() -> None:
    golden = _golden("resnest101")
    encoder, projector = _filled("resnest101", align_corners=True)
    kept: dict[str, Tensor] = {}
    stages = {"stem": "maxpool", "layer1_0_split_attention": "layer1.0.conv2", "layer2_0": "layer2.0"}
    for name, module in stages.items():
        encoder.get_submodule(module).register_forward_hook(_keep(kept, name))
    _compare(encoder, projector, golden)
    for name in stages:
        _close(kept[name][0, ::16], golden[f"{name}_every_16th_channel"])


@pytest.mark.parametrize("size", [(64, 80), (65, 81)])
def test_swin_takes_both_kinds_of_sides(size: tuple[int, int]) -> None:
    encoder = build_encoder("swin_base", freeze_bn=True, align_corners=False).eval()
    with torch.inference_mode():
        levels = encoder(torch.zeros(1, 3, *size))
    assert [tuple(level.shape[2:]) for level in levels] == [
        (-(-size[0] // stride), -(-size[1] // stride)) for stride in (4, 8, 16, 16)
    ]


@pytest.mark.parametrize("name", ["swin_base", "resnest101"])
def test_training_reaches_all_but_the_frozen_stages(name: str) -> None:
    """With the usual two frozen stages, Swin's patch merging and the norms of its levels still learn."""
    encoder = build_encoder(name, freeze_bn=True, align_corners=False)
    frozen = freeze_encoder(encoder, 2)
    torch.stack([level.square().mean() for level in encoder(torch.randn(1, 3, 64, 80))]).sum().backward()
    without = {key for key, parameter in encoder.named_parameters() if parameter.grad is None}
    assert without == set(frozen)
    starts = {key.split(".")[0] for key in frozen}
    assert starts == ({"patch_embed", "layers"} if name == "swin_base" else {"conv1", "layer1"})
    assert not any("downsample" in key or key.startswith("norm") for key in frozen if name == "swin_base")


class SmallSwin(SwinEncoder):
    """Swin-B with fewer blocks, so that its files are written quickly."""

    depths = (2, 2, 2)


def _imagenet_file(encoder: SwinEncoder, path: Path, **changes: Tensor) -> Path:
    """Writes a file with the same tensors present and missing as in Swin-B's published ImageNet file."""
    tensors = {key: value for key, value in encoder.state_dict().items() if not key.startswith("norm")}
    tensors |= {"norm.weight": torch.zeros(1024), "head.weight": torch.zeros(4, 1024)}
    tensors |= {"layers.2.downsample.reduction.weight": torch.zeros(1024, 2048)}
    tensors |= {"layers.3.blocks.0.norm1.weight": torch.zeros(1024)} | changes
    torch.save({"model": tensors}, path)
    return path


def test_swin_starts_from_an_imagenet_file_with_fresh_norms(tmp_path: Path) -> None:
    trained, encoder = SmallSwin(), SmallSwin()
    load_encoder(encoder, _imagenet_file(trained, tmp_path / "swin.pth"))
    for key, value in encoder.state_dict().items():
        if not key.startswith("norm"):
            assert torch.equal(value, trained.state_dict()[key]), key
    assert (encoder.get_parameter("norm2.weight") == 1).all()


def test_swin_refuses_a_file_with_other_offsets(tmp_path: Path) -> None:
    encoder = SmallSwin()
    name = "layers.1.blocks.0.attn.relative_position_index"
    swapped = {name: encoder.state_dict()[name].t().contiguous()}
    path = _imagenet_file(encoder, tmp_path / "swin.pth", **swapped)
    with pytest.raises(CheckpointError, match=r"layers\.1\.blocks\.0\.attn\.relative_position_index: "):
        load_encoder(encoder, path)
