"""Clips from static images: views, layouts, determinism, a training, and errors that name what is missing."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import Identity

from aot_plus.configs import Config
from aot_plus.dataloaders import coco_images, static_images
from aot_plus.dataloaders.coco_images import read_coco
from aot_plus.dataloaders.mini_vost_clips import DrawnVideo
from aot_plus.dataloaders.photometric import Photometric, colours_of_images, colours_of_videos
from aot_plus.dataloaders.static_images import StaticClips, StaticTransform
from aot_plus.dataloaders.static_layouts import find_static_images
from aot_plus.dataloaders.train_datasets import ClipStream, TrainDataset, build_train_dataset
from aot_plus.dataloaders.video_transforms import ClipTransform
from aot_plus.networks.managers.trainer import Trainer
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from tests.tiny_training import TINY
from tests.train_videos import ID_STEP, picture, raw_clip, rectangles

MASK = rectangles((1, 10, 10, 50, 60), (2, 40, 70, 90, 120))


def write_pair(image: Path, mask: Path, ids: NDArray[np.uint8] = MASK) -> None:
    """Writes an image that encodes its mask's ids, and the mask."""
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(ids, 0)).save(image)
    write_mask(mask, ids)


@pytest.fixture(scope="module")
def static_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and masks of MiniVOST in the folders of the static images."""
    root = tmp_path_factory.mktemp("static_data") / "Static"
    video = DrawnVideo(seed=0, index=0)
    for frame in (0, 40, 80):
        image = root / "JPEGImages" / "a_set" / f"{frame}.jpg"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(video.read_image(frame)).save(image)
        write_mask(root / "Annotations" / "a_set" / f"{frame}.png", video.read_mask(frame))
    return root


def pre_config(static_root: Path, model: str = "aot_mini", **values: Any) -> Config:
    tiny: dict[str, Any] = {name: value for name, value in TINY.items() if "SEQ_TRAINING" not in name}
    tiny |= {"PRETRAIN_ENCODER": "", "TRAIN_ENCODER_FREEZE_AT": 0}
    return get_config("pre", model, overrides=tiny | {"DIR_DATA": str(static_root.parent)} | values)


def test_pre_training_runs_on_a_folder_of_images_made_of_mini_vost(static_root: Path, tmp_path: Path) -> None:
    here: dict[str, Any] = {"DATASETS": (f"static:{static_root}",), "DIR_DATA": str(tmp_path)}
    cfg = pre_config(static_root, TRAIN_TOTAL_STEPS=2, **here)
    weights = torch.load(Trainer(cfg, tmp_path).run(), weights_only=True)
    assert weights["step"] == 2
    lines = [json.loads(line) for line in (tmp_path / "log" / "train.jsonl").read_text().splitlines()]
    assert [line["sequential_share"] for line in lines] == [0.0, 0.0]  # the ground truth is committed
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_samples_are_deterministic_and_of_two_images(static_root: Path) -> None:
    cfg = pre_config(static_root, DATA_SEQ_LEN=5, DATA_RANDOMCROP=(97, 97))
    stream = ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, 2)
    state = torch.get_rng_state()
    clip, again = stream[3], stream[3]
    assert torch.equal(torch.get_rng_state(), state)  # torch's global generator is not used
    assert torch.equal(clip.images, again.images)
    assert clip.images.shape == (5, 3, 97, 97)
    assert len(clip.names) == 2  # this stage always merges
    assert not torch.equal(stream[2].images, clip.images)


def views(kind: Any, seed: int, size: tuple[int, int] = (97, 97)) -> Any:
    transform = StaticTransform(size, colours_of_images(kind))
    clip = raw_clip(*[MASK] * 3)
    clip.images[:] = [picture(MASK, 0)] * 3
    return transform.apply(clip, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_views_differ_and_keep_most_of_each_object(kind: str) -> None:
    for seed in range(8):
        clip = views(kind, seed)
        for first in range(3):
            assert clip.images[first].shape == (97, 97, 3)
            assert set(np.unique(clip.labels[first])) <= {0, 1, 2}
            assert np.count_nonzero(clip.labels[first]) > 0.25 * np.count_nonzero(MASK)
            for second in range(first):
                assert not np.array_equal(clip.labels[first], clip.labels[second])


def test_a_view_moves_image_and_mask_alike() -> None:
    unchanged = Photometric(Identity(), Identity())
    clip = raw_clip(*[MASK] * 4)
    clip.images[:] = [picture(MASK, 0)] * 4
    moved = StaticTransform((96, 128), unchanged).apply(clip, np.random.default_rng(1))
    for frame, label in zip(moved.images, moved.labels, strict=True):
        assert label is not None
        inside = cv2.dilate(label, np.ones((5, 5))) == cv2.erode(label, np.ones((5, 5)))
        found = np.abs(frame[..., 0].astype(int) - label.astype(int) * ID_STEP)[inside & (label > 0)]
        assert (found <= 3).mean() > 0.99


def test_views_move_within_the_published_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[tuple[Any, ...]] = []
    boxes: list[tuple[int, ...]] = []
    flips: list[Image.Image] = []

    def affine(image: Image.Image, *place: Any, **_: Any) -> Image.Image:
        if image.mode == "RGB":
            moves.append(place)
        return image

    def crop(image: Image.Image, *box: Any) -> Image.Image:
        if image.mode == "RGB":
            boxes.append(box[:4])
        return image

    def flip(image: Image.Image) -> Image.Image:
        if image.mode == "RGB":
            flips.append(image)
        return image

    for name, fake in (("affine", affine), ("resized_crop", crop), ("hflip", flip)):
        monkeypatch.setattr(static_images.F, name, fake)
    for seed in range(150):
        views("v1", seed)
    assert (len(moves), len(boxes)) == (2 * 150, 3 * 150)  # the first of three frames stays in its place
    assert 130 < len(flips) < 200  # 0.5 for an image, and 0.3 for each of its later frames: 165
    height, width = MASK.shape
    shears = [shear for _, _, _, (shear, _) in moves]
    areas = [box[2] * box[3] / (height * width) for box in boxes]
    for values, low, high in (
        ([angle for angle, *_ in moves], -20, 20),
        ([shift[0] / width for _, shift, *_ in moves], -0.1, 0.1),
        ([shift[1] / height for _, shift, *_ in moves], -0.1, 0.1),
        ([zoom for _, _, zoom, _ in moves], 0.9, 1.1),
        (shears, -10, 10),
        (areas, 0.8, 1.0),
    ):
        edge = 0.05 * (high - low)
        assert low - edge <= min(values) < low + edge
        assert high - edge < max(values) <= high + edge


def test_the_second_kind_changes_colours_more_and_of_videos_as_well() -> None:
    assert colours_of_videos("v1") is None
    clip = raw_clip(*[MASK] * 12, shade=120)
    changes = {}
    for kind in ("v1", "v2"):
        changed = colours_of_images(kind).apply(clip, np.random.default_rng(0))  # type: ignore[arg-type]
        shades = [float(image.mean()) for image in changed.images]
        changes[kind] = max(abs(shade - 120) for shade in shades)
        assert len({round(shade, 3) for shade in shades}) > 6  # drawn for each frame separately
    assert 1 < changes["v1"] < 13 < changes["v2"]
    clip.images[:] = [np.full_like(image, (200, 100, 50)) for image in clip.images]
    grey = 0
    for seed in range(20):
        changed = colours_of_images("v2").apply(clip, np.random.default_rng(seed))
        grey += sum(len(set(image[48, 64].tolist())) == 1 for image in changed.images)
    assert 28 < grey < 68  # a fifth of 240
    video = ClipTransform((65, 65), colours=colours_of_videos("v2"))
    clip = raw_clip(MASK, MASK, shade=120)
    moved = video.apply(clip, np.random.default_rng(0))
    assert not np.array_equal(moved.images[0], moved.images[1])


def test_each_layout_is_read(tmp_path: Path) -> None:
    white = np.where(MASK > 0, np.uint8(255), np.uint8(0))
    void = MASK.copy()
    void[0, :30] = 255
    write_pair(tmp_path / "own/JPEGImages/a/1.png", tmp_path / "own/Annotations/a/1.png")
    voc = tmp_path / "VOCdevkit/VOC2012"
    write_pair(voc / "JPEGImages/1.png", voc / "SegmentationObject/1.png", void)
    Image.fromarray(picture(MASK, 0)).save(voc / "JPEGImages/2.png")  # without a mask, like many in VOC
    (voc / "Annotations").mkdir()
    for name, images, masks in (
        ("ECSSD", "images", "ground_truth_mask"),
        ("MSRA10K_Imgs_GT", "Imgs", "Imgs"),
        ("PASCAL-S", "datasets/imgs/pascal", "datasets/masks/pascal"),
    ):
        (tmp_path / name / images).mkdir(parents=True)
        (tmp_path / name / masks).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(MASK, 0)).save(tmp_path / name / images / "1.jpg")
        Image.fromarray(white).save(tmp_path / name / masks / "1.png")
    write_coco(tmp_path / "COCO")
    folders = sorted(path.name for path in tmp_path.iterdir())
    masks_of = {
        folder: image.read()[1] for folder, image in zip(folders, find_static_images(tmp_path), strict=True)
    }
    assert {name: sorted(np.unique(mask)) for name, mask in masks_of.items()} == {
        "own": [0, 1, 2],
        "VOCdevkit": [0, 1, 2, 255],
        "ECSSD": [0, 1],
        "MSRA10K_Imgs_GT": [0, 1],
        "PASCAL-S": [0, 1],
        "COCO": [0, 1, 2, 255],
    }
    assert np.array_equal(masks_of["ECSSD"], MASK > 0)
    largest_first = rectangles((1, 40, 70, 91, 121), (2, 10, 10, 51, 61), (255, 0, 0, 3, 2))
    assert np.array_equal(masks_of["COCO"], largest_first)


def test_parts_of_an_object_in_coco_may_overlap(tmp_path: Path) -> None:
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"].append([30, 20, 90, 20, 90, 30, 30, 30])
    path.write_text(json.dumps(content))
    (_, mask) = next(iter(read_coco(tmp_path))).read()
    assert (mask[20:31, 30:61] == 2).all(), "no hole"
    assert (mask[20:31, 61:91] == 2).all(), "both parts are there"


def test_an_empty_part_of_an_object_in_coco_covers_nothing(tmp_path: Path) -> None:
    write_coco(tmp_path)
    _, before = read_coco(tmp_path)[0].read()
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"].append([])
    path.write_text(json.dumps(content))
    _, mask = read_coco(tmp_path)[0].read()
    assert np.array_equal(mask, before)


def test_cocos_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path)
    read: list[str] = []
    parse = json.loads

    def note(text: str) -> Any:
        read.append(text)
        return parse(text)

    monkeypatch.setattr(coco_images.json, "loads", note)
    assert [len(read_coco(tmp_path)) for _ in range(3)] == [1, 1, 1]
    assert len(read) == 1
    path = tmp_path / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps({"images": [], "annotations": []}))
    assert len(read_coco(tmp_path)) == 0
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        read_coco(tmp_path)


def write_coco(root: Path) -> None:
    """Writes two images: one with two objects and a crowd in its corner, one without objects."""
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name in ("1.jpg", "2.jpg"):
        Image.fromarray(picture(MASK, 0)).save(root / "train2017" / name)
    box_1, box_2 = [10, 10, 60, 10, 60, 50, 10, 50], [70, 40, 120, 40, 120, 90, 70, 90]
    crowd = {"counts": [0, 3, 93, 3, 96 * 128 - 99], "size": [96, 128]}
    objects = [
        {"image_id": 5, "iscrowd": 0, "area": 2000.0, "segmentation": [box_1]},
        {"image_id": 5, "iscrowd": 0, "area": 2500.0, "segmentation": [box_2]},
        {"image_id": 5, "iscrowd": 1, "area": 6.0, "segmentation": crowd},
    ]
    size = {"height": 96, "width": 128}
    images = [{"id": 5, "file_name": "1.jpg", **size}, {"id": 6, "file_name": "2.jpg", **size}]
    path = root / "annotations" / "instances_train2017.json"
    path.write_text(json.dumps({"images": images, "annotations": objects}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"image_id": 9}, "KeyError"),
        ({"segmentation": [[1, 2, 3]]}, "ValueError"),
        ({"segmentation": [[1e400, 2]]}, "ValueError"),
        ({"segmentation": 7}, "TypeError"),
        ({"iscrowd": 1, "segmentation": {"counts": [5, -1]}}, r"1\.jpg"),
        ({"iscrowd": 1, "segmentation": {"counts": [10**12]}}, "OverflowError"),
    ],
)
def test_what_is_wrong_in_coco_s_file_is_named(tmp_path: Path, value: dict[str, Any], message: str) -> None:
    write_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"instances_train2017\.json: .*{message}"):
        find_static_images(tmp_path)


def test_an_unreadable_image_is_left_out_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in "abc":
        write_pair(tmp_path / "JPEGImages" / f"{name}.jpg", tmp_path / "Annotations" / f"{name}.png")
    broken = tmp_path / "JPEGImages" / "b.jpg"
    broken.write_bytes(broken.read_bytes()[:-50])
    source = StaticClips(find_static_images(tmp_path), 3)
    transform = StaticTransform((65, 65), colours_of_images("v1"))
    dataset = TrainDataset(source, transform, max_objects=10, skip_unreadable=True)
    names = {dataset.sample(np.random.default_rng(seed)).names[0] for seed in range(12)}
    assert names == {"JPEGImages/a", "JPEGImages/c"}
    assert caplog.text.count("b.jpg") == 1
    with pytest.raises(DataError, match=r"b\.jpg"):
        source.check(1)


def test_static_images_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Static: .*cocodataset"):
        build_train_dataset(get_config("pre", "aott", overrides={"DIR_DATA": str(tmp_path)}))
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path}: "):
        find_static_images(tmp_path)
    (tmp_path / "Annotations").mkdir()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(DataError, match=r"1 images .*Annotations/a\.png"):
        find_static_images(tmp_path)
    write_mask(tmp_path / "Annotations" / "a.png", np.zeros((8, 9), dtype=np.uint8))
    clips = StaticClips(find_static_images(tmp_path), 3)
    with pytest.raises(DataError, match=r"a\.jpg: .*\(8, 9\).*\(8, 8\)"):
        clips.draw(0, np.random.default_rng(0))
    write_mask(tmp_path / "Annotations" / "a.png", np.zeros((8, 8), dtype=np.uint8))
    assert clips.draw(0, np.random.default_rng(0)) is None
    (tmp_path / "train2017").mkdir()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text('{"images": [{}]}')
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).rename(tmp_path / f"{folder}_")
    with pytest.raises(DataError, match=r"instances_train2017\.json: "):
        find_static_images(tmp_path)
