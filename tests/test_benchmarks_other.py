"""The benchmarks of the metric and of training at tiny sizes, and the command that runs the whole list."""

import json
import re
from pathlib import Path

import pytest

from aot_plus.utils.config import model_names
from benchmarks import __main__ as everything
from benchmarks import clips, inference, metric, training, units
from tests.test_benchmarks_inference import assert_finite


def test_the_metric(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--frames", "7", "--sequences", "2", "--size", "48x64", "--processes", "1", "--runs", "1"]
    assert metric.main(flags) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["settings"]["size"] == [48, 64]
    found = record["figures"]
    assert_finite(found)
    assert found["ratio"] == pytest.approx(found["metric"]["median"] / found["decoding alone"]["median"])
    assert found["largest_process_mb"] < 200  # far less than the tests' own process


def test_the_time_of_a_frame_is_over_what_the_protocol_scores() -> None:
    flags = ["--frames", "9", "--sequences", "2", "--objects", "3", "--protocol"]
    counts = {name: metric._scored(metric._parse([*flags, name])) for name in ("davis", "visor", "davis2016")}
    assert counts == {"davis": 5 * 3, "visor": 7 * 3, "davis2016": 5}


def test_training(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "UNIT_SIZE", 16)
    flags = ["--batch", "1", "--frames", "2", "--crop", "49x49", "--steps", "1", "--dtype", "float32"]
    assert training.main([*flags, "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert_finite(found)
    parts = sum(found[part]["median"] for part in ("forward", "backward", "update", "other"))
    assert found["step"]["median"] == pytest.approx(parts)
    assert found["data"]["median"] > 0


def test_training_clips(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--frames", "3", "--crop", "49x49", "--size", "96x128", "--clips", "1"]
    assert clips.main(flags) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert_finite(found)
    assert set(found) == {"MiniVOST", "JPEG"}
    assert all(of["seconds per clip"] > 0 for of in found.values())


def test_a_crop_is_cut_from_a_frame_with_room_for_it() -> None:
    cfg = training._config(training._parse(["--crop", "241x257", "--checkpoint_activations"]))
    assert cfg.DATA_RANDOMCROP == (241, 257)
    assert cfg.DATA_SHORT_EDGE_LEN == 249  # 241 * 480 / 465, as in the published recipe
    assert cfg.TRAIN_CHECKPOINT_ACTIVATIONS


@pytest.mark.parametrize("flags", [["--model", "nothing"], ["--crop", "48x48"], ["--device", "tpu"]])
def test_a_wrong_value_is_one_line(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(flags) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--size", "480"], "--size: .*HEIGHTxWIDTH.*480"),
        (["--frames", "20"], "--frames: .*3 .*10"),
    ],
)
def test_a_wrong_flag(flags: list[str], facts: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        metric.main(flags)
    assert re.search(facts, capsys.readouterr().err)


def test_the_list_keeps_the_json_of_what_worked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = "metric --frames 6 --sequences 2 --size 48x64 --processes 1 --runs 1"
    monkeypatch.setattr(everything, "ON_CPU", {"metric": tiny, "broken": "metric --size nothing"})
    monkeypatch.setattr(everything, "FOLDER", tmp_path)
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))  # moves the data, but not the programs
    assert everything.main(["--threads", "1", "--device", "cpu"]) == 1
    assert re.fullmatch("error: .*: broken", capsys.readouterr().err.splitlines()[-1])
    assert [path.name for path in tmp_path.iterdir()] == ["metric.json"]
    assert_finite(json.loads((tmp_path / "metric.json").read_text())["figures"])
    assert everything.main(["metric", "attention-float16", "--device", "cpu"]) == 1
    assert re.search("NAME: .*metric.* attention-float16$", capsys.readouterr().err, re.MULTILINE)


@pytest.mark.parametrize("items", [everything.ON_CPU, everything.ON_GPU])
def test_the_items_of_the_list_have_flags_that_exist(items: dict[str, str]) -> None:
    parsers = {"inference": inference._parse, "training": training._parse, "metric": metric._parse}
    for item in items.values():
        name, *flags = item.split()
        if name in parsers:
            args = parsers[name](flags)
            assert name == "metric" or args.model in model_names()
