"""The report gathers the metric's figures, the memory's history and pictures, and states what is missing."""

import errno
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.networks.managers.given_record import save_given
from aot_plus.report import gather as gather_module
from aot_plus.report import scores as scores_module
from aot_plus.report.gather import gather
from aot_plus.report.moments import contours, small_jpeg, worst_frames
from aot_plus.report.result_folder import chosen_data, read_folders
from aot_plus.report.scores import score_folder
from aot_plus.report.timeline import read_timelines
from aot_plus.report.write import page_text
from aot_plus.tools.report import main
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from evaluation.home import home
from evaluation.per_frame import read_per_frame
from evaluation.results import evaluate
from tests.report_data import FRAMES, HTML_NAME, SEQUENCES, make_dataset, make_run, mask_of, page_data


@pytest.fixture(scope="module")
def dataset_and_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``data`` copies for each test."""
    folder = tmp_path_factory.mktemp("report")
    dataset = make_dataset(folder / "dataset")
    make_run(folder / "emfs", dataset, "emfs", drift=0.2, scores=("relevance", "redundancy"))
    make_run(folder / "fifo", dataset, "fifo", drift=0.6)
    return folder


@pytest.fixture
def data(dataset_and_runs: Path, tmp_path: Path) -> Path:
    """A folder with ``dataset`` and the runs ``emfs`` (with scores in its trace) and ``fifo``."""
    shutil.copytree(dataset_and_runs, tmp_path, dirs_exist_ok=True)
    for run in ("emfs", "fifo"):
        set_config(tmp_path / run, TEST_DATASET=str(tmp_path / "dataset"))
    return tmp_path


def gathered(data: Path, *names: str, pictures: int = 2) -> dict[str, Any]:
    folders = read_folders([data / name for name in names])
    return gather(folders, VOSTDataset(data / "dataset", "dataset"), pictures=pictures, workers=1)


def report(data: Path, *names: str, flags: tuple[str, ...] = ()) -> int:
    folders = [str(data / name) for name in names]
    return main([*folders, "--out", str(data / "report.html"), "--workers", "1", *flags])


def set_config(run: Path, **values: object) -> None:
    """Changes values of a run's config."""
    path = run / "config.yaml"
    saved = yaml.safe_load(path.read_text())
    saved["config"] |= values
    path.write_text(yaml.safe_dump(saved))


def page_values(path: Path) -> dict[str, Any]:
    """Returns the data in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text())
    assert found is not None
    return json.loads(found[1])


def test_figures_are_the_metrics(data: Path) -> None:
    found = gathered(data, "fifo")
    expected = evaluate(data / "fifo", data / "dataset", "val", 1)
    figures = [row for sequence in found["sequences"] for row in sequence["runs"][0]["figures"]]
    # As exact as the metric's files: the page rounds these figures, and rounding twice may give wrong digits.
    np.testing.assert_allclose(figures, 100 * expected.objects[["J-Mean", "J_last-Mean"]], atol=0.0002)
    overall = found["runs"][0]["all"]
    np.testing.assert_allclose(
        (overall["j"], overall["second"]), (100 * expected.j, 100 * expected.j_tr), atol=0.0002
    )


def test_frames_are_numbered_as_inference_counts_them(data: Path) -> None:
    sequence = gathered(data, "emfs")["sequences"][0]
    assert sequence["frames"] == list(range(2, FRAMES - 2, 2))
    assert sequence["frameNames"][0] == "frame00002"
    assert sequence["length"] == FRAMES
    assert sequence["last"] == int(0.75 * len(sequence["frames"]))


def test_a_run_states_its_settings(data: Path) -> None:
    run = gathered(data, "emfs", "fifo")["runs"][0]
    assert (run["name"], run["policy"], run["capacity"], run["model"]) == (
        "emfs",
        "emfs",
        "1 + 2",
        "aot_mini",
    )
    assert (run["checkpoint"], run["framesPerSecond"], run["memory"]) == ("weights.pth", 12.5, 512.0)
    assert run["notes"] == []


@pytest.mark.parametrize(
    ("name", "split", "shown"), [("vost", "val", 4), ("vost", "test", 0), ("dataset", "val", 0)]
)
def test_the_papers_rows_are_shown_for_vost_val(data: Path, name: str, split: str, shown: int) -> None:
    (data / "dataset" / "ImageSets" / "test.txt").write_text("0001_cut\n")
    folders = read_folders([data / "emfs"])
    dataset = VOSTDataset(data / "dataset", name, split=split)
    found = gather(folders, dataset, pictures=0, workers=1)
    assert len(found["paper"]) == shown


def test_runs_over_different_sequences(data: Path) -> None:
    make_run(data / "part", data / "dataset", "rmem", sequences=("0003_tear",))
    found = gathered(data, "emfs", "part")
    assert [sequence["name"] for sequence in found["sequences"]] == list(SEQUENCES)
    assert [run["all"]["objects"] for run in found["runs"]] == [4, 1]
    assert [run["common"]["objects"] for run in found["runs"]] == [1, 1]
    assert [["1 of 3" in note for note in run["notes"]] for run in found["runs"]] == [[], [True]]
    (data / "part" / "0003_tear" / "frame00004.png").unlink()  # a run without scores costs the others none
    assert [run["common"]["objects"] for run in gathered(data, "emfs", "fifo", "part")["runs"]] == [4, 4, 0]
    assert found["sequences"][0]["runs"][1] is None
    assert ["part" in note for note in found["sequences"][0]["notes"]] == [True]


def test_sequences_that_are_not_in_the_split_are_named(data: Path) -> None:
    write_mask(data / "emfs" / "elsewhere" / "00000.png", mask_of("", 0))
    found = gathered(data, "emfs")
    assert len(found["sequences"]) == 3
    assert ["elsewhere" in note for note in found["runs"][0]["notes"]] == [True]
    for number in range(300):
        write_mask(data / "emfs" / f"more_{number}" / "00000.png", mask_of("", 0))
    (note,) = gathered(data, "emfs")["runs"][0]["notes"]
    assert len(note) < 400


def test_sequences_that_were_made_of_other_data_are_named(data: Path) -> None:
    dataset = VOSTDataset(data / "dataset", "dataset")
    for name in SEQUENCES:
        save_given(data / "emfs" / name, dataset.sequence(name))
    assert [run["notes"] for run in gathered(data, "emfs", "fifo")["runs"]] == [[], []]
    write_mask(data / "dataset" / "Annotations" / "0001_cut" / "frame00000.png", mask_of("0001_cut", 1))
    notes = [run["notes"] for run in gathered(data, "emfs", "fifo")["runs"]]
    assert ["0001_cut" in note and "0003_tear" not in note for note in notes[0]] == [True]
    assert notes[1] == []  # this run has no record of its data


def test_an_unreadable_mask_is_reported_in_words(data: Path) -> None:
    broken = data / "emfs" / "0001_cut" / "frame00004.png"
    broken.write_bytes(broken.read_bytes()[:20])
    found = gathered(data, "emfs", "fifo")
    sequence = found["sequences"][0]
    assert any("0001_cut" in note for note in found["runs"][0]["notes"])
    assert any(f"{broken}: " in note for note in sequence["notes"])
    assert sequence["runs"][0]["figures"] == []
    assert len(sequence["runs"][1]["figures"]) == 2
    assert sequence["pictures"][0]["runs"][0] is None


def test_a_sequence_without_images(data: Path) -> None:
    folder = data / "dataset" / "JPEGImages_10fps" / "0001_cut"
    folder.rename(folder.with_name("away"))
    sequence = gathered(data, "emfs")["sequences"][0]
    assert sequence["pictures"] == []
    assert any("frame00002" in note for note in sequence["notes"])
    assert len(sequence["runs"][0]["figures"]) == 2


def test_an_unreadable_image_costs_its_picture_only(data: Path) -> None:
    images = data / "dataset" / "JPEGImages_10fps" / "0001_cut"
    for path in images.iterdir():
        path.write_bytes(b"no image")
    sequence = gathered(data, "emfs")["sequences"][0]
    assert sequence["pictures"] == []
    assert sum(f"{images}/frame" in note for note in sequence["notes"]) == 2


def test_a_run_without_config_summary_and_trace(data: Path) -> None:
    for name in ("config.yaml", "summary.json"):
        (data / "emfs" / name).unlink()
    (data / "emfs" / "traces" / "0001_cut.jsonl").unlink()
    found = gathered(data, "emfs")
    run = found["runs"][0]
    assert (run["policy"], run["capacity"], run["framesPerSecond"]) == (None, None, None)
    assert "config.yaml" in run["notes"][0]
    assert "summary.json" in run["notes"][1]
    assert found["sequences"][0]["runs"][0]["memory"] is None
    assert found["sequences"][1]["runs"][0]["memory"] is not None


@pytest.mark.parametrize(
    "text", ["no json", "[1]", '{"frame": 5}', '{"frame":5,"group":0,"bank":[0],"dropped":3}']
)
def test_a_damaged_trace_is_reported_in_words(data: Path, text: str) -> None:
    path = data / "emfs" / "traces" / "0001_cut.jsonl"
    path.write_text(text + "\n")
    sequence = gathered(data, "emfs")["sequences"][0]
    assert any(str(path) in note for note in sequence["notes"])
    assert sequence["runs"][0]["memory"] is None


def test_scores_that_are_not_finite(data: Path) -> None:
    path = data / "emfs" / "traces" / "0001_cut.jsonl"
    path.write_text('{"frame": 5, "group": 0, "bank": [0], "relevance": [NaN], "dropped": null}\n')
    found = gathered(data, "emfs")
    assert found["sequences"][0]["runs"][0]["memory"][0]["stored"][0]["scores"] == [(5, None)]
    assert "NaN" not in page_text(found).split('id="data"')[1]


def test_timelines(data: Path) -> None:
    (group,) = read_timelines(data / "emfs" / "traces" / "0001_cut.jsonl")
    assert group.names == ["relevance", "redundancy"]
    assert [(row.frame, row.until) for row in group.stored] == [
        *((0, None), (5, 15), (10, 20), (15, None), (20, None))
    ]
    first = group.stored[0]
    assert first.scores == [(15, 0.1, 0.1), (20, 0.1, 0.1)]


def test_timelines_of_several_groups(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    entries = [
        {"frame": 5, "group": 0, "bank": [0], "dropped": None},
        {"frame": 5, "group": 1, "bank": [3], "dropped": 3},
    ]
    path.write_text("\n".join(map(json.dumps, entries)))
    first, second = read_timelines(path)
    assert [stay.frame for stay in first.stored] == [0, 5]
    assert [(stay.frame, stay.until) for stay in second.stored] == [(3, 5), (5, None)]


def test_frames_with_a_given_mask_are_references(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    entries = [
        {"frame": 5, "group": 0, "bank": [0], "dropped": None, "given": True},
        {"frame": 10, "group": 0, "bank": [0, 5], "dropped": None},
        {"frame": 10, "group": 1, "bank": [5], "dropped": None},
    ]
    path.write_text("\n".join(map(json.dumps, entries)))
    first, second = read_timelines(path)
    assert [(stay.frame, stay.reference) for stay in first.stored] == [(0, True), (5, True), (10, False)]
    assert [(stay.frame, stay.reference) for stay in second.stored] == [(5, True), (10, False)]


def test_the_metric_runs_only_when_it_must(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Path] = []
    score_all = scores_module.evaluate_per_frame

    def note(folder: Path, *rest: Any, **more: Any) -> Any:
        ran.append(folder)
        return score_all(folder, *rest, **more)

    monkeypatch.setattr(scores_module, "evaluate_per_frame", note)
    dataset = VOSTDataset(data / "dataset", "dataset")

    def score() -> int:
        ran.clear()
        score_folder(read_folders([data / "emfs"])[0], dataset, workers=1)
        return len(ran)

    assert (score(), score()) == (1, 0)
    mask, other = (data / "emfs" / "0001_cut" / f"frame0000{number}.png" for number in (4, 6))
    times = mask.stat().st_mtime_ns, mask.stat().st_mtime_ns
    shutil.copyfile(other, mask)
    os.utime(mask, ns=times)
    assert (score(), score()) == (1, 0)
    os.utime(mask, (0, 0))
    assert score() == 0
    table = data / "emfs" / "per-frame_results-val.csv"
    text = table.read_text()
    one_row_less = "".join(line for line in text.splitlines(True) if "0001_cut,2,frame00006" not in line)
    wrong = [text.replace("1.000000", value, 1) for value in ("nan", "1.500000")]
    for damaged in ("damaged\n", *wrong, one_row_less):
        table.write_text(damaged)
        assert (score(), score()) == (1, 0)
    (data / "emfs" / "0003_tear").rename(data / "emfs" / "0004_other")
    assert score() == 1


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC])
def test_results_in_a_folder_that_cannot_be_written(
    code: int, data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make = tempfile.mkstemp

    def refuse(*arguments: Any, dir: Path, **options: Any) -> tuple[int, str]:
        if dir == data / "emfs":
            raise OSError(code, os.strerror(code))
        return make(*arguments, dir=dir, **options)

    before = sorted((data / "emfs").rglob("*"))
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    assert report(data, "emfs") == 0
    assert (data / "report.html").is_file()
    assert sorted((data / "emfs").rglob("*")) == before
    assert os.strerror(code) in caplog.text


def test_worst_frames_are_apart_and_in_order() -> None:
    values = np.array([0.9, 0.1, 0.0, 0.2, 0.9, 0.9, 0.3, 0.9, 0.9, 0.9])
    assert worst_frames(values, 2) == [2, 6]
    assert worst_frames(values, 1) == [2]
    assert worst_frames(values, 0) == []
    assert worst_frames(values[:2], 5) == [0, 1]


def test_pictures_keep_their_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (540, 960, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg", quality=95)
    large = small_jpeg(tmp_path / "noise.jpg", 10**6)
    assert (large.width, large.height) == (480, 270)
    small = small_jpeg(tmp_path / "noise.jpg", 20_000)
    assert len(small.jpeg) <= 20_000
    assert small.width / small.height == pytest.approx(16 / 9, rel=0.02)


def test_contours_are_in_the_pictures_pixels() -> None:
    mask = np.zeros((40, 80), np.uint8)
    mask[10:30, 20:60] = 3
    ((number, path),) = contours(mask, (160, 80), [1, 3])
    points = np.array([float(value) for value in re.findall(r"[\d.]+", path)]).reshape(-1, 2)
    assert number == 3
    np.testing.assert_allclose(points.min(axis=0), (41, 21))
    np.testing.assert_allclose(points.max(axis=0), (119, 59))


def test_ragged_contours_are_simplified() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (200, 300)).astype(np.uint8)
    ((_, path),) = contours(noise, (300, 200), [1])
    assert 0 < len(path) < 5000


def test_the_tool_writes_one_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(data, "emfs", "fifo", flags=("--pictures", "1")) == 0
    assert str(data / "report.html") in capsys.readouterr().out
    found = page_values(data / "report.html")
    assert [run["name"] for run in found["runs"]] == ["emfs", "fifo"]
    assert [len(sequence["pictures"]) for sequence in found["sequences"]] == [1, 1, 1]
    assert found["sequences"][1]["name"] == HTML_NAME


class Flat(Dataset):
    """A custom layout: ``frames/<sequence>``, ``labels/<sequence>``."""

    frames, masks = "frames", "labels"


def test_a_custom_layout_is_scored_by_the_truth_that_it_names(data: Path) -> None:
    assert report(data, "emfs") == 0
    in_vosts = read_per_frame(data / "emfs", "val")
    (data / "dataset" / "JPEGImages_10fps").rename(data / "dataset" / Flat.frames)
    (data / "dataset" / "Annotations").rename(data / "dataset" / Flat.masks)
    shutil.rmtree(data / "dataset" / "ImageSets")
    set_config(data / "emfs", TEST_LAYOUT=f"{__name__}:{Flat.__name__}", TEST_PROTOCOL="vost")
    assert report(data, "emfs") == 0
    found = page_values(data / "report.html")
    assert [sequence["notes"] for sequence in found["sequences"]] == [[]] * len(SEQUENCES)
    assert found["runs"][0]["all"]["objects"] == 4
    js = [
        value for one in found["sequences"] for of_run in one["runs"] for row in of_run["j"] for value in row
    ]
    np.testing.assert_allclose(np.mean(js), 100 * in_vosts["J"].mean(), atol=0.01)


def test_the_data_is_that_of_the_configs_whichever_folder_comes_first(data: Path) -> None:
    values = {"TEST_DATASET": "davis2017", "TEST_PROTOCOL": "visor", "TEST_IMAGES": "frames"}
    set_config(data / "emfs", DIR_DATA="elsewhere", **values)
    (data / "fifo" / "config.yaml").unlink()
    for names in (("emfs", "fifo"), ("fifo", "emfs")):
        chosen = chosen_data(read_folders([data / name for name in names]), None, None)
        assert (chosen.protocol, chosen.data_folder) == ("visor", str(home() / "elsewhere"))
        assert chosen.images == "frames"
    assert chosen_data(read_folders([data / "fifo"]), "lvos_v2", "valid").protocol == "lvos"


@pytest.mark.parametrize("split", ["val", "valid"])
def test_the_two_names_of_a_split_are_one_where_the_dataset_has_one(split: str, data: Path) -> None:
    root = data / "mose"
    (root / split / "JPEGImages").mkdir(parents=True)
    (root / split / "Annotations").mkdir()
    for run, named in (("emfs", "val"), ("fifo", "valid")):
        values = {"TEST_DATASET": str(root), "TEST_LAYOUT": "mose_v1", "TEST_PROTOCOL": "vos-benchmark"}
        set_config(data / run, TEST_DATASET_SPLIT=named, **values)
    folders = read_folders([data / "emfs", data / "fifo"])
    assert chosen_data(folders, None, None).split == split
    other = {"val": "valid", "valid": "val"}[split]
    (root / other).mkdir()
    with pytest.raises(DataError, match="TEST_DATASET_SPLIT"):
        chosen_data(folders, None, None)


@pytest.mark.parametrize(
    ("part", "protocol"),
    [("JPEGImages", "vos-benchmark"), ("ImageSets/2017", "davis"), ("ImageSets", "vost")],
)
def test_masks_of_other_methods_are_scored_like_an_evaluation_of_the_path(
    data: Path, tmp_path: Path, part: str, protocol: str
) -> None:
    (data / "fifo" / "config.yaml").unlink()
    (tmp_path / "own" / part).mkdir(parents=True)
    chosen = chosen_data(read_folders([data / "fifo"]), str(tmp_path / "own"), "val")
    assert chosen.protocol == protocol


@pytest.mark.parametrize("order", [("emfs", "fifo"), ("fifo", "emfs")])
def test_runs_on_other_images_are_not_mixed(data: Path, order: tuple[str, str]) -> None:
    set_config(data / "emfs", TEST_IMAGES=None)
    set_config(data / "fifo", TEST_IMAGES="JPEGImages")
    with pytest.raises(DataError, match="TEST_IMAGES") as caught:
        chosen_data(read_folders([data / name for name in order]), None, None)
    for fact in ("'JPEGImages_10fps'", "'JPEGImages'", str(data / "emfs"), str(data / "fifo")):
        assert fact in str(caught.value)


@pytest.mark.parametrize("order", [("emfs", "fifo"), ("fifo", "emfs")])
def test_a_default_may_be_named(data: Path, order: tuple[str, str]) -> None:
    set_config(data / "emfs", TEST_IMAGES=None, TEST_LAYOUT="")
    set_config(data / "fifo", TEST_IMAGES="JPEGImages_10fps", TEST_LAYOUT="vost")
    chosen = chosen_data(read_folders([data / name for name in order]), None, None)
    assert (chosen.images, chosen.layout) == ("JPEGImages_10fps", "vost")
    set_config(data / "fifo", TEST_LAYOUT="folders")
    with pytest.raises(DataError, match="TEST_LAYOUT"):
        chosen_data(read_folders([data / name for name in order]), None, None)


def test_a_known_data_set_lies_in_one_folder_however_it_is_given(data: Path) -> None:
    set_config(data / "emfs", DIR_DATA="one")
    set_config(data / "fifo", DIR_DATA="other")
    folders = read_folders([data / "emfs", data / "fifo"])
    assert chosen_data(folders, None, None).dataset == str(data / "dataset")  # independent of DIR_DATA
    with pytest.raises(DataError, match=r"DIR_DATA .*/one.*/emfs.*/other.*/fifo"):
        chosen_data(folders, "mini_vost", None)
    assert chosen_data(folders, "mini_vost", None, data_folder="third").data_folder == "third"
    set_config(data / "fifo", DIR_DATA=str(home() / "one"))
    folders = read_folders([data / "emfs", data / "fifo"])
    assert chosen_data(folders, "mini_vost", None).data_folder == str(home() / "one")


def test_a_name_cannot_end_the_script(tmp_path: Path) -> None:
    values = page_data(1)
    values["runs"][0]["name"] = "</script><script>alert(1)</script><!--{{style}}"
    path = tmp_path / "page.html"
    path.write_text(page_text(values))
    assert page_values(path) == values
    assert "alert(1)</script>" not in path.read_text()


def bad_input(data: Path, case: str) -> list[str]:
    """Returns flags of a call that cannot work."""
    emfs, fifo = str(data / "emfs"), str(data / "fifo")
    if case == "no config":
        (data / "emfs" / "config.yaml").write_text(": [")
    if case == "no predictions":
        (data / "dataset" / "ImageSets" / "val.txt").write_text("elsewhere\n")
    if case == "two datasets":
        path = data / "fifo" / "config.yaml"
        path.write_text(path.read_text().replace("dataset\n", "other\n"))
    (data / "empty").mkdir()
    return {
        "nowhere": [str(data / "nowhere")],
        "empty": [str(data / "empty")],
        "several runs": [str(data), "--dataset", str(data / "dataset")],
        "twice": [emfs, emfs],
        "split": [emfs, "--split", "valid"],
        "no config": [emfs],
        "no predictions": [emfs],
        "two datasets": [emfs, fifo],
    }[case]


@pytest.mark.parametrize(
    ("case", "facts"),
    [
        ("nowhere", "/nowhere: "),
        ("empty", "/empty: .*<sequence>/<frame>.png"),
        ("several runs", ": .*<sequence>/<frame>.png"),
        ("twice", "/emfs: "),
        ("split", "'valid'.* val"),
        ("no config", "/emfs: .*TEST_DATASET.*--dataset"),
        ("no predictions", "/emfs.*'val'"),
        ("two datasets", "TEST_DATASET .*/dataset.*/other"),
    ],
)
def test_bad_input_is_one_line(data: Path, capsys: pytest.CaptureFixture[str], case: str, facts: str) -> None:
    out = data / "report.html"
    assert main([*bad_input(data, case), "--out", str(out)]) == 1
    shown = capsys.readouterr().err.strip()
    assert re.search(facts, shown)
    assert shown.startswith("error: ")
    assert "\n" not in shown
    assert not out.exists()


def test_an_unwritable_output_is_reported_before_the_work(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather_module, "gather", lambda *_, **__: pytest.fail("the work was begun"))
    out = data / "emfs" / "config.yaml" / "report.html"
    assert main([str(data / "emfs"), "--out", str(out)]) == 1
    assert str(out) in capsys.readouterr().err


def test_scores_of_other_annotations_are_not_mixed(data: Path) -> None:
    gathered(data, "emfs", "fifo")
    path = data / "fifo" / "per-frame_results-val.csv"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("0001_cut,2,")]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"0001_cut: .*/emfs .*/fifo .*per-frame_results"):
        gathered(data, "emfs", "fifo")


def test_runs_of_the_same_name_are_told_apart(data: Path) -> None:
    for parent in ("aot", "deaot"):
        make_run(data / parent / "eval" / "emfs", data / "dataset", "emfs", sequences=("0001_cut",))
    folders = read_folders([data / "aot/eval/emfs", data / "deaot/eval/emfs", data / "fifo"])
    assert [folder.name for folder in folders] == ["aot/emfs", "deaot/emfs", "fifo"]
    make_run(data / "old" / "emfs", data / "dataset", "emfs", sequences=("0001_cut",))
    more = read_folders([*(folder.path for folder in folders), data / "old/emfs"])
    assert [folder.name for folder in more] == ["aot/eval/emfs", "deaot/eval/emfs", "fifo", "old/emfs"]
