"""J and F under each protocol: the published tools' figures and files, and an error for every bad input."""

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.command import main
from evaluation.layouts import scored_sequences
from evaluation.protocols import PROTOCOLS, get_protocol
from evaluation.results import evaluate, figure_paths
from evaluation.scoring import ObjectScores, score_sequences
from tests.test_masks import shallow

TOLERANCE = 1e-9
DAVIS = ("davis", "davis/predictions")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The golden data, which no test may change; ``mosev2`` is derived from it."""
    folder = tmp_path_factory.mktemp("jf")
    with zipfile.ZipFile(Path(__file__).parent / "golden" / "jf.zip") as archive:
        archive.extractall(folder)
    (folder / "mosev2" / "valid").mkdir(parents=True)
    shutil.copy(folder / "expected" / "mosev2" / "meta.json", folder / "mosev2" / "valid" / "meta.json")
    (folder / "mosev2" / "valid" / "Annotations").symlink_to(folder / "davis" / "Annotations" / "480p")
    before = _times(folder)
    yield folder
    assert _times(folder) == before


def _times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.png")}


@pytest.fixture
def data(unpacked: Path, tmp_path: Path) -> Path:
    """A copy that a test may change and write results to. Masks are hard links: unlink, never overwrite."""
    return Path(shutil.copytree(unpacked, tmp_path / "jf", symlinks=True, copy_function=_copy_or_link))


def _copy_or_link(source: str, target: str) -> None:
    """Links the masks, of which there are many, and copies other files."""
    (os.link if source.endswith(".png") else shutil.copyfile)(source, target)


def replace_mask(path: Path, mask: np.ndarray) -> None:
    path.unlink()
    Image.fromarray(mask).save(path)


def scores_of(
    folder: Path, protocol: str, dataset: str, predictions: str, split: str | None, **flags: bool
) -> list[ObjectScores]:
    chosen = get_protocol(protocol, **flags)
    sequences = scored_sequences(folder / dataset, folder / predictions, split, chosen)
    return score_sequences(sequences, folder / predictions, 1, chosen)


def run(folder: Path, protocol: str, dataset: str, predictions: str, *extra: str) -> int:
    paths = ["--results_path", str(folder / predictions), "--dataset_path", str(folder / dataset)]
    return main([*paths, "--protocol", protocol, "--workers", "1", *extra])


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def expected_values(archive: Path, scores: ObjectScores, measure: str) -> np.ndarray:
    """Returns an object's published figures, one per scored frame; NaN where the frame does not count."""
    with np.load(archive) as arrays:
        of_object = f"{scores.sequence}/{scores.number}/{measure}"
        if of_object not in arrays:
            row = arrays[f"{scores.sequence}/ids"].tolist().index(int(scores.number))
            return arrays[f"{scores.sequence}/{measure}"][row]
        values = arrays[of_object].ravel()
    if len(values) == len(scores.frames):
        return values
    counted = np.full(len(scores.frames), np.nan)  # the archive has only frames that count
    counted[~np.isnan(scores.values[measure])] = values
    return counted


@pytest.mark.parametrize(
    ("protocol", "places", "split", "archive", "objects"),
    [
        ("davis", DAVIS, "val", "davis/per_frame-val", 24),
        ("davis", DAVIS, "test-dev", "davis/per_frame-test-dev", 1),
        ("davis2016", DAVIS, "val", "davis2016/per_frame-val", 9),
        ("visor", DAVIS, "val", "visor/per_frame-val", 24),
        ("vos-benchmark", DAVIS, None, "vos_benchmark/per_frame", 31),
        ("sav", DAVIS, None, "vos_benchmark/per_frame", 31),
        ("sav", ("sav", "sav/predictions"), "sav_golden", "sav/per_frame", 5),
        ("lvos", ("lvos", "lvos/predictions"), "valid", "lvos/per_frame", 6),
        ("mosev2", ("mosev2", "davis/predictions"), "valid", "mosev2/per_frame", 21),
    ],
)
def test_every_frame_scores_as_in_the_published_tool(
    unpacked: Path, protocol: str, places: tuple[str, str], split: str | None, archive: str, objects: int
) -> None:
    scores = scores_of(unpacked, protocol, *places, split)
    assert len(scores) == objects
    for one in scores:
        for measure in PROTOCOLS[protocol].measures:
            expected = expected_values(unpacked / "expected" / f"{archive}.npz", one, measure)
            np.testing.assert_allclose(
                one.values[measure], expected, rtol=0, atol=TOLERANCE, err_msg=f"{one.sequence} {one.number}"
            )


def test_all_frames_count_where_that_is_asked_for(unpacked: Path) -> None:
    archive = unpacked / "expected" / "vos_benchmark" / "per_frame-all_frames.npz"
    for one in scores_of(unpacked, "vos-benchmark", *DAVIS, None, all_frames=True):
        for measure in ("J", "F"):
            np.testing.assert_allclose(
                one.values[measure], expected_values(archive, one, measure), rtol=0, atol=TOLERANCE
            )


@pytest.mark.parametrize("name", ["vost", "davis", "visor", "lvos", "youtube-vos"])
def test_figures_of_all_frames_are_in_separate_files(name: str) -> None:
    usual, all_frames = (
        figure_paths(Path("results"), "val", get_protocol(name, all_frames=flag)) for flag in (False, True)
    )
    assert not {*usual} & {*all_frames}


@pytest.mark.parametrize(
    ("protocol", "places", "flags", "expected"),
    [
        ("davis", DAVIS, [], {"global_results-val.csv": 0, "per-sequence_results-val.csv": 0}),
        ("davis2016", DAVIS, [], {"global_results-val.csv": 0, "per-sequence_results-val.csv": 0}),
        ("vos-benchmark", DAVIS, [], {"results.csv": 0}),
        ("vos-benchmark", DAVIS, ["--all_frames"], {"results-all_frames.csv": "results.csv"}),
        ("sav", ("sav", "sav/predictions"), ["--set", "sav_golden"], {"results.csv": 0}),
        (
            *("lvos", ("lvos", "lvos/predictions"), []),
            {"global_results-valid.csv": 0, "per-sequence_results-valid.csv": 0},
        ),
        ("mosev2", ("mosev2", "davis/predictions"), [], {"scores.txt": 0}),
    ],
)
def test_files_are_those_of_the_published_tool(
    data: Path,
    protocol: str,
    places: tuple[str, str],
    flags: list[str],
    expected: dict[str, str | int],
) -> None:
    assert run(data, protocol, *places, *flags) == 0
    made = written(data / places[1])
    for name, ours in expected.items():
        published = data / "expected" / protocol.replace("-", "_") / name
        assert made[ours or name] == published.read_bytes()


@pytest.mark.parametrize("protocol", ["davis", "visor"])
def test_objects_figures_are_the_published_ones(data: Path, protocol: str) -> None:
    """So are recall and decay of the dataset, in full precision."""
    results = evaluate(data / "davis" / "predictions", data / "davis", "val", 1, protocol)
    published = json.loads((data / "expected" / protocol / "full-val.json").read_text())
    overall = results.overall.iloc[0]
    for name, value in published["global"].items():
        assert overall[name] == pytest.approx(value, abs=TOLERANCE), name
    for _, row in results.objects.iterrows():
        assert row["J-Mean"] == pytest.approx(published["objects"][row["Sequence"]]["J-Mean"], abs=TOLERANCE)
        assert row["F-Mean"] == pytest.approx(published["objects"][row["Sequence"]]["F-Mean"], abs=TOLERANCE)


def test_decay_of_more_than_256_frames_is_right(data: Path) -> None:
    results = evaluate(data / "davis" / "predictions", data / "davis", "test-dev", 1, "davis")
    intended = json.loads((data / "expected" / "davis" / "long_decay.json").read_text())["intended"]
    for measure in ("J", "F"):
        assert results.overall[f"{measure}-Decay"].iloc[0] == pytest.approx(intended[measure], abs=TOLERANCE)


@pytest.mark.parametrize(
    ("sequence", "ids"),
    [("extra_id", r"\b7\b.*\b2\b"), ("later_high_id", r"\b3\b.*\b2\b")],
)
def test_davis_refuses_foreign_ids(
    data: Path, capsys: pytest.CaptureFixture[str], sequence: str, ids: str
) -> None:
    (data / "davis" / "ImageSets" / "2017" / "val.txt").write_text(f"crowd\n{sequence}\n")
    assert run(data, "davis", *DAVIS) == 1
    message = capsys.readouterr().err
    assert re.search(f"{sequence}/.*{ids}", message)
    assert written(data / "davis" / "predictions") == {}


@pytest.mark.parametrize("protocol", ["davis", "davis2016", "visor", "vos-benchmark", "sav", "mosev2"])
def test_a_missing_prediction_is_named(data: Path, capsys: pytest.CaptureFixture[str], protocol: str) -> None:
    (data / "davis" / "predictions" / "crowd" / "00005.png").unlink()
    dataset = "mosev2" if protocol == "mosev2" else "davis"
    assert run(data, protocol, dataset, "davis/predictions") == 1
    assert "crowd/00005.png" in capsys.readouterr().err


def test_a_split_of_another_protocol_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "vost", *DAVIS) == 1
    assert str(data / "davis" / "ImageSets" / "2017" / "val.txt") in capsys.readouterr().err


def test_other_sizes_are_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = data / "davis" / "predictions" / "short" / "00001.png"
    replace_mask(path, np.zeros((50, 40), np.uint8))
    assert run(data, "vos-benchmark", *DAVIS) == 1
    assert re.search(f"{path}: .*40 x 50", capsys.readouterr().err)


@pytest.mark.parametrize(("protocol", "needed"), [("davis", 3), ("visor", 2), ("vos-benchmark", 3)])
def test_too_few_annotated_frames(
    data: Path, capsys: pytest.CaptureFixture[str], protocol: str, needed: int
) -> None:
    frames = sorted((data / "davis" / "Annotations" / "480p" / "short").iterdir())
    for path in frames[needed - 1 :]:
        path.unlink()
    assert run(data, protocol, *DAVIS) == 1
    assert re.search(f"short: .* {needed} ", capsys.readouterr().err)


def test_an_object_that_no_mask_shows_is_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data / "sav" / "Annotations_6fps" / "sav_000207" / "001"
    for path in sorted(folder.iterdir())[1:-1]:
        replace_mask(path, np.zeros_like(np.asarray(Image.open(path).convert("L"))))
    assert run(data, "sav", "sav", "sav/predictions") == 1
    assert f"{folder}: " in capsys.readouterr().err


def test_a_label_map_where_one_objects_mask_belongs_is_named(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = data / "sav" / "predictions" / "sav_000101" / "000" / "00008.png"
    labels = np.asarray(Image.open(path).convert("L")).copy()
    labels[0, :3] = (0, 7, 9)
    replace_mask(path, labels)
    assert run(data, "sav", "sav", "sav/predictions") == 1
    assert f"{path}: " in capsys.readouterr().err


def test_what_only_one_side_has_is_named_and_under_strict_an_error(
    data: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (data / "davis" / "predictions" / "traces").mkdir()  # as this project's runs write; not a sequence
    assert run(data, "vos-benchmark", *DAVIS, "--strict") == 0
    assert not caplog.records
    shutil.rmtree(data / "davis" / "predictions" / "thin")
    assert run(data, "vos-benchmark", *DAVIS) == 0
    assert " thin: " in caplog.text
    assert b"thin" not in written(data / "davis" / "predictions")["results.csv"]
    assert run(data, "vos-benchmark", *DAVIS, "--strict") == 1
    assert " thin" in capsys.readouterr().err


def test_a_named_list_of_sequences_is_scored_from_plain_folders(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (listed,) = {one.sequence for one in scores_of(data, "vos-benchmark", *DAVIS, "test-dev")}
    assert listed in (data / "davis" / "ImageSets" / "2017" / "test-dev.txt").read_text().split()
    (data / "davis" / "mine.txt").write_text("thin\n")
    (data / "outside.txt").write_text("thin\n")
    assert {one.sequence for one in scores_of(data, "vos-benchmark", *DAVIS, "mine")} == {"thin"}
    assert run(data, "vos-benchmark", *DAVIS, "--set", "../outside") == 1
    assert "'../outside'" in capsys.readouterr().err


def test_the_mask_of_one_object_may_be_grey_of_any_bit_depth(data: Path) -> None:
    places = ("sav", "sav", "sav/predictions", "sav_golden")
    expected = scores_of(data, *places)
    for path in (data / "sav" / "predictions" / "sav_000101" / "000").glob("*.png"):
        shown = np.asarray(Image.open(path).convert("L")) > 0
        path.unlink()
        path.write_bytes(shallow(shown.astype(np.uint8)))
    for one, other in zip(scores_of(data, *places), expected, strict=True):
        np.testing.assert_array_equal(one.values["J"], other.values["J"])


@pytest.mark.parametrize("place", ["Annotations/{}/00000.png", "Annotations/bear/{}.png"])
def test_a_name_that_no_text_file_can_hold_is_named(
    davis2016: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (davis2016 / "Annotations" / "480p" / "bear").rename(davis2016 / "Annotations" / "bear")
    path = davis2016 / place.format(os.fsdecode(b"b\xff"))
    path.parent.mkdir(exist_ok=True)
    path.touch()
    (davis2016 / "Annotations" / "480p").rmdir()
    shutil.copytree(davis2016 / "Annotations", davis2016 / "predictions", dirs_exist_ok=True)
    assert run(davis2016, "vos-benchmark", ".", "predictions") == 1
    assert r"b\udcff" in capsys.readouterr().err


def test_measures_per_frame(data: Path) -> None:
    assert run(data, "davis", *DAVIS, "--per_frame") == 0
    lines = (data / "davis" / "predictions" / "per-frame_results-val.csv").read_text().splitlines()
    assert lines[0] == "Sequence,Object,Frame,J,F,Problem"
    (first,) = [one for one in scores_of(data, "davis", *DAVIS, "val") if one.sequence == "short"]
    assert f"short,1,00001,{first.values['J'][0]:.6f},{first.values['F'][0]:.6f}," in lines


def test_per_frame_needs_folders_of_objects_with_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for root in ("Annotations", "predictions"):
        for name in ("v/000", "w/cup"):
            folder = tmp_path / root / name
            folder.mkdir(parents=True)
            for frame in range(3):
                Image.fromarray(np.eye(20, dtype=np.uint8)).save(folder / f"{frame:05d}.png")
    assert run(tmp_path, "sav", ".", "predictions") == 0
    assert run(tmp_path, "sav", ".", "predictions", "--per_frame") == 0
    assert " w/cup" in capsys.readouterr().out


@pytest.fixture
def davis2016(tmp_path: Path) -> Path:
    """A dataset as in the DAVIS 2016 archive, where 255 is the object."""
    (tmp_path / "ImageSets" / "2016").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2016" / "val.txt").write_text("bear\n")
    for root, value in (("Annotations/480p", 255), ("predictions", 1)):
        folder = tmp_path / root / "bear"
        folder.mkdir(parents=True)
        for frame in range(3):
            mask = np.zeros((20, 30), np.uint8)
            mask[5:12, 5:12] = value
            Image.fromarray(mask).save(folder / f"{frame:05d}.png")
    return tmp_path


def test_255_is_the_object_in_the_archive_of_davis_2016(davis2016: Path) -> None:
    (scores,) = scores_of(davis2016, "davis2016", ".", "predictions", None)
    assert scores.values["J"].tolist() == scores.values["F"].tolist() == [1.0]


@pytest.mark.parametrize(("void", "figure"), [(False, 1.0), (True, 0.0)])
def test_predictions_of_one_object_may_be_0_and_255(davis2016: Path, void: bool, figure: float) -> None:
    """255 means ignored pixels only if the first annotation has it in addition to the object."""
    for frame in range(3):
        annotation = davis2016 / f"Annotations/480p/bear/{frame:05d}.png"
        prediction = davis2016 / f"predictions/bear/{frame:05d}.png"
        shape = np.array(Image.open(annotation)) > 0
        mask = shape.astype(np.uint8)
        if void:
            mask[0] = 255
        Image.fromarray(mask).save(annotation)
        Image.fromarray(shape.astype(np.uint8) * 255).save(prediction)
    (scores,) = scores_of(davis2016, "davis2016", ".", "predictions", None)
    assert scores.values["J"].tolist() == scores.values["F"].tolist() == [figure]


@pytest.mark.parametrize(("kind", "other"), [("seen", "unseen"), ("unseen", "seen")])
def test_lvos_with_videos_of_one_kind_has_that_kinds_figures(
    data: Path, caplog: pytest.LogCaptureFixture, kind: str, other: str
) -> None:
    root = data / "lvos"
    names = json.loads((root / "valid" / "valid_meta.json").read_text())["videos"]
    (root / "unseen_videos.txt").write_text("\n".join(names) if kind == "unseen" else "another\n")
    results = evaluate(root / "predictions", root, None, 1, "lvos")
    overall = results.overall.iloc[0]
    for measure in ("J", "F", "V"):
        mean = results.objects[f"{measure}-Mean"].mean()
        assert overall[f"{measure}-Mean"] == overall[f"{measure}-{kind}-Mean"] == pytest.approx(mean)
        assert np.isnan(overall[f"{measure}-{other}-Mean"])
    assert overall["J&F-Mean"] == pytest.approx((overall["J-Mean"] + overall["F-Mean"]) / 2)
    assert f"no object counts as {other}" in caplog.text


@pytest.fixture
def youtube_vos(tmp_path: Path) -> Path:
    """A video of 6 frames: object 1 (a seen category) in all, object 2 (an unseen one) in the last three."""
    objects = {
        "1": {"category": "dog", "frames": [f"{frame:05d}" for frame in range(0, 30, 5)]},
        "2": {"category": "yak", "frames": ["00015", "00020", "00025"]},
    }
    for split, listed in (("valid", objects), ("train", {"1": objects["1"]})):
        (tmp_path / split).mkdir()
        meta = {"videos": {"v": {"objects": listed}}}
        (tmp_path / split / "meta.json").write_text(json.dumps(meta))
    for frame in range(6):
        mask = np.zeros((40, 60), np.uint8)
        mask[5:15, 5:15] = 1
        prediction = mask.copy()
        if frame >= 3:
            mask[20:30, 20:30] = 2
            prediction[20:30, 20:25] = 2  # half of the object
        for folder, image in (("valid/Annotations", mask), ("predictions", prediction)):
            path = tmp_path / folder / "v" / f"{5 * frame:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return tmp_path


def test_g_is_the_mean_of_seen_and_unseen_categories(youtube_vos: Path) -> None:
    seen, unseen = scores_of(youtube_vos, "youtube-vos", ".", "predictions", None)
    # Each object counts from its second frame on; its first was given.
    assert np.isfinite(seen.values["J"]).tolist() == [True] * 5
    assert np.isfinite(unseen.values["J"]).tolist() == [False, False, False, True, True]
    overall = evaluate(youtube_vos / "predictions", youtube_vos, None, 1, "youtube-vos").overall.iloc[0]
    f = float(np.nanmean(unseen.values["F"]))
    assert overall["G-Mean"] == pytest.approx((1 + 0.5 + 1 + f) / 4)
    assert (overall["J-seen-Mean"], overall["J-unseen-Mean"]) == (1, 0.5)
    assert overall["J-Mean"] == 0.75


def test_the_given_frame_of_each_object_counts_where_asked(youtube_vos: Path) -> None:
    _, unseen = scores_of(youtube_vos, "youtube-vos", ".", "predictions", None, all_frames=True)
    assert np.isfinite(unseen.values["J"]).tolist() == [False, False, False, True, True, True]


def test_the_folder_of_a_split_may_be_given_itself(youtube_vos: Path) -> None:
    expected = scores_of(youtube_vos, "youtube-vos", ".", "predictions", None)
    found = scores_of(youtube_vos, "youtube-vos", "valid", "predictions", None)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.values["J"], other.values["J"])


def test_the_order_in_a_meta_file_does_not_matter(youtube_vos: Path) -> None:
    path = youtube_vos / "valid" / "meta.json"
    objects = json.loads(path.read_text())["videos"]["v"]["objects"]
    before = scores_of(youtube_vos, "youtube-vos", ".", "predictions", None)
    backwards = {number: {**objects[number], "frames": objects[number]["frames"][::-1]} for number in "21"}
    path.write_text(json.dumps({"videos": {"v": {"objects": backwards}}}))
    after = scores_of(youtube_vos, "youtube-vos", ".", "predictions", None)
    for one, other in zip(before, after, strict=True):
        assert (one.number, one.frames) == (other.number, other.frames)
        np.testing.assert_array_equal(one.values["J"], other.values["J"])


@pytest.mark.parametrize("of_training", [True, False])
def test_without_categories_there_is_no_g_but_j_and_f(
    youtube_vos: Path, caplog: pytest.LogCaptureFixture, of_training: bool
) -> None:
    if of_training:
        (youtube_vos / "train" / "meta.json").unlink()
    else:
        path = youtube_vos / "valid" / "meta.json"
        path.write_text(re.sub('"category": "[a-z]+", ', "", path.read_text()))
    overall = evaluate(youtube_vos / "predictions", youtube_vos, None, 1, "youtube-vos").overall.iloc[0]
    assert np.isnan(overall["G-Mean"])
    assert "seen or unseen" in caplog.text
    assert overall["J-Mean"] == 0.75


@pytest.mark.parametrize(
    ("split", "content"),
    [
        ("valid", ""),
        ("valid", "{}"),
        ("valid", '{"videos": {"v": {"objects": {"1": {}}}}}'),
        ("valid", '{"videos": {"v": {"objects": {"1": 5}}}}'),
        ("valid", '{"videos": {"v": {"objects": []}}}'),
        ("valid", '{"videos": {"v": {"objects": {"a": {"frames": ["00000", "00005"]}}}}}'),
        ("valid", '{"videos": {"v": {"objects": {}}}}'),
        ("valid", '{"videos": {"v": {"objects": {"0": {"frames": ["00000", "00005"]}}}}}'),
        ("valid", '{"videos": {"v": {"objects": {"256": {"frames": ["00000", "00005"]}}}}}'),
        ("valid", '{"videos": {"v": {"objects": {"1": {"frames": ["00000"]}}}}}'),
        ("valid", '{"videos": {"../v": {"objects": {"1": {"frames": ["00000", "00005"]}}}}}'),
        ("valid", "[]"),
        ("valid", '{"videos": ["v"]}'),
        ("valid", '{"videos": {"\\ud800": {"objects": {"1": {"frames": ["00000", "00005"]}}}}}'),
        ("train", '{"videos": {"v": {}}}'),
        ("train", '{"videos": {"v": []}}'),
        ("train", '{"videos": {"v": {"objects": {"1": 5}}}}'),
    ],
)
def test_a_meta_file_that_cannot_be_read_is_named(
    youtube_vos: Path, capsys: pytest.CaptureFixture[str], split: str, content: str
) -> None:
    path = youtube_vos / split / "meta.json"
    path.write_text(content)
    assert run(youtube_vos, "youtube-vos", ".", "predictions") == 1
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("protocol", "removed"),
    [("youtube-vos", "valid/meta.json"), ("lvos", "unseen_videos.txt"), ("vos-benchmark", "predictions")],
)
def test_what_is_missing_is_named(
    youtube_vos: Path, data: Path, capsys: pytest.CaptureFixture[str], protocol: str, removed: str
) -> None:
    root = {"youtube-vos": youtube_vos, "lvos": data / "lvos", "vos-benchmark": data / "davis"}[protocol]
    path = root / removed
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run(root, protocol, ".", "predictions") == 1
    error = capsys.readouterr().err
    assert str(path.parent) in error
    assert path.name in error


def test_folders_without_a_common_sequence_are_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = data / "davis" / "predictions"
    for path in predictions.iterdir():
        path.rename(predictions / f"other_{path.name}")
    assert run(data, "vos-benchmark", *DAVIS) == 1
    assert str(predictions) in capsys.readouterr().err
