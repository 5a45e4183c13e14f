"""MiniVOST: reproducible, in VOST's layout, with exact masks, too hard for just repeating the first mask."""

import json
import os
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.dataloaders.mini_vost import (
    RenderedSequence,
    make_dataset,
    plan_scene,
    render_frame,
    render_ids,
    render_sequence,
    write_sequence,
)
from aot_plus.dataloaders.mini_vost import writer as writer_module
from aot_plus.dataloaders.mini_vost.actors import FRESH_FRAMES
from aot_plus.pipeline.choices import ensure_mini_vost
from aot_plus.tools.make_mini_vost import main
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import read_image
from evaluation.masks import read_mask


def first_mask_repeated(masks: NDArray[np.uint8], num_objects: int) -> list[tuple[float, float]]:
    """Returns each object's (J, J_tr) if the first annotation (of n x H x W) is predicted for all frames."""
    scored = np.where(masks == 255, 0, masks)
    truth = scored[1:-1]
    results = []
    for object_id in range(1, num_objects + 1):
        predicted, actual = scored[0] == object_id, truth == object_id
        union = (predicted | actual).sum(axis=(1, 2))
        common = (predicted & actual).sum(axis=(1, 2))
        iou = np.where(union > 0, common / np.maximum(union, 1), 1.0)
        results.append((float(iou.mean()), float(iou[int(0.75 * len(iou)) :].mean())))
    return results


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mini") / "MiniVOST"
    make_dataset(out, seed=3, train=1, val=1)
    return out


@pytest.fixture(scope="module")
def sequence() -> RenderedSequence:
    return render_sequence(3, "val", 0)


def test_repeating_the_first_mask_is_not_enough_on_val() -> None:
    scores = []
    for index in range(10):
        scene = plan_scene(0, "val", index)
        masks = np.stack([render_ids(scene, frame) for frame in range(0, scene.num_frames, 4)])
        last_quarter = masks[int(0.75 * len(masks)) :]
        for object_id in range(1, scene.num_objects + 1):
            assert (masks[0] == object_id).sum() >= 200
            seen = (last_quarter == object_id).sum(axis=(1, 2)) > 0
            assert seen.mean() > 0.5, f"{scene.name}: object {object_id} is gone at the end"
        scores += first_mask_repeated(masks, scene.num_objects)
    mean_j, mean_j_tr = np.mean(scores, axis=0)
    assert 0.03 < mean_j < 0.22
    assert mean_j_tr < 0.13


def test_sequence_is_a_video(sequence: RenderedSequence) -> None:
    count = len(sequence.images)
    assert 140 <= count <= 160
    assert sequence.images.shape == (count, 192, 256, 3)
    assert sequence.images.dtype == np.uint8
    assert sequence.masks.shape == (count, 192, 256)
    assert sequence.masks.dtype == np.uint8
    assert set(np.unique(sequence.masks)) <= {*range(sequence.num_objects + 1), 255}
    steps = np.abs(np.diff(sequence.images[:, ::4, ::4].astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    far = np.abs(sequence.images[0].astype(np.int16) - sequence.images[count // 2]).mean()
    assert steps.max() < far, "neighbouring frames are more alike than far ones"
    assert steps.min() > 0


def test_first_frame_has_all_ids_and_nothing_ignored() -> None:
    counts = set()
    for index in range(12):
        scene = plan_scene(5, "train", index)
        _, ids = render_frame(scene, 0)
        assert set(np.unique(ids)) == set(range(scene.num_objects + 1))
        assert np.bincount(ids.ravel())[1:].min() >= 200
        counts.add(scene.num_objects)
    assert counts == {1, 2, 3, 4}


def test_same_seed_same_bits_other_seed_or_split_other_video(sequence: RenderedSequence) -> None:
    again = render_sequence(3, "val", 0)
    assert np.array_equal(again.images, sequence.images)
    assert np.array_equal(again.masks, sequence.masks)
    for other in (plan_scene(4, "val", 0), plan_scene(3, "train", 0), plan_scene(3, "val", 1)):
        assert not np.array_equal(render_frame(other, 0)[0], sequence.images[0])


def test_a_single_frame_equals_the_frame_of_the_whole_video(sequence: RenderedSequence) -> None:
    picture, ids = render_frame(plan_scene(3, "val", 0), 77)
    assert np.array_equal(picture, sequence.images[77])
    assert np.array_equal(ids, sequence.masks[77])


def test_names_of_train_and_val_never_meet() -> None:
    train = {plan_scene(0, "train", index).name.split("_")[0] for index in range(5)}
    val = {plan_scene(0, "val", index).name.split("_")[0] for index in range(5)}
    assert len(train | val) == 10


def test_cuts_part_the_object_and_are_ignored_while_fresh() -> None:
    scene = next(
        scene for scene in (plan_scene(0, "val", index) for index in range(20)) if "_cut_" in scene.name
    )
    cut_object = next(actor for actor in scene.actors if actor.object_id == 1)
    start = cut_object.pieces[0].end
    assert len(cut_object.pieces) >= 3
    others = [
        piece.first for actor in scene.actors if actor.object_id > 1 for piece in actor.pieces if piece.first
    ]
    first_cut = min([start, *others])
    ignored = [int((render_frame(scene, frame)[1] == 255).sum()) for frame in (first_cut - 1, first_cut)]
    assert ignored[0] == 0
    assert ignored[1] > 20
    last_cut = max(piece.first for actor in scene.actors for piece in actor.pieces)
    assert (render_frame(scene, last_cut + FRESH_FRAMES)[1] == 255).sum() == 0


@pytest.mark.parametrize(
    ("seed", "split", "index"), [(0, "test", 0), (-1, "val", 0), (0, "val", -1), (2**32, "val", 0)]
)
def test_bad_arguments_are_refused(seed: int, split: str, index: int) -> None:
    with pytest.raises(ValueError, match=r"found .*(test|-1|4294967296)\b"):
        render_sequence(seed, split, index)


def test_layout_is_vosts(dataset: Path, sequence: RenderedSequence) -> None:
    lists = {
        name: (dataset / "ImageSets" / f"{name}.txt").read_text().split() for name in ("train", "val", "test")
    }
    assert [len(lists[name]) for name in ("train", "val", "test")] == [1, 1, 0]
    assert sequence.name == lists["val"][0]
    for name in lists["train"] + lists["val"]:
        all_frames = sorted(path.stem for path in (dataset / "JPEGImages_10fps" / name).iterdir())
        images = sorted(path.name for path in (dataset / "JPEGImages" / name).iterdir())
        annotations = sorted(path.name for path in (dataset / "Annotations" / name).iterdir())
        assert images == [f"{frame}.jpg" for frame in all_frames[::2]]
        assert annotations == [f"{frame}.png" for frame in all_frames[::2]]
    assert not (dataset / ".unfinished").exists()


def test_files_hold_what_was_rendered(dataset: Path, sequence: RenderedSequence) -> None:
    number = int(sequence.annotated[20])
    name = sequence.frame_names[number]
    mask = read_mask(dataset / "Annotations" / sequence.name / f"{name}.png")
    assert np.array_equal(mask, sequence.masks[number])
    image = read_image(dataset / "JPEGImages_10fps" / sequence.name / f"{name}.jpg")
    assert np.abs(image.astype(np.int16) - sequence.images[number]).mean() < 6
    kept = read_image(dataset / "JPEGImages" / sequence.name / f"{name}.jpg")
    assert np.array_equal(image, kept)


def test_bytes_do_not_depend_on_the_number_of_workers(dataset: Path, tmp_path: Path) -> None:
    make_dataset(tmp_path / "two", seed=3, train=1, val=1, workers=2)
    one, two = files_of(dataset), files_of(tmp_path / "two")
    assert len(one) > 2 * 140
    assert [file for file in one if two.get(file) != one[file]] == []


def test_run_again_keeps_finished_sequences_and_makes_the_missing_ones(
    tmp_path: Path, sequence: RenderedSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []

    def render(seed: int, split: str, index: int) -> RenderedSequence:
        if (split, index) == ("val", 1) and len(made) == 1:
            raise KeyboardInterrupt
        made.append((split, index))
        name = writer_module.sequence_generator(seed, split, index)[1]
        return RenderedSequence(name, sequence.images[:3], sequence.masks[:3], sequence.num_objects)

    monkeypatch.setattr(writer_module, "render_sequence", render)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path, seed=0, train=0, val=2)
    assert not (tmp_path / "ImageSets").exists()
    made.append(("interrupted", 0))
    make_dataset(tmp_path, seed=0, train=0, val=2)
    assert made == [("val", 0), ("interrupted", 0), ("val", 1)]
    assert len((tmp_path / "ImageSets" / "val.txt").read_text().split()) == 2


def test_a_second_run_at_the_same_time_is_refused(
    tmp_path: Path, sequence: RenderedSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would remove what the first has half written, and the lists would name incomplete sequences."""
    out = tmp_path / "MiniVOST"

    def render(seed: int, split: str, index: int) -> RenderedSequence:
        for write in (partial(make_dataset, out, 0, 0, 1), partial(ensure_mini_vost, tmp_path)):
            with pytest.raises(DataError, match=f"process {os.getpid()} "):
                write()
        name = writer_module.sequence_generator(seed, split, index)[1]
        return RenderedSequence(name, sequence.images[:3], sequence.masks[:3], sequence.num_objects)

    monkeypatch.setattr(writer_module, "render_sequence", render)
    make_dataset(out, seed=0, train=0, val=1)
    (name,) = (out / "ImageSets" / "val.txt").read_text().split()
    assert writer_module.is_complete(out, name)
    assert not list(out.glob(".*"))


def test_sequences_of_val_are_added_to_those_of_train(
    tmp_path: Path, sequence: RenderedSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(seed: int, split: str, index: int) -> RenderedSequence:
        name = writer_module.sequence_generator(seed, split, index)[1]
        return RenderedSequence(name, sequence.images[:3], sequence.masks[:3], sequence.num_objects)

    monkeypatch.setattr(writer_module, "render_sequence", render)
    make_dataset(tmp_path, seed=0, train=2, val=0)
    for val in (1, 3):  # the second time, there already are val sequences
        writer_module.add_val(tmp_path, 0, val)
        assert [writer_module.count_listed(tmp_path, split) for split in ("train", "val")] == [2, 1]


def test_no_list_gets_shorter(
    tmp_path: Path,
    sequence: RenderedSequence,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def render(seed: int, split: str, index: int) -> RenderedSequence:
        name = writer_module.sequence_generator(seed, split, index)[1]
        return RenderedSequence(name, sequence.images[:3], sequence.masks[:3], sequence.num_objects)

    def lengths() -> list[int]:
        return [writer_module.count_listed(tmp_path, split) for split in ("train", "val")]

    monkeypatch.setattr(writer_module, "render_sequence", render)
    make_dataset(tmp_path, seed=0, train=2, val=3)
    for train, val, expected in ((0, 1, [2, 3]), (3, 0, [3, 3])):
        arguments = ["--train", str(train), "--val", str(val), "--workers", "1"]
        assert main(["--output", str(tmp_path), *arguments]) == 0
        assert lengths() == expected
        assert re.search(rf"\b{expected[0]} train .*\b{expected[1]} val\b", capsys.readouterr().out)


def test_a_sequence_that_was_not_moved_in_whole_is_made_again(
    tmp_path: Path, sequence: RenderedSequence
) -> None:
    short = RenderedSequence("0001_cut_test", sequence.images[:3], sequence.masks[:3], sequence.num_objects)
    (tmp_path / "JPEGImages" / short.name).mkdir(parents=True)
    (tmp_path / "JPEGImages" / short.name / "left_over.jpg").touch()
    assert not writer_module.is_complete(tmp_path, short.name)
    write_sequence(tmp_path, short)
    assert writer_module.is_complete(tmp_path, short.name)
    assert sorted(path.name for path in (tmp_path / "JPEGImages" / short.name).iterdir()) == [
        "frame00000.jpg",
        "frame00002.jpg",
    ]


def test_a_folder_with_something_else_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["--out", str(tmp_path), "--train", "1", "--val", "1"]) == 1
    assert "mini_vost.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("key", "value"), [("seed", 9), ("generator_version", -1)])
def test_another_seed_or_generator_is_refused(tmp_path: Path, key: str, value: int) -> None:
    make_dataset(tmp_path, seed=0, train=0, val=0)
    info = tmp_path / "mini_vost.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), key: value}))
    with pytest.raises(DataError, match=f"expected {key}.*found {value}"):
        make_dataset(tmp_path, seed=0, train=0, val=0)


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    (tmp_path / "mini_vost.json").write_text("{")
    with pytest.raises(DataError, match=r"mini_vost\.json"):
        make_dataset(tmp_path, seed=0, train=0, val=0)


@pytest.mark.parametrize("arguments", [[], ["--out", "x", "--train", "-1"], ["--out", "x", "--workers", "0"]])
def test_wrong_arguments_end_the_tool(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_preview_is_a_small_picture(tmp_path: Path) -> None:
    assert main(["--preview", str(tmp_path / "preview.png")]) == 0
    picture = read_image(tmp_path / "preview.png")
    assert picture.shape[1] > picture.shape[0] > 600
    assert (tmp_path / "preview.png").stat().st_size < 1_000_000
