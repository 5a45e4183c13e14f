"""AdamW's parameter groups, the frozen encoder stages and the learning rates of a step."""

from typing import Any

import pytest
import torch
from torch import nn

from aot_plus.networks.encoders import build_encoder
from aot_plus.networks.managers.param_groups import freeze_encoder, parameter_groups, set_rates
from aot_plus.utils.errors import ConfigError

EXEMPT = ["absolute_pos_embed", "relative_position_bias_table", "relative_emb_v", "conv_out"]
FREEZE = ["patch_wise_id_bank"]


class TinyModel(nn.Module):
    """One parameter of each kind, under the names of the real models."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))
        self.encoder_projector = nn.Conv2d(4, 4, 1)
        self.patch_wise_id_bank = nn.Conv2d(12, 4, 17)
        self.cur_pos_emb = nn.Parameter(torch.randn(1, 4))
        self.relative_emb_v = nn.Parameter(torch.randn(4, 4, 4))
        self.decoder = nn.ModuleDict({"conv_in": nn.Conv2d(4, 4, 1), "conv_out": nn.Conv2d(4, 2, 1)})


def settings_by_name(model: nn.Module, groups: list[dict[str, Any]]) -> dict[str, tuple[str, float]]:
    """Returns the role and weight decay of each parameter in a group."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["role"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }


def test_each_parameter_has_its_role_and_decay() -> None:
    model = TinyModel()
    groups = parameter_groups(model, 0.07, decay_exempt=EXEMPT, sequential_freeze=FREEZE)
    assert settings_by_name(model, groups) == {
        "cur_pos_emb": ("main", 0.07),
        "relative_emb_v": ("main", 0.0),
        "encoder.0.weight": ("encoder", 0.07),
        "encoder.0.bias": ("encoder", 0.0),
        "encoder.1.weight": ("encoder", 0.0),
        "encoder.1.bias": ("encoder", 0.0),
        "encoder_projector.weight": ("main", 0.07),
        "encoder_projector.bias": ("main", 0.0),
        "patch_wise_id_bank.weight": ("sequential_freeze", 0.07),
        "patch_wise_id_bank.bias": ("sequential_freeze", 0.0),
        "decoder.conv_in.weight": ("main", 0.07),
        "decoder.conv_in.bias": ("main", 0.0),
        "decoder.conv_out.weight": ("main", 0.0),
        "decoder.conv_out.bias": ("main", 0.0),
    }
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_part_of_a_name_freezes_the_parameters_that_have_it() -> None:
    model = TinyModel()
    for part, frozen in (
        ("patch_wise_id_bank.weight", {"patch_wise_id_bank.weight"}),
        ("id_bank", {"patch_wise_id_bank.weight", "patch_wise_id_bank.bias"}),
    ):
        groups = parameter_groups(model, 0.07, decay_exempt=EXEMPT, sequential_freeze=[part])
        roles = settings_by_name(model, groups)
        assert {name for name, (role, _) in roles.items() if role == "sequential_freeze"} == frozen


@pytest.mark.parametrize("part", ["patch_wise_id_bnak", "patch_wise_id_bank.weights", ""])
def test_a_name_to_freeze_that_no_parameter_has_is_an_error(part: str) -> None:
    with pytest.raises(ConfigError, match=f"TRAIN_SEQ_TRAINING_FREEZE_PARAMS: .*'{part}'"):
        parameter_groups(TinyModel(), 0.07, decay_exempt=EXEMPT, sequential_freeze=[*FREEZE, part])


def test_frozen_parameters_are_in_no_group() -> None:
    model = TinyModel()
    model.encoder.requires_grad_(False)
    groups = parameter_groups(model, 0.07, decay_exempt=EXEMPT, sequential_freeze=FREEZE)
    assert not any(name.startswith("encoder.") for name in settings_by_name(model, groups))


def test_rates_before_and_during_sequential_training() -> None:
    model = TinyModel()
    groups = parameter_groups(model, 0.07, decay_exempt=EXEMPT, sequential_freeze=FREEZE)
    optimizer = torch.optim.AdamW(groups)
    for sequential in (False, True, False):
        set_rates(optimizer, 2e-4, 1e-5, 0.1, sequential=sequential)
        for group in optimizer.param_groups:
            frozen = sequential and group["role"] == "sequential_freeze"
            rate = {"main": 2e-4, "encoder": 2.9e-5, "sequential_freeze": 0.0 if frozen else 2e-4}
            assert group["lr"] == pytest.approx(rate[group["role"]])
            assert group["weight_decay"] == (0.0 if frozen else group["base_weight_decay"])
    assert any(group["base_weight_decay"] == 0.07 for group in optimizer.param_groups)


def test_a_sequential_step_leaves_the_id_bank_as_it_is() -> None:
    torch.manual_seed(0)
    model = TinyModel()
    groups = parameter_groups(model, 0.07, decay_exempt=EXEMPT, sequential_freeze=FREEZE)
    optimizer = torch.optim.AdamW(groups)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for sequential in (True, False):
        set_rates(optimizer, 2e-4, 1e-5, 0.1, sequential=sequential)
        torch.stack([parameter.sum() for parameter in model.parameters()]).sum().backward()
        optimizer.step()
        moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        bank = {"patch_wise_id_bank.weight", "patch_wise_id_bank.bias"}
        assert moved == set(before) - (bank if sequential else set())


def test_groups_survive_the_optimizers_state_dict() -> None:
    first, second = TinyModel(), TinyModel()
    settings = {"decay_exempt": EXEMPT, "sequential_freeze": FREEZE}
    saved = torch.optim.AdamW(parameter_groups(first, 0.07, **settings))
    set_rates(saved, 2e-4, 1e-5, 0.1, sequential=True)
    loaded = torch.optim.AdamW(parameter_groups(second, 0.07, **settings))
    loaded.load_state_dict(saved.state_dict())
    set_rates(loaded, 2e-4, 1e-5, 0.1, sequential=False)
    assert {(group["role"], group["weight_decay"]) for group in loaded.param_groups} == {
        (role, decay) for role in ("main", "encoder", "sequential_freeze") for decay in (0.0, 0.07)
    }


def test_resnet50_is_frozen_up_to_its_first_stage() -> None:
    encoder = build_encoder("resnet50", freeze_bn=True)
    frozen = freeze_encoder(encoder, 2)
    # As listed by the published training run: the stem's convolution and ten in layer1.
    assert len(frozen) == 11
    assert {"conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv2.weight"} <= set(frozen)
    trainable = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, _ in encoder.named_parameters()} - set(frozen)
    assert "layer2.0.conv1.weight" in trainable


@pytest.mark.parametrize(
    ("freeze_at", "modules"),
    [(1, {"features.0"}), (2, {f"features.{i}" for i in range(4)}), (3, {f"features.{i}" for i in range(7)})],
)
def test_mobilenetv2_stages(freeze_at: int, modules: set[str]) -> None:
    frozen = freeze_encoder(build_encoder("mobilenetv2", freeze_bn=False), freeze_at)
    assert {".".join(name.split(".")[:2]) for name in frozen} == modules


def test_nothing_is_frozen_at_0() -> None:
    encoder = nn.Conv2d(1, 1, 1)
    assert freeze_encoder(encoder, 0) == []
    assert encoder.weight.requires_grad


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("timm:convnext_atto", [{"stem_0", "stem_1"}, {"stages_0"}, {"stages_1"}, {"stages_2"}]),
        ("timm:regnetx_002", [{"stem"}, {"s1"}, {"s2"}, {"s3"}]),
        (
            "timm:mobilenetv3_small_100",
            [{"conv_stem", "bn1"}, {"blocks.0"}, {"blocks.1"}, {"blocks.2", "blocks.3"}],
        ),
    ],
)
def test_the_stages_of_a_timm_backbone(name: str, stages: list[set[str]]) -> None:
    encoder = build_encoder(name, freeze_bn=False)
    parameters = set(dict(encoder.named_parameters()))
    for number in range(1, 5):
        frozen = set(freeze_encoder(encoder, number))
        modules = {f"backbone.{module}." for stage in stages[:number] for module in stage}
        assert frozen == {name for name in parameters if any(name.startswith(module) for module in modules)}
    assert frozen == parameters


def test_a_custom_encoder_is_frozen_by_the_stages_it_names() -> None:
    encoder = build_encoder("tests.own_encoders:Pooled", freeze_bn=True, align_corners=False)
    assert freeze_encoder(encoder, 1) == ["stem.0.weight", "stem.0.bias"]


@pytest.mark.parametrize(
    ("name", "freeze_at"), [("resnet18", 5), ("resnet18", -1), ("timm:hrnet_w18_small", 1)]
)
def test_stages_that_do_not_exist(name: str, freeze_at: int) -> None:
    with pytest.raises(ConfigError, match=rf"TRAIN_ENCODER_FREEZE_AT: expected 0\..*found {freeze_at}"):
        freeze_encoder(build_encoder(name, freeze_bn=True), freeze_at)
