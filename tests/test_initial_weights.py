"""Starting a training from the official files, and overfitting one clip."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.dataloaders.train_datasets import build_train_loader
from aot_plus.networks.managers.initial_weights import initialise, pretrained_file
from aot_plus.networks.managers.learner import Learner
from aot_plus.networks.managers.processes import ProcessPlace
from aot_plus.networks.models import AOT, build_model
from aot_plus.utils.catalogue import find_checkpoint
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import CheckpointError, ConfigError
from tests.tiny_training import tiny_config
from tests.train_videos import write_dataset
from tests.weights_by_name import tensor_by_name

KEYS = Path(__file__).parent / "golden" / "state_dict_keys" / "official"


def official(name: str) -> dict[str, Tensor]:
    """Returns a state dict like that of the AOT benchmark's model of this name."""
    shapes = json.loads((KEYS / f"{name}.json").read_text(encoding="utf-8"))
    return {key: tensor_by_name(key, tuple(shape)) for key, shape in shapes.items()}


def initialised(cfg: Config, folder: Path) -> tuple[AOT, dict[str, Tensor]]:
    """Returns a model initialised as ``cfg`` says, and its weights from before that."""
    cfg.DIR_PRETRAIN = str(folder)
    torch.manual_seed(0)
    model = build_model(cfg)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    initialise(model, cfg)
    return model, before


@pytest.mark.parametrize(("name", "wrapped"), [("r50_aotl", True), ("r50_deaotl", False)])
def test_official_files_start_the_training(
    name: str, wrapped: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = official(name)
    cfg = get_config("pre_vost_2", name)
    saved = {f"module.{key}": tensor for key, tensor in tensors.items()}
    torch.save({"state_dict": saved} if wrapped else tensors, tmp_path / cfg.PRETRAIN_MODEL)
    with caplog.at_level("INFO"):
        model, before = initialised(cfg, tmp_path)

    fresh = set()
    for key, tensor in model.state_dict().items():
        if key == "patch_wise_id_bank.weight":
            assert torch.equal(tensor[:, :-1], tensors[key])
            assert torch.equal(tensor[:, -1], before[key][:, -1])
        elif key in tensors and tensor.shape == tensors[key].shape:
            assert torch.equal(tensor, tensors[key]), key
        else:
            assert torch.equal(tensor, before[key]), key
            fresh.add(key)
            assert key in caplog.text
    embeddings = {"cur_pos_emb", "mem_pos_emb"}
    modules = ("norm4", "linear_QMem", "linear_KMem", "linear_VMem") if name == "r50_aotl" else ()
    short = {f"LSTT.layers.{i}.{m}.{part}" for i in range(3) for m in modules for part in ("weight", "bias")}
    assert fresh == embeddings | short
    left_out = set(tensors) - set(model.state_dict())
    if name == "r50_aotl":
        assert any("relative_emb" in key for key in left_out)
    assert all(key in caplog.text for key in left_out if not key.endswith("num_batches_tracked"))
    assert "patch_wise_id_bank.weight" in caplog.text


def test_an_imagenet_file_starts_the_encoder_alone(tmp_path: Path) -> None:
    cfg = get_config("pre", "aott")
    prefix = "encoder."
    encoder = build_model(cfg).encoder.state_dict()
    tensors = {name: tensor_by_name(name, tuple(tensor.shape)) for name, tensor in encoder.items()}
    classifier = {"classifier.1.weight": torch.ones(1000, 1280), "classifier.1.bias": torch.ones(1000)}
    torch.save({**tensors, **classifier}, tmp_path / cfg.PRETRAIN_ENCODER)
    model, before = initialised(cfg, tmp_path)
    for name, tensor in model.state_dict().items():
        expected = tensors[name.removeprefix(prefix)] if name.startswith(prefix) else before[name]
        assert torch.equal(tensor, expected), name


def test_a_file_with_another_encoder_needs_a_file_for_the_encoder(tmp_path: Path) -> None:
    """Most of this encoder's tensors have the same names and shapes as in the file."""
    encoder = "resnet18"
    cfg = get_config("pre_vost_2", "r50_aotl", overrides={"MODEL_ENCODER": encoder})
    torch.save(official("r50_aotl"), tmp_path / cfg.PRETRAIN_MODEL)
    for file in (cfg.PRETRAIN_ENCODER, ""):
        cfg.PRETRAIN_ENCODER = file
        message = rf"{cfg.PRETRAIN_MODEL}: .*{encoder}.*resnet50.*{file}.*PRETRAIN_MODEL= PRETRAIN_ENCODER="
        with pytest.raises(CheckpointError, match=message):
            initialised(cfg, tmp_path)


def test_a_file_for_the_encoder_replaces_the_one_in_the_initial_weights(tmp_path: Path) -> None:
    overrides = {"MODEL_ENCODER": "resnet18", "PRETRAIN_ENCODER": "mine.pth"}
    cfg = get_config("pre_vost_2", "r50_aotl", overrides=overrides)
    tensors = official("r50_aotl")
    torch.save(tensors, tmp_path / cfg.PRETRAIN_MODEL)
    encoder = {name: torch.full_like(t, 0.5) for name, t in build_model(cfg).encoder.state_dict().items()}
    torch.save(encoder, tmp_path / "mine.pth")
    model, _ = initialised(cfg, tmp_path)
    assert all((tensor == 0.5).all() for tensor in model.encoder.state_dict().values())
    name = "LSTT.layers.0.linear_Q.weight"
    assert torch.equal(model.state_dict()[name], tensors[name])


def test_a_part_of_a_custom_encoder_is_enough(tmp_path: Path) -> None:
    cfg = get_config("mini_vost", "aot_mini", overrides={"MODEL_ENCODER": "tests.own_encoders:Pooled"})
    cfg.MODEL_ALIGN_CORNERS = False
    tensors = build_model(cfg).state_dict()
    cfg.PRETRAIN_MODEL = "start.pth"
    some = {name: tensor for name, tensor in tensors.items() if name != "encoder.stem.0.bias"}
    torch.save(some, tmp_path / "start.pth")
    initialised(cfg, tmp_path)
    torch.save({n: t for n, t in tensors.items() if not n.startswith("encoder.")}, tmp_path / "start.pth")
    with pytest.raises(CheckpointError, match="Pooled"):
        initialised(cfg, tmp_path)


@pytest.mark.parametrize(
    ("stage", "model", "message"),
    [
        ("pre_vost_2", "r50_aotl", r"R50_AOTL_PRE_YTB_DAV\.pth.*\(PRETRAIN_MODEL\).*aot-benchmark"),
        ("pre", "aott", r"\(PRETRAIN_ENCODER\).*download\.pytorch\.org/models/mobilenet_v2-b0353104\.pth"),
    ],
)
def test_a_missing_file_says_how_to_get_it(tmp_path: Path, stage: str, model: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        initialised(get_config(stage, model), tmp_path)


def test_an_unknown_stage_to_start_from_is_told_apart_from_an_untrained_one(tmp_path: Path) -> None:
    def start(stage: str) -> None:
        cfg = get_config("pre_vost_2", "aott", overrides={"PRETRAIN_STAGE": stage})
        cfg.DIR_RESULT = str(tmp_path)
        pretrained_file(cfg)

    with pytest.raises(ConfigError, match=r"PRETRAIN_STAGE: .*'pre_ytb_dvs'.*pre_ytb_dav"):
        start("pre_ytb_dvs")
    for stage in ("pre_ytb_dav", "my_stages:Mine"):
        with pytest.raises(CheckpointError, match=f"--stage {stage}"):
            start(stage)


def test_a_missing_file_of_a_timm_backbone_is_not_looked_for_at_torchvision(tmp_path: Path) -> None:
    cfg = get_config("pre", "aott", overrides={"MODEL_ENCODER": "timm:convnext_atto"})
    with pytest.raises(CheckpointError, match=r"\(PRETRAIN_ENCODER\).*docs/encoders\.md"):
        initialised(cfg, tmp_path)


def test_a_shipped_file_and_a_path_start_a_training(tmp_path: Path) -> None:
    shipped = find_checkpoint("aot_mini.safetensors")
    assert shipped is not None
    for name in ("aot_mini.safetensors", str(shipped)):
        values = {"PRETRAIN_MODEL": name, "DIR_PRETRAIN": str(tmp_path)}
        cfg = get_config("mini_vost", "aot_mini", overrides=values)
        assert pretrained_file(cfg) == shipped


@pytest.mark.parametrize("trained", [{}, {"TRAIN_ENCODER_FREEZE_AT": 0}, {"MODEL_FREEZE_BN": False}])
def test_frozen_random_weights_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trained: dict[str, Any]
) -> None:
    nothing = {"PRETRAIN_MODEL": "", "PRETRAIN_ENCODER": ""}
    initialised(get_config("pre_vost_2", "aott", overrides=nothing | trained), tmp_path)
    (warning,) = [entry.message for entry in caplog.records if entry.levelname == "WARNING"]
    assert "TRAIN_ENCODER_FREEZE_AT=0" in warning
    caplog.clear()
    initialised(get_config("mini_vost", "aot_mini", overrides=nothing), tmp_path)
    assert not [entry for entry in caplog.records if entry.levelname == "WARNING"]


def test_a_file_of_another_family_is_refused(tmp_path: Path) -> None:
    cfg = get_config("pre_vost_2", "r50_aotl")
    torch.save({"conv1.weight": torch.ones(3)}, tmp_path / cfg.PRETRAIN_MODEL)
    with pytest.raises(CheckpointError, match=r"found 0 .*conv1\.weight"):
        initialised(cfg, tmp_path)


def test_one_clip_is_learned_by_heart(tmp_path: Path) -> None:
    """Later steps commit predictions: the clip's masks must propagate on their own."""
    write_dataset(tmp_path / "VOST")
    cfg = tiny_config(
        tmp_path / "VOST",
        TRAIN_BATCH_SIZE=1,
        TRAIN_TOTAL_STEPS=36,
        TRAIN_LR=2e-3,
        TRAIN_LR_ENCODER_RATIO=1.0,
        TRAIN_ID_SHUFFLE=False,
        DATA_SEQ_LEN=4,
        DATA_DYNAMIC_MERGE_PROB=0.0,
    )
    batch = next(iter(build_train_loader(cfg)))
    torch.manual_seed(0)
    learner = Learner(build_model(cfg), cfg, device=torch.device("cpu"), place=ProcessPlace())
    results = [learner.train_step(batch, step) for step in range(cfg.TRAIN_TOTAL_STEPS)]
    first, last = results[0], results[-1]
    assert np.nanmean(first.mean_iou) < 0.5
    assert last.sequential
    assert np.nanmean(last.mean_iou[1:]) > 0.9
