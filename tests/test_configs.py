"""Configs: the values of every stage and model; resolving, overriding and saving them."""

import json
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aot_plus.configs import Config, DefaultModel, DefaultStage
from aot_plus.networks.managers.result_config import claim_result_folder
from aot_plus.utils import config as config_module
from aot_plus.utils.config import (
    config_to_dict,
    get_config,
    model_names,
    parse_assignments,
    read_saved_config,
    save_config,
    stage_names,
)
from aot_plus.utils.config_ranges import RANGES
from aot_plus.utils.errors import ConfigError

STAGES = ["default", "pre", "pre_vost", "pre_vost_2", "pre_vost_25q", "mini_vost"]
VOST_STAGES = ["pre_vost", "pre_vost_2", "pre_vost_25q", "mini_vost"]
# model: (class, encoder, layers, decoder reads all layers, gap train, gap test, temporal embedding)
MODELS = {
    "aott": ("aot", "mobilenetv2", 1, True, 9999, 9999, False),
    "aots": ("aot", "mobilenetv2", 2, True, 9999, 9999, False),
    "aotb": ("aot", "mobilenetv2", 3, True, 9999, 9999, False),
    "aotl": ("aot", "mobilenetv2", 3, True, 2, 5, False),
    "r50_aotl": ("aot", "resnet50", 3, True, 2, 5, True),
    "r101_aotl": ("aot", "resnet101", 3, True, 2, 5, False),
    "rs101_aotl": ("official_aot", "resnest101", 3, True, 2, 5, False),
    "swinb_aotl": ("official_aot", "swin_base", 3, True, 2, 5, False),
    "deaott": ("deaot", "mobilenetv2", 1, False, 9999, 9999, False),
    "deaots": ("deaot", "mobilenetv2", 2, False, 9999, 9999, False),
    "deaotb": ("deaot", "mobilenetv2", 3, False, 9999, 9999, False),
    "deaotl": ("deaot", "mobilenetv2", 3, False, 2, 5, False),
    "r50_deaotl": ("deaot", "resnet50", 3, False, 2, 5, True),
    "swinb_deaotl": ("deaot", "swin_base", 3, False, 2, 5, False),
}


def own_names(cls: type) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")}


def test_there_are_the_stages_and_models_of_the_design() -> None:
    assert set(STAGES) <= set(stage_names())
    assert set(MODELS) <= set(model_names())


def test_stage_and_model_names_are_disjoint_annotated_and_immutable() -> None:
    assert not own_names(DefaultStage) & own_names(DefaultModel)
    for cls in (DefaultStage, DefaultModel):
        assert own_names(cls) == set(cls.__annotations__)
        assert all(name.isupper() for name in own_names(cls))
    for value in config_values(Config()).values():
        assert value is None or isinstance(value, bool | int | float | str | tuple)


def config_values(config: Config) -> dict[str, object]:
    return {name: getattr(config, name) for name in own_names(DefaultStage) | own_names(DefaultModel)}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_resolves_with_every_model(stage: str) -> None:
    for model in MODELS:
        config = get_config(stage, model)
        assert (stage, model, "default") == (config.STAGE_NAME, config.MODEL_NAME, config.EXP_NAME)
        assert vars(config).keys() == own_names(DefaultStage) | own_names(DefaultModel)


@pytest.mark.parametrize("model", MODELS)
def test_models_are_those_of_the_table(model: str) -> None:
    config = get_config("default", model)
    found = (
        config.MODEL_VOS,
        config.MODEL_ENCODER,
        config.MODEL_LSTT_NUM,
        config.MODEL_DECODER_INTERMEDIATE_LSTT,
        config.TRAIN_LONG_TERM_MEM_GAP,
        config.TEST_LONG_TERM_MEM_GAP,
        config.USE_TEMPORAL_POSITIONAL_EMBEDDING,
    )
    assert found == MODELS[model]
    light = config.MODEL_ENCODER == "mobilenetv2"
    assert (2e-5 if light else 1e-5) == config.TRAIN_LR_MIN


def test_memory_presets() -> None:
    aot, deaot = get_config("default", "r50_aotl"), get_config("default", "r50_deaotl")
    for config, expected in ((aot, (4.0, 10.0, 0.40, "overflow")), (deaot, (2.0, 7.0, 0.25, "append"))):
        found = (config.MEM_EMFS_WEIGHT, config.MEM_EMFS_SLOPE, config.MEM_EMFS_MIDPOINT)
        assert (*found, config.MEM_AVERAGES_START) == expected
        assert (config.MEM_POLICY, config.FORMER_MEM_LEN, config.LATTER_MEM_LEN) == ("emfs", 1, 8)
        assert (config.MEM_RELEVANCE_KEEP, config.MEM_RMEM_EXPLORATION, config.MEM_RMEM_OFFSET) == (
            0.2,
            1.5,
            8.0,
        )


def test_vost_stages_override_the_model() -> None:
    for stage in STAGES:
        config = get_config(stage, "r50_aotl")
        is_vost = stage in VOST_STAGES
        assert config.MODEL_LINEAR_Q is not is_vost
        assert config.MODEL_IGNORE_TOKEN is is_vost
        gap = {"mini_vost": 1}.get(stage, 4) if is_vost else 2
        assert gap == config.TRAIN_LONG_TERM_MEM_GAP
        assert config.TEST_LONG_TERM_MEM_GAP == 5
    lengths = {stage: get_config(stage, "aott").DATA_SEQ_LEN for stage in VOST_STAGES[:3]}
    assert lengths == {"pre_vost": 15, "pre_vost_2": 17, "pre_vost_25q": 25}


def test_published_recipe() -> None:
    config = get_config("pre_vost_2", "r50_aotl")
    expected = {
        "TRAIN_TOTAL_STEPS": 20000,
        "TRAIN_BATCH_SIZE": 8,
        "TRAIN_LR": 2e-4,
        "TRAIN_LR_MIN": 1e-5,
        "TRAIN_LR_POWER": 0.9,
        "TRAIN_LR_ENCODER_RATIO": 0.1,
        "TRAIN_LR_WARM_UP_RATIO": 0.05,
        "TRAIN_WEIGHT_DECAY": 0.07,
        "TRAIN_CLIP_GRAD_NORM": 5.0,
        "TRAIN_TOP_K_PERCENT_PIXELS": 0.15,
        "TRAIN_HARD_MINING_RATIO": 0.5,
        "TRAIN_EMA_RATIO": 0.1,
        "TRAIN_SEQ_TRAINING_START_RATIO": 0.5,
        "TRAIN_SEQ_TRAINING_FREEZE_PARAMS": ("patch_wise_id_bank",),
        "TRAIN_ENCODER_FREEZE_AT": 2,
        "TRAIN_SAVE_STEP": 500,
        "TRAIN_MAX_KEEP_CKPT": 8,
        "TRAIN_LSTT_DROPPATH": 0.1,
        "DATA_RANDOMCROP": (465, 465),
        "DATA_SHORT_EDGE_LEN": 480,
        "DATA_RANDOM_GAP_VOST": 3,
        "DATA_DYNAMIC_MERGE_PROB": 0.2,
        "PRETRAIN_MODEL": "R50_AOTL_PRE_YTB_DAV.pth",
        "TEST_DATASET": "vost",
        "TEST_MAX_LONG_EDGE": 1040.0,
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_mini_vost_starts_from_nothing_and_tests_on_mini_vost() -> None:
    config = get_config("mini_vost", "aott")
    assert (config.DATASETS, config.TEST_DATASET) == (("mini_vost",), "mini_vost")
    assert config.PRETRAIN_MODEL == ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("FORMER_MEM_LEN", "2", 2),
        ("TEST_FLIP", "true", True),
        ("TEST_FLIP", "False", False),
        ("TEST_MAX_LONG_EDGE", "800", 800.0),
        ("TEST_MAX_LONG_EDGE", 800, 800.0),
        ("TEST_MULTISCALE", "(1.0, 1.3)", (1.0, 1.3)),
        ("TEST_MULTISCALE", "1,1.3", (1.0, 1.3)),
        ("TEST_MULTISCALE", [1, 1.5], (1.0, 1.5)),
        ("DATASETS", "vost,static", ("vost", "static")),
        ("DATASETS", "('vost',)", ("vost",)),
        ("TRAIN_SEQ_TRAINING_FREEZE_PARAMS", "", ()),
        ("DATA_RANDOMCROP", "[129, 129]", (129, 129)),
        ("TEST_CKPT_PATH", "a=b/1.pth", "a=b/1.pth"),
        ("TEST_CKPT_PATH", "None", None),
        ("TEST_DTYPE", "bfloat16", "bfloat16"),
        ("TRAIN_LR", "3e-4", 3e-4),
        ("MEM_POLICY", "7", "7"),
    ],
)
def test_overrides_are_read_as_their_names_type(name: str, text: object, value: object) -> None:
    found = getattr(get_config("mini_vost", "aott", overrides={name: text}), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FORMER_MEM_LEN", "1.5"),
        ("FORMER_MEM_LEN", True),
        ("FORMER_MEM_LEN", "None"),
        ("FORMER_MEM_LEN", "many words"),
        ("TEST_FLIP", 1),
        ("TEST_MULTISCALE", "1.0"),
        ("TEST_MULTISCALE", "(1.0, 'x')"),
        ("DATA_RANDOMCROP", "(1, 2, 3)"),
        ("TEST_CKPT_PATH", 3),
        ("TEST_DTYPE", "float8"),
        ("MEM_AVERAGES_START", "later"),
        ("MODEL_VOS", None),
        ("TRAIN_LR", "__import__('os')"),
        ("TRAIN_LR", "((((((((("),
    ],
)
def test_values_of_another_type_are_errors_that_name_them(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        get_config("mini_vost", "aott", overrides={name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


OUT_OF_RANGE = {
    "TEST_WRITERS": "0",
    "TEST_MAX_LONG_EDGE": "-5",
    "TEST_MULTISCALE": "(0,)",
    "TEST_MEM_GAP_PARTS": "0",
    "TEST_MEM_GAP_MIN": "0",
    "TEST_LONG_TERM_MEM_GAP": "0",
    "TRAIN_SAVE_STEP": "0",
    "TRAIN_LOG_STEP": "0",
    "TRAIN_MAX_KEEP_CKPT": "0",
    "TRAIN_TOTAL_STEPS": "0",
    "TRAIN_BATCH_SIZE": "0",
    "TRAIN_ACCUMULATION_STEPS": "0",
    "TRAIN_LR": "-1",
    "TRAIN_LR_POWER": "-1",
    "TRAIN_LR_WARM_UP_RATIO": "1.5",
    "TRAIN_WEIGHT_DECAY": "-0.1",
    "TRAIN_CLIP_GRAD_NORM": "0",
    "TRAIN_TOP_K_PERCENT_PIXELS": "0",
    "TRAIN_EMA_RATIO": "0",
    "TRAIN_SEED": "-1",
    "TRAIN_LSTT_DROPPATH": "1.1",
    "TRAIN_ENCODER_FREEZE_AT": "-1",
    "DATA_WORKERS": "-1",
    "DATA_SEQ_LEN": "1",
    "DATA_RANDOMCROP": "(129, 0)",
    "DATA_RANDOM_GAP_VOST": "0",
    "DATA_MIN_SCALE_FACTOR": "0",
    "DATA_MINI_VOST_SEED": "-1",
    "DATASETS": "()",
    "FORMER_MEM_LEN": "0",
    "LATTER_MEM_LEN": "0",
    "MEM_EMFS_WEIGHT": "1e999",
    "MEM_RELEVANCE_KEEP": "2",
    "MODEL_SELF_HEADS": "7",
    "MODEL_ATT_HEADS": "0",
    "MODEL_LSTT_NUM": "0",
    "MODEL_MAX_OBJ_NUM": "255",
    "MODEL_ENCODER_EMBEDDING_DIM": "100",
}


@pytest.mark.parametrize("name", OUT_OF_RANGE)
def test_a_value_out_of_range_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: expected .*, found "):
        get_config("mini_vost", "aott", overrides={name: OUT_OF_RANGE[name]})


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400, -(10**5000), "9" * 400, "nan"], ids=range(7)
)
def test_numbers_must_be_finite(value: object) -> None:
    for name in RANGES:
        given = (value,) if isinstance(getattr(Config, name), tuple) else value
        with pytest.raises(ConfigError, match=f"{name}: expected .{{1,100}}, found .{{1,104}}$"):
            get_config("mini_vost", "aott", overrides={name: given})


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "runs/../../elsewhere"])
def test_an_experiment_stays_among_the_results(name: str) -> None:
    with pytest.raises(ConfigError, match="EXP_NAME"):
        get_config("mini_vost", overrides={"EXP_NAME": name})
    assert get_config("mini_vost", overrides={"EXP_NAME": "runs/first"}).EXP_NAME == "runs/first"


def test_every_number_has_a_range_that_holds_its_default() -> None:
    numbers = {name for name, value in config_values(Config()).items() if _is_number(value)}
    may_be_none = {name for name in RANGES if getattr(Config, name) is None}
    assert numbers == set(RANGES) - may_be_none
    for values in (vars(get_config(stage, model)) for stage in STAGES for model in model_names()):
        for name in RANGES:
            items = values[name] if isinstance(values[name], tuple) else (values[name],)
            assert all(RANGES[name].has(item) for item in items if item is not None), name


def _is_number(value: object) -> bool:
    first = value[0] if isinstance(value, tuple) and value else value
    return type(first) in (int, float)


def test_a_custom_class_is_checked_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    class StageConfig(DefaultStage):
        TEST_WRITERS = 0

    monkeypatch.setattr("aot_plus.configs.pre_vost.StageConfig", StageConfig)
    with pytest.raises(ConfigError, match=r"TEST_WRITERS: expected .*1 to 256, found 0"):
        get_config("pre_vost", "aott")


def test_values_that_do_not_fit_each_other_are_named() -> None:
    with pytest.raises(ConfigError, match=r"MODEL_SELF_HEADS: expected .*256, found 7"):
        get_config("pre_vost", "aott", overrides={"MODEL_SELF_HEADS": 7})
    with pytest.raises(ConfigError, match=r"DATA_MIN_SCALE_FACTOR: expected .*1\.3, found 2\.0"):
        get_config("pre_vost", "aott", overrides={"DATA_MIN_SCALE_FACTOR": 2})
    rates = {"TRAIN_LR": 1e-6, "TRAIN_LR_MIN": 1e-5}
    with pytest.raises(ConfigError, match=r"TRAIN_LR: .*TRAIN_LR_MIN.*1e-05.*1e-06"):
        get_config("pre_vost", "aott", overrides=rates)
    assert get_config("pre_vost", "aott", overrides=rates | {"TRAIN_LR": 1e-5}).TRAIN_LR == 1e-5


@pytest.mark.parametrize("text", ["a\0b", "\udcff"])
def test_text_that_no_file_could_hold_is_refused(text: str) -> None:
    for name in ("TEST_DATASET", "DIR_RESULT", "TEST_CKPT_PATH"):
        with pytest.raises(ConfigError, match=f"{name}: "):
            get_config("pre_vost", "aott", overrides={name: text})
    with pytest.raises(ConfigError, match="EXP_NAME: "):
        get_config("pre_vost", "aott", text)


def test_every_listed_stage_exists() -> None:
    assert "datasets" not in stage_names()
    for stage in stage_names():
        assert stage == get_config(stage).STAGE_NAME


def test_a_wrong_choice_lists_the_choices_and_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"TEST_DTYPE: .*float32, bfloat16, float16,.*'fp16'.*float16"):
        get_config("pre_vost", "aott", overrides={"TEST_DTYPE": "fp16"})
    with pytest.raises(ConfigError) as far:
        get_config("pre_vost", "aott", overrides={"TEST_DTYPE": "xyz"})
    assert re.findall("float", str(far.value).partition("'xyz'")[2]) == []


def test_a_name_like_no_other_has_no_nearest() -> None:
    with pytest.raises(ConfigError) as of_key:
        get_config("pre_vost", "aott", overrides={"QQQQQQQQ": 1})
    assert re.findall("[A-Z_]{3,}", str(of_key.value)) == ["QQQQQQQQ"]
    with pytest.raises(ConfigError, match="'qqqqqqqq'") as of_stage:
        get_config("qqqqqqqq", "aott")
    assert {str(of_stage.value).count(f" {name},") for name in stage_names()} == {1}  # all, each once


def test_unknown_names_list_what_exists() -> None:
    with pytest.raises(ConfigError, match=r"'pre_voost'.*pre_vost_2"):
        get_config("pre_voost", "aott")
    with pytest.raises(ConfigError, match=r"'R50_AOTL'.*r50_aotl"):
        get_config("pre_vost", "R50_AOTL")
    with pytest.raises(ConfigError, match=r"'TEST_FLIPS'.*TEST_FLIP"):
        get_config("pre_vost", "aott", overrides={"TEST_FLIPS": True})


def test_a_removed_name_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    message = f"MODEL_ENCODER_DIM.*{config_module._REMOVED['MODEL_ENCODER_DIM']}"
    with pytest.raises(ConfigError, match=message):
        get_config("pre_vost", "aott", overrides={"MODEL_ENCODER_DIM": "(24, 32, 96, 1280)"})

    class ModelConfig(DefaultModel):
        MODEL_ENCODER_DIM = (24, 32, 96, 1280)

    monkeypatch.setattr("aot_plus.configs.models.aott.ModelConfig", ModelConfig)
    with pytest.raises(ConfigError, match=message):
        get_config("pre_vost", "aott")


def test_results_of_a_config_with_a_removed_name_can_be_resumed(tmp_path: Path) -> None:
    config = get_config("pre_vost", "aott")
    save_config(config, tmp_path / "config.yaml")
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    saved["config"]["MODEL_ENCODER_DIM"] = [24, 32, 96, 1280]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(saved))
    (tmp_path / "sequence").mkdir()
    claim_result_folder(config, {}, tmp_path, ["sequence"])


@pytest.mark.parametrize("name", ["models", "default_deaot", "../pre", "models.aott", "", "__init__"])
def test_other_modules_are_no_models_and_no_stages(name: str) -> None:
    with pytest.raises(ConfigError):
        get_config("pre_vost", name)
    with pytest.raises(ConfigError):
        get_config(name, "aott")


def test_a_name_misspelled_in_a_stage_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class StageConfig(DefaultStage):
        TEST_FLIPP = True

    monkeypatch.setattr("aot_plus.configs.pre_vost.StageConfig", StageConfig)
    with pytest.raises(ConfigError, match="TEST_FLIPP"):
        get_config("pre_vost", "aott")


def test_assignments() -> None:
    assert parse_assignments(["A=1", " B = x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    for text in ("A", "=1", ""):
        with pytest.raises(ConfigError, match="NAME=VALUE"):
            parse_assignments([text])


def test_configs_do_not_share_their_values_and_can_be_pickled() -> None:
    first = get_config("pre_vost", "aott", "first", {"FORMER_MEM_LEN": 3})
    assert get_config("pre_vost", "aott").FORMER_MEM_LEN == 1
    assert vars(pickle.loads(pickle.dumps(first))) == vars(first)


def test_a_dictionary_of_a_config_gives_the_same_config_again() -> None:
    config = get_config("mini_vost", "r50_deaotl", "mine", {"TEST_FLIP": True})
    values = json.loads(json.dumps(config_to_dict(config)))
    assert vars(get_config("mini_vost", "r50_deaotl", "mine", values)) == vars(config)


def test_saved_config(tmp_path: Path) -> None:
    config = get_config("pre_vost_2", "r50_aotl", overrides={"TEST_FLIP": "true"})
    path = tmp_path / "new folder" / "config.yaml"
    save_config(config, path)
    saved = yaml.safe_load(path.read_text())
    assert saved["config"] == config_to_dict(config)
    assert {"python", "torch", "numpy"} <= set(saved["versions"])
    assert saved["commit"] is None or len(saved["commit"]) == 40
    assert [entry.name for entry in path.parent.iterdir()] == ["config.yaml"]


def test_a_saved_config_is_read_back(tmp_path: Path) -> None:
    config = get_config("pre_vost_2", "r50_aotl")
    save_config(config, tmp_path / "config.yaml")
    values = read_saved_config(tmp_path / "config.yaml")
    assert vars(get_config("pre_vost_2", "r50_aotl", overrides=values)) == vars(config)


@pytest.mark.parametrize(
    "text",
    [
        "config: [1",
        "commit: null",
        "config: 3",
        "config: {MEM_POLICY: 2020-01-01}",
        b"\xff\xfe\x00",
        pytest.param("[" * 3000, id="deep"),
    ],
)
def test_a_damaged_saved_config_is_named(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=r"config\.yaml: .*\(.+\)"):
        read_saved_config(path)


def test_a_missing_saved_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: "):
        read_saved_config(tmp_path / "config.yaml")


def test_no_git_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for root in (None, tmp_path):
        monkeypatch.setattr(config_module, "checkout", lambda root=root: root)
        assert config_module.git_commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert config_module.git_commit() is None


def test_building_a_config_imports_no_torch_and_writes_nothing(tmp_path: Path) -> None:
    code = (
        "import sys; from aot_plus.utils.config import get_config; get_config('pre_vost_2', 'r50_aotl');"
        "print([name for name in ('torch', 'numpy', 'cv2') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[1]
    result = subprocess.run(
        [sys.executable, "-B", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(root)},
    )
    assert result.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


class FlatStage(DefaultStage):
    """A custom stage that sets more than its dataset."""

    TEST_DATASET = "davis2017"
    TEST_OUTPUT_HEIGHT = None


def test_a_data_set_brings_its_published_protocol_which_a_stage_and_overrides_change() -> None:
    def values(stage: str, **overrides: object) -> tuple[object, ...]:
        config = get_config(stage, "aott", overrides=overrides)
        return config.TEST_PROTOCOL, config.TEST_OUTPUT_HEIGHT, config.TEST_MEM_GAP_BY_LENGTH

    assert values("pre_vost_2") == ("vost", None, True)
    assert values("pre_vost_2", TEST_DATASET="davis2017") == ("davis", 480, False)
    assert values("pre_vost_2", TEST_DATASET="davis2017", TEST_OUTPUT_HEIGHT=240) == ("davis", 240, False)
    assert values("pre_vost_2", TEST_DATASET="/data/x", TEST_LAYOUT="lvos_v2") == ("lvos", None, False)
    assert values("pre_vost_2", TEST_DATASET="/data/x") == ("vost", None, True)
    assert values("pre_vost_2", TEST_DATASET="/data/x", TEST_LAYOUT="my:Own") == ("vost", None, True)
    assert values("tests.test_configs:FlatStage") == ("davis", None, False)
