"""Custom stages, models and policies in files in the working folder, and what the tools do with them."""

import re
from pathlib import Path

import pytest
import torch

from aot_plus.configs import Config
from aot_plus.dataloaders.mini_vost.writer import make_dataset
from aot_plus.networks.managers.origin import origin_of_masks, origin_of_weights
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.networks.memory.policies import build_policy
from aot_plus.networks.models import AOT, build_model
from aot_plus.networks.models.loading import load_from_config
from aot_plus.pipeline.choices import EvalRequest, choose
from aot_plus.pipeline.train import check_files, evaluation_job
from aot_plus.tools import train as train_tool
from aot_plus.utils.catalogue import DEFAULT_MODEL
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import CheckpointError, ConfigError, DataError
from aot_plus.utils.paths import run_folder
from tests.tiny_training import tiny_config
from tests.train_videos import write_dataset

FILE = '''
from aot_plus.configs import mini_vost, pre_vost
from aot_plus.configs.models import aott
from aot_plus.networks.memory.policies import FifoPolicy

NOT_A_CLASS = 3

class Mine(pre_vost.StageConfig):
    """Starts and ends with files and data of its own; its name is like that of no other stage."""
    DATASETS = ("videos", "more_videos")
    TEST_DATASET = "videos"
    TEST_DATASET_SPLIT = "train"
    TRAIN_MODEL = "aott"
    PRETRAIN_MODEL = "mine.pth"
    TEST_CKPT_PATH = "mine.pth"

class mini_vost_on_vost(mini_vost.StageConfig):
    """Is called as if it were about MiniVOST."""
    DATASETS = ("vost",)
    TEST_DATASET = "vost"
    TRAIN_MODEL = "deaott"

class Tiny(mini_vost.StageConfig):
    """From a checkpoint over a training to a score, all by the values of the class."""
    DATASETS = ("videos",)
    TEST_DATASET = "videos"
    TEST_DATASET_SPLIT = "train"
    PRETRAIN_MODEL = "start.pth"
    MODEL_ENCODER_EMBEDDING_DIM: int = 32
    MODEL_LSTT_NUM: int = 1
    DATA_WORKERS = 0
    DATA_RANDOMCROP = (49, 49)
    DATA_SHORT_EDGE_LEN = 64
    DATA_SEQ_LEN = 3
    TRAIN_BATCH_SIZE = 1
    TRAIN_TOTAL_STEPS = 1
    TRAIN_DTYPE = "float32"

class Small(aott.ModelConfig):
    MODEL_ENCODER_EMBEDDING_DIM = 64

class Misspelt(pre_vost.StageConfig):
    DATA_SEQ_LENGTH = 3

class Newest(FifoPolicy):
    pass
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that is not on Python's path, as for the installed command."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    name = f"stages_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(FILE, encoding="utf-8")
    return tmp_path / name


def test_the_values_of_the_class_are_used(folder: Path) -> None:
    cfg = get_config(f"{folder.name}:Mine")
    assert f"{folder.name}:Mine" == cfg.STAGE_NAME
    assert cfg.MODEL_NAME == "aott"
    assert (cfg.DATASETS, cfg.TEST_DATASET) == (("videos", "more_videos"), "videos")
    assert get_config(f"{folder.name}:Mine", "r50_aotl").MODEL_NAME == "r50_aotl"
    assert get_config("pre_vost", f"{folder.name}:Small").MODEL_ENCODER_EMBEDDING_DIM == 64


def test_a_policy_in_the_working_folder(folder: Path) -> None:
    cfg = get_config("default", "aott", overrides={"MEM_POLICY": f"{folder.name}:Newest"})
    assert type(build_policy(cfg)).__name__ == "Newest"


@pytest.mark.parametrize(
    ("stage", "facts"),
    [
        ("no_such_file:Mine", "--stage: .*'no_such_file:Mine'.*{folder}"),
        ("{}:NoSuchClass", "--stage: .*NoSuchClass"),
        ("{}:NOT_A_CLASS", "--stage: expected a class.*NOT_A_CLASS"),
        ("{}:Misspelt", r"'DATA_SEQ_LENGTH'.* DATA_SEQ_LEN\b"),
        ("mini_vos", r"'mini_vos'.* mini_vost\b.*package\.module:ClassName"),
    ],
)
def test_an_error_in_a_class_is_reported(folder: Path, stage: str, facts: str) -> None:
    with pytest.raises(ConfigError, match=facts.format(folder=folder.parent)):
        get_config(stage.format(folder.name))


def test_evaluation_takes_dataset_checkpoint_and_model_of_the_class(folder: Path) -> None:
    make_dataset(folder.parent / "videos", 0, 1, 0, 1)
    request = EvalRequest(stage=f"{folder.name}:Mine")
    with pytest.raises(ConfigError, match=r"mine\.pth"):
        choose(request)
    (folder.parent / "mine.pth").touch()
    choice = choose(request)
    assert choice.checkpoint == folder.parent / "mine.pth"
    assert (choice.cfg.MODEL_NAME, choice.cfg.TEST_DATASET) == ("aott", "videos")
    assert choice.cfg.TEST_DATASET_SPLIT == "train"
    assert not choice.shipped


def test_a_named_stage_is_never_replaced_by_the_small_one(folder: Path) -> None:
    with pytest.raises(DataError, match=r"VOST: .*vostdataset\.org"):
        choose(EvalRequest(stage=f"{folder.name}:mini_vost_on_vost"))
    (folder.parent / "aot_plus/datasets/VOST/ImageSets").mkdir(parents=True)
    with pytest.raises(ConfigError, match="deaott"):
        choose(EvalRequest(stage=f"{folder.name}:mini_vost_on_vost"))


def test_training_takes_data_start_and_test_set_of_the_class(folder: Path) -> None:
    cfg = get_config(f"{folder.name}:Mine")
    with pytest.raises(DataError) as missing:
        check_files(cfg, overwrite=False, evaluated=True)
    assert "videos: " in str(missing.value)
    assert re.search(r"mine\.pth: .*\(PRETRAIN_MODEL\)", str(missing.value))
    make_dataset(folder.parent / "videos", 0, 1, 0, 1)
    assert evaluation_job(cfg, Path("w.pth"), 1).cfg.TEST_DATASET == "videos"
    assert run_folder(cfg).parts[-2:] == ("default_aott", f"{folder.name}.Mine")
    cfg = get_config("pre", f"{folder.name}:Small")
    assert run_folder(cfg, "my:Other").parts[-2:] == (f"default_{folder.name}.Small", "my.Other")


def test_a_stage_leads_to_a_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_dataset(folder.parent / "videos", sequences=1, length=6)
    stage = f"{folder.name}:Tiny"
    torch.manual_seed(5)
    start = build_model(get_config(stage)).state_dict()
    (folder.parent / "aot_plus/pretrain_models").mkdir(parents=True)
    torch.save(start, folder.parent / "aot_plus/pretrain_models/start.pth")
    assert train_tool.main(["--stage", stage]) == 0
    results = run_folder(get_config(stage))
    trained = torch.load(results / "ckpt/save_step_1.pth", weights_only=True)["state_dict"]
    changes = [float((trained[name] - start[name]).abs().max()) for name in start if start[name].dim() > 1]
    assert 0 < max(changes) < 0.01  # one step away from the start
    assert (results / "eval/videos/emfs_1+8/global_results-train.csv").is_file()
    assert "J" in capsys.readouterr().out


def test_the_training_tool_names_what_the_class_lacks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_tool.main(["--stage", f"{folder.name}:Mine"]) == 1
    assert re.search(r"mine\.pth: .*\(PRETRAIN_MODEL\)", capsys.readouterr().err)


def test_the_paper_s_stage_trains_the_paper_s_model() -> None:
    assert Config.TRAIN_MODEL == DEFAULT_MODEL
    assert get_config("mini_vost").MODEL_NAME == "aot_mini"


def test_the_network_of_the_page_is_trained_from_a_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Only its gates start from random weights. The file, an AOT+'s, does not make it one."""
    page = Path(__file__).parents[1] / "docs" / "checkpoints.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "page_networks.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    write_dataset(tmp_path / "videos", sequences=1)
    torch.save(build_model(tiny_config(tmp_path / "videos")).state_dict(), tmp_path / "plus.pth")
    own = {"MODEL_VOS": "page_networks:GatedAOT", "PRETRAIN_MODEL": str(tmp_path / "plus.pth")}
    cfg = tiny_config(tmp_path / "videos", **own, TRAIN_TOTAL_STEPS=1)
    with caplog.at_level("INFO"):
        Trainer(cfg, tmp_path / "run").run()
    assert "2 left as they were, not in the file" in caplog.text
    (trained,) = (tmp_path / "run" / "ema_ckpt").iterdir()
    assert type(load_from_config(cfg, trained, device="cpu")).__name__ == "GatedAOT"
    plain = tiny_config(tmp_path / "videos")
    for file in (trained, *(tmp_path / "run" / "ckpt").iterdir()):
        with pytest.raises(CheckpointError, match=rf"{file}: .* aot \(.* page_networks:GatedAOT"):
            load_from_config(plain, file, device="cpu")
    assert type(load_from_config(plain, tmp_path / "plus.pth", device="cpu")) is AOT
    assert any("page_networks.py" in name for name in origin_of_weights(cfg, None))
    assert any("page_networks.py" in name for name in origin_of_masks(cfg, None))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("aott", r"expected one of aot, .*found 'aott'; the nearest: aot"),
        (f"{__name__}:Path", "expected a subclass of .*AOT"),
        (f"{__name__}:Unbuildable", r"KeyError in __init__\(\), .*test_own_stages.py, line \d+"),
    ],
)
def test_a_network_that_cannot_be_built_is_named(name: str, found: str) -> None:
    with pytest.raises(ConfigError, match=f"^MODEL_VOS:? .*{found}"):
        build_model(get_config("mini_vost", "aot_mini", overrides={"MODEL_VOS": name}))


class Unbuildable(AOT):
    """Has a bug."""

    def __init__(self, cfg: Config) -> None:
        raise KeyError("a bug")
