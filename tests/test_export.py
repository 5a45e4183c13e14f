"""``python -m aot_plus.tools.export``: a training checkpoint becomes a small file that can be loaded."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from aot_plus.networks.models import build_model
from aot_plus.networks.models.checkpoint import load_into
from aot_plus.networks.models.export import cast_weights
from aot_plus.tools import export as export_tool
from aot_plus.utils.config import get_config
from tests.weights_by_name import fill_by_name


def saved(path: Path, tensors: dict[str, Tensor]) -> Path:
    torch.save({"state_dict": tensors, "updates": 3, "step": 3}, path)
    return path


def run(source: Path, target: Path, *flags: str) -> int:
    return export_tool.main(["--input", str(source), "--output", str(target), *flags])


def small_network() -> nn.Module:
    overrides = {"MODEL_ENCODER_EMBEDDING_DIM": 32, "MODEL_LSTT_NUM": 1, "MODEL_LINEAR_Q": False}
    network = build_model(get_config("mini_vost", "aot_mini", overrides=overrides))
    fill_by_name(network)
    return network


def test_a_network_loads_its_exported_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, target = small_network(), tmp_path / "new folder" / "small.safetensors"
    source = saved(tmp_path / "save_step_3.pth", network.state_dict())
    assert run(source, target) == 0
    assert f"{target.stat().st_size / 1e6:.2f} MB, float16" in capsys.readouterr().out
    assert target.stat().st_size < 0.55 * source.stat().st_size
    assert [path.name for path in target.parent.iterdir()] == [target.name]

    exported = load_file(target)
    assert {tensor.dtype for tensor in exported.values()} == {torch.float16}
    assert not any("num_batches_tracked" in name for name in exported)

    other = small_network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    report = load_into(other, target, strict=True)
    assert [report.missing, report.misshapen, report.unexpected, report.adapted] == [{}, {}, {}, {}]
    state = other.state_dict()
    assert {parameter.dtype for parameter in other.parameters()} == {torch.float32}
    for name, tensor in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(state[name], tensor.half().float()), name


def test_the_mean_of_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted = {"norm.num_batches_tracked": torch.tensor(7)}  # not in an exported file
    first = {"weight": torch.tensor([1.0, 2.0]), "index": torch.tensor([3]), **counted}
    second = {"weight": torch.tensor([2.0, 4.0]).half(), "index": torch.tensor([3])}
    sources = [saved(tmp_path / f"{number}.pth", one) for number, one in enumerate((first, second))]
    target = tmp_path / "mean.safetensors"
    inputs = ["--input", *map(str, sources), "--output", str(target)]
    assert export_tool.main(inputs) == 0
    mean = load_file(target)
    assert set(mean) == {"weight", "index"}
    assert mean["weight"].tolist() == [1.5, 3.0]
    assert mean["index"].tolist() == [3]

    target.unlink()
    saved(sources[1], {"weight": torch.ones(3), "other": torch.ones(1)})
    assert export_tool.main(inputs) == 1
    said = capsys.readouterr().err
    assert re.search(f"{sources[1]}: expected .*{sources[0]}", said)
    assert "index, other, weight" in said
    assert not target.exists()


def test_what_is_cast() -> None:
    weights = cast_weights(
        {
            "weight": torch.ones(2, 3).t(),
            "bfloat16": torch.ones(1, dtype=torch.bfloat16),
            "double": torch.tensor([0.1], dtype=torch.float64),
            "index": torch.tensor([70000]),
        },
        torch.float16,
    )
    assert {name: tensor.dtype for name, tensor in weights.items()} == {
        "weight": torch.float16,
        "bfloat16": torch.float16,
        "double": torch.float16,
        "index": torch.int64,
    }
    assert weights["weight"].is_contiguous()
    assert weights["weight"].shape == (3, 2)
    assert weights["index"].item() == 70000


def test_tensors_that_share_memory_and_another_type(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    source = saved(tmp_path / "a.pth", {"one": shared, "two": shared[2:]})
    assert run(source, tmp_path / "a.safetensors", "--dtype", "float32") == 0
    weights = load_file(tmp_path / "a.safetensors")
    assert torch.equal(weights["one"], shared)
    assert torch.equal(weights["two"], shared[2:])


@pytest.mark.parametrize("value", [65504.0, -65504.0])
def test_the_largest_value_of_float16_is_kept(tmp_path: Path, value: float) -> None:
    assert run(saved(tmp_path / "a.pth", {"weight": torch.tensor([value])}), tmp_path / "a.safetensors") == 0
    assert load_file(tmp_path / "a.safetensors")["weight"].item() == value


def test_a_value_beyond_float16_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = saved(tmp_path / "a.pth", {"fine": torch.ones(1), "norm.running_var": torch.tensor([1.0, -1e6])})
    target = tmp_path / "a.safetensors"
    assert run(source, target) == 1
    message = capsys.readouterr().err
    assert re.search(rf"{source}: norm\.running_var: .*float16 .*65504.*found 1e\+06", message)
    assert not target.exists()
    assert run(source, target, "--dtype", "bfloat16") == 0


@pytest.mark.parametrize(
    ("source", "target", "facts"),
    [
        ("missing.pth", "a.safetensors", r"missing\.pth: "),
        ("a.pth", "a.pth", r"a\.pth: expected .*\.safetensors"),
        ("a.pth", "a.pth/b.safetensors", r"b\.safetensors: "),
    ],
)
def test_wrong_paths_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, target: str, facts: str
) -> None:
    content = saved(tmp_path / "a.pth", {"weight": torch.ones(1)}).read_bytes()
    assert run(tmp_path / source, tmp_path / target) == 1
    assert re.search(facts, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
    assert (tmp_path / "a.pth").read_bytes() == content
