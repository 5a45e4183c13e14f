"""Clips made of static images: warps, determinism, and what is missing by name."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from aot_plus.dataloaders.static_images import StaticClips, list_static_images
from aot_plus.dataloaders.train_datasets import ClipStream, TrainDataset, build_train_dataset
from aot_plus.dataloaders.video_transforms import ClipTransform
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import write_mask
from tests.train_videos import ID_STEP, local_range, picture, rectangles


@pytest.fixture(scope="module")
def static_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs (sklearn's) with made-up masks, and their folder."""
    from sklearn.datasets import load_sample_images

    root = tmp_path_factory.mktemp("static_data") / "Static"
    (root / "JPEGImages" / "some").mkdir(parents=True)
    for number, photograph in enumerate(load_sample_images().images):
        image = cv2.resize(photograph, (320, 214))
        mask = np.zeros((214, 320), dtype=np.uint8)
        cv2.ellipse(mask, (110, 90), (60, 40), 20, 0, 360, 4, -1)
        cv2.rectangle(mask, (190, 80), (280, 180), 2, -1)
        cv2.rectangle(mask, (190, 80), (280, 90), 255, -1)
        Image.fromarray(image).save(root / "JPEGImages" / "some" / f"{number}.jpg")
        write_mask(root / "Annotations" / "some" / f"{number}.png", mask)
    return root


def test_a_static_image_becomes_a_clip_of_warps(static_root: Path) -> None:
    clip = StaticClips(list_static_images(static_root), 4).draw(0, np.random.default_rng(0))
    assert clip is not None
    assert len(clip.images) == 4
    for first in range(4):
        label = clip.labels[first]
        assert label is not None
        assert set(np.unique(label)) == {0, 2, 4, 255}
        for second in range(first):
            here, there = label == 2, clip.labels[second] == 2
            assert 0.2 < (here & there).sum() / (here | there).sum() < 0.97
            assert np.abs(clip.images[first].astype(int) - clip.images[second]).mean() > 3


def test_an_unreadable_image_is_left_out_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask = rectangles((1, 10, 10, 50, 60))
    pairs = []
    for name in "abc":
        pairs.append((tmp_path / f"{name}.jpg", tmp_path / f"{name}.png"))
        Image.fromarray(picture(mask, 0)).save(pairs[-1][0])
        write_mask(pairs[-1][1], mask)
    pairs[1][0].write_bytes(pairs[1][0].read_bytes()[:-50])
    source, transform = StaticClips(pairs, 3), ClipTransform((65, 65))
    dataset = TrainDataset(source, transform, max_objects=10, skip_unreadable=True)
    names = {dataset.sample(np.random.default_rng(seed)).names for seed in range(20)}
    assert names == {("a",), ("c",)}
    assert caplog.text.count("b.jpg") == 1
    with pytest.raises(DataError, match=r"b\.jpg"):
        source.check(1)


def test_a_warp_moves_image_and_mask_alike(tmp_path: Path) -> None:
    mask = rectangles((1, 10, 10, 50, 60), (2, 40, 70, 90, 120))
    Image.fromarray(picture(mask, 0)).save(tmp_path / "image.png")
    write_mask(tmp_path / "mask.png", mask)
    clip = StaticClips([(tmp_path / "image.png", tmp_path / "mask.png")], 3).draw(0, np.random.default_rng(1))
    assert clip is not None
    for frame, label in zip(clip.images, clip.labels, strict=True):
        assert label is not None
        inside = local_range(label) == 0
        off = np.abs(frame[..., 0][inside] / ID_STEP - label[inside]) > 0.05
        assert off.mean() < 0.002  # a few pixels touch an edge all the same


def test_static_samples_are_deterministic_and_whole(static_root: Path) -> None:
    cfg = get_config(
        "pre", "aott", overrides={"DIR_DATA": str(static_root.parent), "DATA_RANDOMCROP": (97, 97)}
    )
    stream = ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, 2)
    clip, again = stream[3], stream[3]
    assert torch.equal(clip.images, again.images)
    assert clip.images.shape == (5, 3, 97, 97)
    assert len(clip.names) == 2  # this stage always merges
    assert not torch.equal(stream[2].images, clip.images)


def test_static_images_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="JPEGImages: there is no such folder"):
        list_static_images(tmp_path)
    (tmp_path / "JPEGImages").mkdir()
    with pytest.raises(DataError, match="there is no image"):
        list_static_images(tmp_path)
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "JPEGImages" / "a.jpg")
    with pytest.raises(DataError, match=r"1 images have no mask: .*Annotations/a\.png"):
        list_static_images(tmp_path)
    write_mask(tmp_path / "Annotations" / "a.png", np.zeros((8, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png: the mask is \(8, 9\), its image \(8, 8\)"):
        StaticClips(list_static_images(tmp_path), 3).draw(0, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="DATA_SEQ_LEN"):
        StaticClips(list_static_images(tmp_path), 2)
