"""The origin of results: an edited policy, new weights or changed code never go unnoticed."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aot_plus.networks.managers import origin as origin_module
from aot_plus.networks.managers.origin import origin_of_masks, origin_of_weights
from aot_plus.pipeline.run import Job
from aot_plus.tools import eval as eval_tool
from aot_plus.utils.config import get_config, save_config
from aot_plus.utils.errors import CheckpointError
from tests.test_reproduce import make_videos

POLICY = """
from aot_plus.networks.memory.policies import FifoPolicy
from {base} import Base

class Mine(Base, FifoPolicy):
    pass
"""


@pytest.fixture
def policy_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module with a policy whose base class is in a second module."""
    names = ("origin_policy", "origin_base")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"{names[1]}.py").write_text("class Base:\n    pass\n")
    path = tmp_path / f"{names[0]}.py"
    path.write_text(POLICY.format(base=names[1]))
    yield path
    for name in names:
        sys.modules.pop(name, None)


def test_the_origin_of_masks(tmp_path: Path, policy_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    cfg = get_config("mini_vost", "aot_mini", overrides={"MEM_POLICY": "origin_policy:Mine"})
    first = origin_of_masks(cfg, weights)
    assert list(first) == [
        "the checkpoint's content",
        "policy file origin_policy.py",
        "policy file origin_base.py",
        "the project's code",
    ]
    assert origin_of_masks(cfg, weights) == first

    weights.write_bytes(b"other")
    policy_file.write_text(policy_file.read_text() + "# edited")
    second = origin_of_masks(cfg, weights)
    assert [name for name in first if first[name] != second[name]] == [
        "the checkpoint's content",
        "policy file origin_policy.py",
    ]
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: "):
        origin_of_masks(cfg, tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("file", "of_masks", "of_weights"),
    [
        ("aot_plus/networks/memory/policies/emfs.py", True, True),
        ("aot_plus/networks/layers/attention.py", True, True),
        ("aot_plus/utils/tensor_cache.py", True, True),
        ("evaluation/masks.py", True, True),
        ("aot_plus/networks/managers/writer.py", True, False),
        ("aot_plus/networks/managers/video_pass.py", True, False),
        ("aot_plus/utils/masks.py", True, True),
        ("evaluation/layouts.py", True, True),
        ("aot_plus/dataloaders/clips.py", False, True),
        ("aot_plus/networks/managers/ema.py", False, True),
        ("aot_plus/networks/managers/param_groups.py", False, True),
        ("aot_plus/networks/managers/schedule.py", False, True),
        ("aot_plus/networks/managers/train_log.py", False, False),
        ("aot_plus/viz/overlay.py", False, False),
    ],
)
def test_the_code_that_counts(
    file: str, of_masks: bool, of_weights: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file is edited in a copy of both packages."""
    root = Path(origin_module.__file__).parents[3]
    for path in (*(root / "aot_plus").rglob("*.py"), *(root / "evaluation").rglob("*.py")):
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    cfg = get_config("mini_vost", "aot_mini")
    assert origin_of_masks(cfg, None).keys() == {"the project's code"}
    before = origin_of_masks(cfg, None), origin_of_weights(cfg, None)
    monkeypatch.setattr(origin_module, "_PACKAGE", tmp_path / "aot_plus")
    assert (origin_of_masks(cfg, None), origin_of_weights(cfg, None)) == before
    (tmp_path / file).write_text("edited = True")
    after = origin_of_masks(cfg, None), origin_of_weights(cfg, None)
    assert (before[0] != after[0], before[1] != after[1]) == (of_masks, of_weights)


def test_a_custom_encoder_is_part_of_the_origin() -> None:
    cfg = get_config("mini_vost", "aot_mini", overrides={"MODEL_ENCODER": "tests.own_encoders:Pooled"})
    assert "encoder file own_encoders.py" in origin_of_masks(cfg, None)
    cfg = get_config("mini_vost", "aot_mini", overrides={"MODEL_ENCODER": "timm:resnet18"})
    assert list(origin_of_masks(cfg, None)) == ["the project's code"]


def test_a_job_knows_what_differs_from_its_folder(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    cfg = get_config("mini_vost", "aot_mini")
    job = Job(cfg, weights, tmp_path)
    assert not job.differences()
    save_config(cfg, tmp_path / "config.yaml", {"origin": dict(origin_of_masks(cfg, weights))})
    assert not job.differences()
    changed = get_config("mini_vost", "aot_mini", overrides={"MEM_SPREAD_POWER": "0.3", "TEST_DEVICE": "cpu"})
    (difference,) = replace(job, cfg=changed).differences()
    assert difference.startswith("MEM_SPREAD_POWER")
    decided_by_the_file = {"MODEL_LINEAR_Q": "True", "USE_TEMPORAL_POSITIONAL_EMBEDDING": "False"}
    assert (cfg.MODEL_LINEAR_Q, cfg.USE_TEMPORAL_POSITIONAL_EMBEDDING) == (False, True)
    changed = get_config("mini_vost", "aot_mini", overrides=decided_by_the_file)
    assert not replace(job, cfg=changed).differences()
    weights.write_bytes(b"other")
    (difference,) = job.differences()
    assert "checkpoint" in difference
    assert job.renewed().overwrite


def test_an_edited_policy_is_not_evaluated_by_its_old_masks(
    tmp_path: Path, policy_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    dataset = make_videos(tmp_path / "Small")
    flags = ["--model", "aot_mini", "--dataset", str(dataset), "--device", "cpu"]
    flags += ["--policy", "origin_policy:Mine", "--result_dir", str(tmp_path / "results"), "--no_metric"]
    assert eval_tool.main(flags) == 0
    assert "1 done, 0 skipped" in capsys.readouterr().out
    policy_file.write_text(policy_file.read_text() + "# edited")
    assert eval_tool.main(flags) == 1
    captured = capsys.readouterr()
    assert "policy file origin_policy.py " in captured.err
    assert captured.out == ""
    assert eval_tool.main([*flags, "--resume"]) == 0
    assert "0 done, 1 skipped" in capsys.readouterr().out
    assert eval_tool.main([*flags, "--overwrite"]) == 0
    assert "1 done, 0 skipped" in capsys.readouterr().out
