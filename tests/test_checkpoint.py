"""Checkpoint files: every readable form, every kind of damage by name, and what happens to each tensor."""

import logging
import pickle
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from aot_plus.networks.models.checkpoint import inspect_checkpoint, load_encoder, load_into
from aot_plus.networks.models.checkpoint_file import read_state_dict
from aot_plus.networks.models.loading import load_model
from aot_plus.utils.errors import CheckpointError, VOSError
from tests.weights_by_name import fill_by_name


class Transformer(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleDict({"linear_KMem": nn.Linear(4, 4)}) for _ in range(layers))
        self.decoder_norms = nn.ModuleList([nn.LayerNorm(4)])


class Model(nn.Module):
    """A stand-in with the names that loading knows: an identity bank, layers, an encoder with batch norm."""

    def __init__(self, layers: int = 2, bank_channels: int = 5, temporal_slots: int = 0) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        )
        self.LSTT = Transformer(layers)
        self.decoder = nn.ModuleDict({"conv_out": nn.Conv2d(4, 4, 1)})
        self.patch_wise_id_bank = nn.Conv2d(bank_channels, 4, 3)
        if temporal_slots:
            self.cur_pos_emb = nn.Parameter(torch.zeros(1, 4))
            self.mem_pos_emb = nn.Parameter(torch.zeros(temporal_slots, 4))


def named_weights(**options: int) -> dict[str, Tensor]:
    model = Model(**options)
    fill_by_name(model)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
@pytest.mark.parametrize("legacy", [False, True])
def test_forms_of_a_pickle_file(tmp_path: Path, prefix: str, key: str | None, legacy: bool) -> None:
    weights = named_weights()
    content: dict = {prefix + name: tensor for name, tensor in weights.items()}
    if key:
        content = {key: content, "optimizer": {"lr": 0.1}, "scaler": {}}
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert_equal(read_state_dict(path), weights)


def test_forms_of_a_safetensors_file(tmp_path: Path) -> None:
    weights = named_weights()
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({f"module.{name}": tensor for name, tensor in weights.items()}, path)
    assert_equal(read_state_dict(str(path)), weights)


def test_names_of_wrappers_are_removed(tmp_path: Path) -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    weights = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer[1] = torch.compile(layer[1])
    wrapped = torch.nn.DataParallel(torch.compile(torch.nn.DataParallel(layer)))
    path = saved(tmp_path / "wrapped.pth", wrapped.state_dict())
    assert not weights.keys() & wrapped.state_dict().keys()
    assert_equal(read_state_dict(path), weights)


def test_half_precision_is_loaded_into_full_precision(tmp_path: Path) -> None:
    weights = {name: tensor.half() for name, tensor in named_weights().items()}
    path = tmp_path / "half.safetensors"
    safetensors.torch.save_file(weights, path)
    model = Model()
    load_into(model, path, strict=True)
    found = model.state_dict()["decoder.conv_out.weight"]
    assert found.dtype == torch.float32
    assert torch.equal(found, weights["decoder.conv_out.weight"].float())


class Refused:
    def __reduce__(self) -> tuple:
        return (print, ("this code was run",))


DAMAGED = {
    "empty.pth": b"",
    "empty.safetensors": b"",
    "text.pth": b"version https://git-lfs.github.com/spec/v1\n",
    "page.safetensors": b"<!DOCTYPE html><html></html>",
    "page.pth": b"<html>Too many people have fetched this</html>",
    "less.pth": b"<no page",
    "noise.pth": bytes(range(256)) * 20,
    "noise.safetensors": bytes(range(256)) * 20,
    "code.pth": pickle.dumps({"weight": Refused()}, protocol=2),
    "picture.pth": b"\x89PNG\r\n\x1a\n" + bytes(100),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_and_foreign_files_are_named(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    with pytest.raises(CheckpointError, match=re.escape(str(path))) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)  # PyTorch's advice would let the file run code
    assert ("page" in name) == ("web page" in str(caught.value))
    assert ("text" in name) == ("Git LFS" in str(caught.value))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_of_a_checkpoint_is_named(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("files/AOT_EMFS.pth", bytes(5000))
    with pytest.raises(CheckpointError, match=r"archive of files/AOT_EMFS\.pth: unpack"):
        read_state_dict(path)


@pytest.mark.parametrize(("mode", "kind"), [("w", "tar"), ("w:gz", "gzip")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_tar_archive_is_named(tmp_path: Path, mode: Literal["w", "w:gz"], kind: str, suffix: str) -> None:
    torch.save(named_weights(), tmp_path / "inside.pth")
    path = tmp_path / f"model{suffix}"
    with tarfile.open(path, mode) as archive:
        archive.add(tmp_path / "inside.pth", "inside.pth")
    with pytest.raises(CheckpointError, match=f"found a {kind} archive: unpack"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_truncated_files_are_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save(named_weights(), path)
    else:
        safetensors.torch.save_file(named_weights(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=re.escape(str(path))):
        read_state_dict(path)


def test_a_zip_of_something_else_is_named(tmp_path: Path) -> None:
    path = tmp_path / "archive.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(CheckpointError, match=r"archive\.pth: "):
        read_state_dict(path)


def test_a_pickled_model_is_refused_with_its_class(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole.pth", nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ([torch.zeros(1)], "found list"),
        (torch.zeros(1), "found Tensor"),
        ({}, "found none"),
        ({"state_dict": {}}, "found none"),
        ({"weight": torch.zeros(1), "step": 3}, "step: .* found int"),
        ({"a": torch.zeros(1), "module.a": torch.zeros(1)}, " a: "),
        ({"bias": torch.tensor([0.0, float("nan")])}, "bias: .*finite"),
        ({"bias": torch.tensor([float("inf")])}, "bias: .*finite"),
    ],
)
def test_content_of_another_kind_is_named(tmp_path: Path, content: object, found: str) -> None:
    path = saved(tmp_path / "content.pth", content)
    with pytest.raises(CheckpointError, match=found) as caught:
        read_state_dict(path)
    assert str(path) in str(caught.value)


def test_paths_that_are_no_checkpoint_files(tmp_path: Path) -> None:
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "weights.onnx").write_bytes(b"1")
    for name, message in (
        ("folder.pth", "found a folder"),
        ("missing.pth", r"missing\.pth"),
        ("weights.onnx", "safetensors"),
        ("x" * 300 + ".pth", "too long"),
        ("a\0b.pth", "a.b"),
    ):
        with pytest.raises(CheckpointError, match=message):
            read_state_dict(tmp_path / name)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "  ", "/", "./"])
def test_a_name_that_cannot_be_a_checkpoint_is_an_error_of_the_project(name: str) -> None:
    with pytest.raises(VOSError):
        load_model("aot_mini", name, stage="mini_vost", device="cpu")


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_that_fits_is_loaded_in_full(tmp_path: Path, strict: bool) -> None:
    weights = named_weights()
    model = Model()
    report = load_into(model, saved(tmp_path / "model.pth", weights), strict=strict)
    counted = {name for name in weights if "num_batches" not in name}
    assert report.loaded.keys() == counted
    assert report.loaded["patch_wise_id_bank.weight"] == "4x5x3x3"
    assert [report.adapted, report.missing, report.unexpected, report.misshapen] == [{}, {}, {}, {}]
    for name in counted:
        assert torch.equal(model.state_dict()[name], weights[name]), name
    names = "encoder.* (12), LSTT.* (6), decoder.* (2), patch_wise_id_bank.* (2)"
    assert "22 of 22" in report.summary()
    assert report.summary().endswith(names)


def test_batch_counts_are_ignored_on_both_sides(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in named_weights().items() if "num_batches" not in name}
    report = load_into(Model(), saved(tmp_path / "a.pth", weights), strict=True)
    assert not report.missing
    weights["decoder.num_batches_tracked"] = torch.tensor(3)
    report = load_into(Model(), saved(tmp_path / "b.pth", weights), strict=True)
    assert not report.unexpected


def test_an_identity_bank_without_the_ignore_channel_is_adapted(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pth", named_weights(bank_channels=4))
    name = "patch_wise_id_bank.weight"
    for strict in (False, True):
        model = Model()
        fresh = model.state_dict()[name][:, -1].clone()
        report = load_into(model, path, strict=strict)
        assert list(report.adapted) == [name]
        assert name in report.summary()
        bank = model.state_dict()[name]
        assert torch.equal(bank[:, :-1], read_state_dict(path)[name])
        assert torch.equal(bank[:, -1], torch.zeros_like(fresh) if strict else fresh)


def test_training_takes_what_fits_and_reports_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = named_weights(layers=3)
    del weights["LSTT.layers.0.linear_KMem.bias"]
    weights["decoder.conv_out.bias"] = torch.zeros(9)
    weights["LSTT.mask_token"] = torch.zeros(1, 4)
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        report = load_into(model, saved(tmp_path / "model.pth", weights), strict=False)
    assert report.missing == {"LSTT.layers.0.linear_KMem.bias": "4"}
    assert report.misshapen == {"decoder.conv_out.bias": "model 4, file 9"}
    assert report.unexpected.keys() == {
        "LSTT.mask_token",
        "LSTT.layers.2.linear_KMem.weight",
        "LSTT.layers.2.linear_KMem.bias",
    }
    for name in (*report.missing, *report.misshapen):
        assert torch.equal(model.state_dict()[name], before[name])
    assert torch.equal(model.state_dict()["decoder.conv_out.weight"], weights["decoder.conv_out.weight"])
    for name in (*report.missing, *report.misshapen, *report.unexpected):
        assert name in caplog.text
    for loaded in ("decoder.conv_out.weight", "LSTT.layers.0.linear_KMem.weight"):  # of incomplete modules
        assert loaded in caplog.text
    total = len(report.loaded) + len(report.missing) + len(report.misshapen)
    assert f" {len(report.loaded)} of {total} " in caplog.text


def test_evaluation_refuses_missing_and_misshapen_tensors(tmp_path: Path) -> None:
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = named_weights()
    del weights["decoder.conv_out.bias"]
    with pytest.raises(CheckpointError, match=r"missing, 1: decoder.conv_out.bias \(4\)"):
        load_into(model, saved(tmp_path / "a.pth", weights), strict=True)
    weights["decoder.conv_out.bias"] = torch.zeros(9)
    with pytest.raises(CheckpointError, match=r"shape, 1: decoder.conv_out.bias \(model 4, file 9\)"):
        load_into(model, saved(tmp_path / "b.pth", weights), strict=True)
    assert_equal(model.state_dict(), before)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("decoder.conv_out.bias", torch.tensor([1, 2, 3, 4]), "int64"),
        ("decoder.conv_out.bias", torch.tensor([0, 1, 2, -1e39], dtype=torch.float64), "1e+39"),
        ("encoder.relative_position_index", torch.tensor([0, 1, 3, 2]), "other numbers"),
        ("encoder.relative_position_index", torch.tensor([0.0, 1.0, 2.0, 3.0]), "float32"),
    ],
)
def test_values_that_the_model_cannot_take_are_refused(
    tmp_path: Path, strict: bool, name: str, value: Tensor, found: str
) -> None:
    model = Model()
    model.encoder.register_buffer("relative_position_index", torch.arange(4))
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights = {"encoder.relative_position_index": torch.arange(4), **named_weights(), name: value}
    with pytest.raises(CheckpointError, match=re.escape(name) + ".*" + re.escape(found)):
        load_into(model, saved(tmp_path / "model.pth", weights), strict=strict)
    assert_equal(dict(model.state_dict()), before)


def test_a_wider_type_is_loaded_where_its_values_fit(tmp_path: Path) -> None:
    model = Model()
    model.encoder.register_buffer("relative_position_index", torch.arange(4))
    weights = {name: tensor.double() for name, tensor in named_weights().items()}
    weights["decoder.conv_out.bias"][:] = torch.finfo(torch.float32).max
    weights["encoder.relative_position_index"] = torch.arange(4, dtype=torch.int32)
    load_into(model, saved(tmp_path / "model.pth", weights), strict=True)
    assert torch.equal(model.state_dict()["decoder.conv_out.bias"].double(), weights["decoder.conv_out.bias"])


def test_a_long_list_of_missing_tensors_is_cut(tmp_path: Path) -> None:
    kept = {
        name: tensor for name, tensor in named_weights().items() if name.startswith(("encoder.0", "LSTT"))
    }
    path = saved(tmp_path / "model.pth", kept)
    with pytest.raises(
        CheckpointError,
        match=r"missing, 14: encoder\.1\.weight .*encoder\.3\.running_var \(4\).* 4\b",
    ):
        load_into(Model(), path, strict=True)


def test_evaluation_tolerates_what_nothing_reads(tmp_path: Path) -> None:
    weights = {name: tensor for name, tensor in named_weights().items() if "linear_KMem" not in name}
    weights["LSTT.mask_token"] = torch.zeros(1, 4)
    report = load_into(Model(), saved(tmp_path / "model.pth", weights), strict=True)
    assert len(report.missing) == 4
    assert list(report.unexpected) == ["LSTT.mask_token"]


def test_evaluation_refuses_the_file_of_a_deeper_model(tmp_path: Path) -> None:
    path = saved(tmp_path / "model.pth", named_weights(layers=3))
    with pytest.raises(CheckpointError, match=r"LSTT\.layers\.2"):
        load_into(Model(layers=2), path, strict=True)


@pytest.mark.parametrize("strict", [True, False])
def test_a_file_of_another_model_is_refused(tmp_path: Path, strict: bool) -> None:
    path = saved(tmp_path / "model.pth", {"conv1.weight": torch.zeros(4, 3, 7, 7)})
    with pytest.raises(CheckpointError, match=r"expected 22 .*found 0 .*conv1\.weight"):
        load_into(Model(), path, strict=strict)


def test_a_model_that_shares_the_decoder_alone_is_another(tmp_path: Path) -> None:
    """Training would start with almost nothing from the file: 2 of the model's 22 tensors."""
    weights = {name: tensor for name, tensor in named_weights().items() if name.startswith("decoder.")}
    weights |= {f"backbone.{number}.weight": torch.zeros(4) for number in range(20)}
    model = Model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"expected 22 .*found 2 "):
        load_into(model, saved(tmp_path / "model.pth", weights), strict=False)
    assert_equal(model.state_dict(), before)


def test_facts_of_a_file(tmp_path: Path) -> None:
    weights = named_weights(bank_channels=5, temporal_slots=4)
    facts = inspect_checkpoint(weights)
    assert (facts.has_temporal_embedding, facts.temporal_slots) == (True, 4)
    assert facts.linear_q is None
    weights["LSTT.layers.0.linear_QMem.weight"] = torch.zeros(4, 4)
    assert inspect_checkpoint(weights).linear_q is True
    weights["LSTT.layers.0.norm4.weight"] = torch.zeros(4)
    assert inspect_checkpoint(weights).linear_q is False
    assert inspect_checkpoint(weights).aot_class == "aot"
    weights = named_weights(bank_channels=4) | {
        "LSTT.layers.0.short_term_attn.relative_emb_v": torch.zeros(8, 32, 225)
    }
    assert inspect_checkpoint(weights).aot_class == "official_aot"
    facts = inspect_checkpoint(named_weights(bank_channels=4, temporal_slots=2))
    assert (facts.has_temporal_embedding, facts.temporal_slots) == (True, 2)
    facts = inspect_checkpoint(named_weights())
    assert (facts.has_temporal_embedding, facts.temporal_slots) == (False, None)
    assert inspect_checkpoint({"mem_pos_emb": torch.tensor(0.0)}).temporal_slots is None


def resnet_like(blocks: int) -> nn.Module:
    """Returns the first stages of a ResNet, with torchvision's names."""
    layer = nn.Sequential(
        *(nn.ModuleDict({"conv1": nn.Conv2d(2, 2, 1), "bn1": nn.BatchNorm2d(2)}) for _ in range(blocks))
    )
    return nn.ModuleDict({"conv1": nn.Conv2d(3, 2, 1), "layer3": layer})


def test_imagenet_weights_go_into_the_encoder_alone(tmp_path: Path) -> None:
    source = resnet_like(2)
    fill_by_name(source)
    weights = dict(source.state_dict())
    extra = {"fc.weight": torch.zeros(3, 2), "layer4.0.conv1.weight": torch.zeros(2, 2, 1, 1)}
    encoder = resnet_like(2)
    report = load_encoder(encoder, saved(tmp_path / "resnet.pth", weights | extra))
    assert_equal(dict(encoder.state_dict()), weights)
    assert report.unexpected.keys() == extra.keys()
    with pytest.raises(CheckpointError, match=r"layer3\.1"):
        load_encoder(resnet_like(1), saved(tmp_path / "deep.pth", weights))
    with pytest.raises(CheckpointError, match="missing, 6"):
        load_encoder(resnet_like(3), saved(tmp_path / "shallow.pth", weights))
