"""A flag has the same name in all tools; older names still work but are not shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aot_plus.tools import (
    demo,
    download,
    eval,
    export,
    make_mini_vost,
    report,
    reproduce,
    show_batch,
    show_decision,
    train,
)
from aot_plus.tools.common import overrides_of
from aot_plus.utils.errors import ConfigError

DEMO = ["--input", "v.mp4", "--mask", "m.png", "--output", "o"]
SHOW = ["--result_dir", "r", "--dataset", "vost", "--sequence", "s"]


def _demo(flags: list[str]) -> Any:
    return demo._parse([*DEMO, *flags], "demo")


def _eval(flags: list[str]) -> Any:
    return eval._parser("eval").parse_args(flags)


def _train(flags: list[str]) -> Any:
    return train._parser("train").parse_args(flags)


@pytest.mark.parametrize(
    ("parse", "old", "new"),
    [
        (_eval, ["--ckpt_path", "w.pth"], ["--checkpoint", "w.pth"]),
        (_eval, ["--eval_name", "mine"], ["--result_name", "mine"]),
        (_eval, ["--set", "A=1", "B=2"], ["--overrides", "A=1", "B=2"]),
        (_demo, ["--ckpt_path", "w.pth"], ["--checkpoint", "w.pth"]),
        (_train, ["--set", "A=1", "--set", "B=2"], ["--overrides", "A=1", "--overrides", "B=2"]),
        (lambda flags: report._parse(["r", *flags], "report"), ["--out", "p"], ["--output", "p"]),
        (lambda flags: reproduce._parse(flags, "reproduce"), ["--out", "p"], ["--output", "p"]),
        (lambda flags: make_mini_vost._parse(flags, "make"), ["--out", "p"], ["--output", "p"]),
        (lambda flags: show_decision._parse([*SHOW, *flags], "show"), ["--out", "p"], ["--output", "p"]),
    ],
)
def test_old_names_mean_the_same(parse: Callable[[list[str]], Any], old: list[str], new: list[str]) -> None:
    assert vars(parse(old)) == vars(parse(new))


@pytest.mark.parametrize(
    ("parse", "flag"),
    [
        (_eval, "--sequences"),
        (_eval, "--ms"),
        (lambda flags: export._parse([*flags, "--output", "o"], "export"), "--input"),
        (lambda flags: download._parse(flags, "download"), "--row"),
        (lambda flags: reproduce._parse(flags, "reproduce"), "--rows"),
        (lambda flags: reproduce._parse(flags, "reproduce"), "--policies"),
    ],
)
def test_a_list_in_parts_is_the_whole_list(parse: Callable[[list[str]], Any], flag: str) -> None:
    assert vars(parse([flag, "1", flag, "2", "3"])) == vars(parse([flag, "1", "2", "3"]))


@pytest.mark.parametrize("tool", [eval, demo, train, report, reproduce, make_mini_vost, show_batch])
def test_help_shows_the_new_names_alone(tool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tool.main(["--help"])
    words = capsys.readouterr().out.replace(",", " ").replace("]", " ").split()
    assert not {"--set", "--ckpt_path", "--eval_name", "--out", "[--set", "[--out"} & set(words)


@pytest.mark.parametrize("parse", [_eval, _train])
@pytest.mark.parametrize("name", ["../../x", "/x", "a/../../x"])
def test_names_stay_in_their_folder(parse: Callable[[list[str]], Any], name: str) -> None:
    assert parse(["--exp_name", "a/b..c"]).exp_name == "a/b..c"
    for flag in ("--exp_name", "--result_name") if parse is _eval else ("--exp_name",):
        with pytest.raises(SystemExit, match="2"):
            parse([flag, name])


@pytest.mark.parametrize("flag", ["--exp_name", "--data_root"])
def test_the_demo_refuses_flags_that_would_do_nothing(flag: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        _demo([flag, "new"])


def test_a_data_folder_without_the_one_above_it_is_refused(tmp_path: Path) -> None:
    new = str(tmp_path / "new")
    assert new == _eval(["--data_root", new]).DIR_DATA
    with pytest.raises(SystemExit, match="2"):
        _eval(["--data_root", str(tmp_path / "misspelt" / "datasets")])
    with pytest.raises(SystemExit, match="2"):
        _eval(["--data_root", f"{tmp_path}/{'x' * 300}/datasets"])


@pytest.mark.parametrize("parse", [_eval, _demo])
def test_capacity_and_gap_are_config_values(parse: Callable[[list[str]], Any]) -> None:
    assert overrides_of(parse(["--capacity", "5", "--memory_gap", "3"])) == {
        "LATTER_MEM_LEN": 4,
        "TEST_LONG_TERM_MEM_GAP": 3,
        "TEST_MEM_GAP_BY_LENGTH": False,
    }
    two_first = ["--overrides", "FORMER_MEM_LEN=2", "--capacity"]
    assert overrides_of(parse([*two_first, "5"]))["LATTER_MEM_LEN"] == 3
    with pytest.raises(ConfigError, match=r"--capacity: expected 3 .*found 2"):
        overrides_of(parse([*two_first, "2"]))
