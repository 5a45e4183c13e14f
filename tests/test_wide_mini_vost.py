"""Wide MiniVOST: reproducible, objects of all sizes, masks unaffected by filming; MiniVOST is unchanged."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aot_plus.configs import Config
from aot_plus.dataloaders.mini_vost import Scene, plan_scene, render_frame, render_ids
from aot_plus.dataloaders.mini_vost.wide import plan_wide_scene
from aot_plus.dataloaders.mini_vost.wide.bodies import draw_body
from aot_plus.dataloaders.mini_vost.wide.photographs import OF_SCIKIT_IMAGE, OF_SCIKIT_LEARN, photograph
from aot_plus.dataloaders.mini_vost.wide.planning import LARGEST, SMALLEST
from aot_plus.dataloaders.mini_vost_clips import DrawnVideo
from aot_plus.dataloaders.training_sets import training_videos
from aot_plus.utils.config import get_config
from benchmarks import other_scenes

FRAME_PIXELS = 192 * 256


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [plan_wide_scene(0, index) for index in range(24)]


def mini_vost(**values: object) -> Config:
    return get_config("mini_vost", "aot_mini", overrides={"DATA_MINI_VOST_SEQUENCES": 8, **values})


def test_equal_seeds_give_equal_frames_in_any_order(scenes: list[Scene]) -> None:
    again = plan_wide_scene(0, 3)
    for frame in (77, 5):
        picture, ids = render_frame(scenes[3], frame)
        same_picture, same_ids = render_frame(again, frame)
        assert np.array_equal(picture, same_picture)
        assert np.array_equal(ids, same_ids)
    assert again.name == scenes[3].name
    other_seed = render_frame(plan_wide_scene(1, 3), 5)[0]
    assert not np.array_equal(other_seed, render_frame(again, 5)[0])


def test_masks_are_of_the_frame_and_not_of_its_filming(scenes: list[Scene]) -> None:
    for scene in scenes[:8]:
        picture, ids = render_frame(scene, 40)
        assert (picture.shape, picture.dtype) == ((192, 256, 3), np.uint8)
        assert (ids.shape, ids.dtype) == ((192, 256), np.uint8)
        assert set(np.unique(ids)) <= {*range(scene.num_objects + 1), 255}
        assert np.array_equal(ids, render_ids(scene, 40))
        assert picture.std() > 3, f"{scene.name}: nothing is seen"


def test_objects_are_small_and_large(scenes: list[Scene]) -> None:
    shares = [
        count / FRAME_PIXELS
        for scene in scenes
        for frame in range(0, scene.num_frames, 20)
        for count in np.bincount(render_ids(scene, frame).ravel(), minlength=7)[1:7]
        if count
    ]
    assert 0.01 < np.median(shares) < 0.1
    assert max(shares) > 0.25
    assert min(shares) < SMALLEST


@pytest.mark.parametrize("share", [SMALLEST, 0.05, 0.2])
def test_a_body_has_the_area_that_was_asked_for(share: float) -> None:
    for seed in range(20):
        outline, radius = draw_body(np.random.default_rng(seed), share * FRAME_PIXELS)
        area = outline.sum() / 4  # two canvas pixels per unit in each direction
        assert area == pytest.approx(share * FRAME_PIXELS, rel=0.12) or radius == pytest.approx(125)


def test_a_large_body_stays_within_its_canvas() -> None:
    for seed in range(20):
        outline, _ = draw_body(np.random.default_rng(seed), LARGEST * FRAME_PIXELS, reach=10.0)
        assert not outline[0].any()
        assert not outline[:, -1].any()


@pytest.mark.parametrize("name", OF_SCIKIT_LEARN + OF_SCIKIT_IMAGE)
def test_pictures_need_no_network(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIMAGE_DATADIR", "/nowhere")  # where downloads would be stored
    picture = photograph(name)
    assert picture.ndim == 3
    assert picture.dtype == np.uint8
    assert picture.std() > 5


def test_a_share_of_the_training_sequences_is_wide() -> None:
    def wide(**values: object) -> list[bool]:
        videos = training_videos("mini_vost", mini_vost(**values))
        return [isinstance(video, DrawnVideo) and video.wide for video in videos]

    assert sum(wide()) == 6
    assert not any(wide(DATA_MINI_VOST_WIDE=0.0))
    assert all(wide(DATA_MINI_VOST_WIDE=1.0))


def test_a_wide_training_video_shows_its_scene(scenes: list[Scene]) -> None:
    video = DrawnVideo(0, 2, wide=True)
    picture, ids = render_frame(scenes[2], 30)
    assert video.name == scenes[2].name != DrawnVideo(0, 2).name
    assert np.array_equal(video.read_image(30), picture)
    assert np.array_equal(video.read_mask(30), ids)


def test_the_written_videos_are_the_same_as_ever() -> None:
    """A changed order of random draws would give other videos; the last bits may differ between CPUs."""
    expected = {
        (0, 0): ("0001_squash_tomato", 160, (122.28, 133.21, 131.01), {1: 1529}),
        (1, 3): ("0007_move_plate", 148, (118.47, 121.57, 113.21), {2: 1734, 3: 1320}),
    }
    for (seed, index), (name, frames, colour, pixels) in expected.items():
        scene = plan_scene(seed, "val", index)
        picture, ids = render_frame(scene, 60)
        assert (scene.name, scene.num_frames) == (name, frames)
        assert picture.mean(axis=(0, 1)) == pytest.approx(colour, abs=0.3)
        counts = np.bincount(ids.ravel(), minlength=4)
        assert {number: counts[number] for number in (1, 2, 3) if counts[number]} == pytest.approx(
            pixels, abs=9
        )


Frames = Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def some_frames(seed: int) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    video: Frames = other_scenes.draw_video(np.random.default_rng(seed))
    return [frame for _, frame in zip(range(2), video, strict=False)]


def test_the_other_videos_are_reproducible_and_show_every_object() -> None:
    for seed in (0, 2):
        (picture, ids), (later, _) = some_frames(seed)
        assert picture.shape == (257, 257, 3)
        assert np.bincount(ids.ravel())[1:].min() >= 1
        assert not np.array_equal(picture, later)
    assert np.array_equal(some_frames(2)[0][0], picture)


def test_the_other_videos_use_nothing_of_mini_vost() -> None:
    source = Path(other_scenes.__file__).read_text(encoding="utf-8")
    assert "import aot_plus" not in source
    assert "from aot_plus" not in source
