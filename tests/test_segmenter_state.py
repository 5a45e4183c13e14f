"""Paused videos, removed objects, probabilities, and the accepted types of masks and images."""

import io
from collections import Counter
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from aot_plus.networks.memory.policies import Append, MemoryPolicy
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import write_mask
from tests.test_segmenter import HEIGHT, WIDTH, _differ, _run, _segmenter, _squares, _video


class SecondBest(MemoryPolicy):
    """A custom policy that keeps the number of its calls in attributes."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.asked: Counter[int] = Counter()

    def drop(self, append: Append) -> int:
        for frame in append.frames:
            self.asked[frame] += frame % 3
        return max(append.droppable, key=lambda position: self.asked[append.frames[position]])


def _on_disk(state: dict[str, Any]) -> dict[str, Any]:
    """Returns the state as another process would read it from disk."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


class Learned(MemoryPolicy):
    """Scores frames by a module whose weights follow the video, and by chance."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.scorer = torch.nn.Linear(1, 1)
        self.chance = torch.Generator().manual_seed(0)

    def drop(self, append: Append) -> torch.Tensor:
        with torch.no_grad():
            self.scorer.weight.add_(append.statistics().foreground.mean())
            noise = torch.rand(len(append.frames), 1, generator=self.chance)
            scores = self.scorer(noise).flatten()
        return scores.masked_fill(~append.may_drop, torch.inf).argmin()


class Locked(SecondBest):
    """A custom policy with an attribute that cannot be copied."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.lock = Lock()


OWN_POLICIES = [f"{__name__}:SecondBest", f"{__name__}:Learned"]
POLICIES = ["emfs", "rmem", "fifo", "random", "uniform", "unbounded", *OWN_POLICIES]


@pytest.mark.parametrize(("policy", "temporal"), [*((policy, False) for policy in POLICIES), ("emfs", True)])
def test_a_paused_video_goes_on_with_the_same_labels(policy: str, temporal: bool) -> None:
    video, mask = _video(30, frames=8), _squares(list(range(1, 13)))
    values: dict[str, Any] = {"MEM_POLICY": policy, "USE_TEMPORAL_POSITIONAL_EMBEDDING": temporal}
    segmenter = _segmenter(**values)
    _run(segmenter, video[:5], mask)
    state = segmenter.state_dict()
    expected = [segmenter.step(image) for image in video[5:]]
    traced: list[dict[str, Any]] = []
    resumed = _segmenter(**values, trace=traced.append)
    resumed.load_state_dict(_on_disk(state))
    assert not _differ([resumed.step(image) for image in video[5:]], expected)
    assert resumed.banks == segmenter.banks
    assert {line["frame"] for line in traced} == set(range(5, 8))
    np.testing.assert_array_equal(resumed.probabilities().values, segmenter.probabilities().values)


@pytest.mark.parametrize("name", ["aott", "deaott"])
def test_a_pause_right_after_a_mask_and_a_removal_in_several_views(name: str) -> None:
    video = _video(31, frames=6)
    views = {"TEST_FLIP": True, "MEM_AVERAGES_START": "append"}
    segmenter = _segmenter(name, **views)
    _run(segmenter, video[:3], _squares([1, 2]))
    segmenter.step(video[3], _squares([0, 0, 0, *range(20, 32)]))  # a second group
    segmenter.remove(2)
    resumed = _segmenter(name, **views)
    resumed.load_state_dict(_on_disk(segmenter.state_dict()))
    np.testing.assert_array_equal(resumed.probabilities().values, segmenter.probabilities().values)
    expected = [segmenter.step(image) for image in video[4:]]
    assert not _differ([resumed.step(image) for image in video[4:]], expected)
    assert not np.isin(2, expected)


def test_the_state_does_not_change_with_the_video() -> None:
    video, segmenter = _video(32, frames=7), _segmenter()
    _run(segmenter, video[:5], _squares([1, 2]))
    state = segmenter.state_dict()
    expected = [segmenter.step(image) for image in video[5:]]
    for _ in range(2):
        segmenter.load_state_dict(state)
        assert not _differ([segmenter.step(image) for image in video[5:]], expected)


def test_an_own_policy_that_cannot_be_saved_is_named() -> None:
    segmenter = _segmenter(MEM_POLICY=f"{__name__}:Locked")
    segmenter.start(_video(9, frames=1)[0], _squares([1]))
    with pytest.raises(ConfigError, match=r"MEM_POLICY.*Locked.*lock"):
        segmenter.state_dict()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_SELF_HEADS", 4),
        ("MEM_EMFS_WEIGHT", 0.5),
        ("TEST_DTYPE", "bfloat16"),
        ("LATTER_MEM_LEN", 2),
    ],
)
def test_a_state_of_a_segmenter_with_other_labels_is_refused(name: str, value: Any) -> None:
    segmenter = _segmenter()
    _run(segmenter, _video(33, frames=2), _squares([1]))
    with pytest.raises(ConfigError, match=f"^{name}: .* {value!r}$"):
        _segmenter(**{name: value}).load_state_dict(segmenter.state_dict())


def test_a_state_of_another_config_or_none_at_all_is_refused() -> None:
    segmenter = _segmenter()
    with pytest.raises(DataError, match=r"state_dict\(\).*start\(\)"):
        segmenter.state_dict()
    _run(segmenter, _video(33, frames=3), _squares([1]))
    state = segmenter.state_dict()
    with pytest.raises(ConfigError, match=r"MEM_POLICY: .*'emfs'.*'fifo'"):
        _segmenter(MEM_POLICY="fifo").load_state_dict(state)
    for broken in ({}, {**state, "views": []}, {**state, "views": [[{}]]}, {**state, "state": {"frame": 1}}):
        with pytest.raises(DataError, match="state_dict"):
            _segmenter().load_state_dict(broken)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("ids", ids) for ids in ([], [1], [1, 1], [0, 1], [1, 999], [1, "a"], [1, True], [1, 2, 3])),
        *(("size", size) for size in ([1, 2], [0, 0], [WIDTH, HEIGHT])),
        *(("inputs", inputs) for inputs in ([[1, 1]], [[65, 81]])),
    ],
)
def test_an_invalid_state_is_refused_and_the_present_video_goes_on(key: str, value: Any) -> None:
    segmenter, video = _segmenter(), _video(33, frames=3)
    segmenter.start(video[0], _squares([1, 2]))
    state = segmenter.state_dict()
    expected = _run(segmenter, video, _squares([3, 4, 5]))
    segmenter.start(video[0], _squares([3, 4, 5]), memory_gap=1)
    segmenter.step(video[1])
    with pytest.raises(DataError, match=key):
        segmenter.load_state_dict({**state, key: value})
    np.testing.assert_array_equal(segmenter.step(video[2]), expected[2])
    assert segmenter.probabilities().ids == [0, 3, 4, 5]


def test_a_state_without_pixels_is_refused() -> None:
    segmenter = _segmenter()
    _run(segmenter, _video(33, frames=2), _squares([1]))  # the last frame has no mask to tell the size
    with pytest.raises(DataError, match=r"size: .*0 x 0"):
        _segmenter().load_state_dict({**segmenter.state_dict(), "size": [0, 0]})


@pytest.mark.parametrize("overrides", [{}, {"TEST_FLIP": True}])
@pytest.mark.parametrize("count", [3, 12])
def test_the_label_is_the_most_probable_id(count: int, overrides: dict[str, Any]) -> None:
    segmenter, video = _segmenter(**overrides), _video(34, frames=3)
    first = segmenter.start(video[0], _squares([10 * n for n in range(1, count + 1)]))
    ids, values = segmenter.probabilities()
    np.testing.assert_array_equal(np.array(ids)[values.argmax(axis=0)], first)
    for image in video[1:]:
        labels = segmenter.step(image)
        ids, values = segmenter.probabilities()
        assert values.shape == (count + 1, HEIGHT, WIDTH)
        assert values.dtype == np.float32
        np.testing.assert_allclose(values.sum(axis=0), 1, atol=1e-4)
        np.testing.assert_array_equal(np.array(ids)[values.argmax(axis=0)], labels)


@pytest.mark.parametrize("shown", [[1], [2, 200]])
def test_a_given_mask_is_certain_and_all_else_stays_probable(shown: list[int]) -> None:
    segmenter, video = _segmenter(), _video(35, frames=3)
    _run(segmenter, video[:2], _squares([1, 2, 3]))
    given = _squares([0] * 9 + shown)
    labels = segmenter.step(video[2], given)
    ids, values = segmenter.probabilities()
    assert ids == sorted({0, 1, 2, 3, *shown})
    np.testing.assert_array_equal(np.array(ids)[values.argmax(axis=0)], labels)
    for value in shown:
        np.testing.assert_array_equal(values[ids.index(value)], given == value)
    np.testing.assert_allclose(values.sum(axis=0), 1, atol=1e-4)
    for value in {0, 1, 2, 3}.difference(shown):
        assert ((values[value] > 0) & (values[value] < 1))[labels == 0].any()


def test_ignored_pixels_of_the_first_mask_are_certain_to_show_no_object() -> None:
    segmenter, mask = _segmenter(TEST_TRACK_IGNORED=False), _squares([7, 9])
    mask[-10:] = 255
    segmenter.start(_video(35, frames=1)[0], mask)
    ids, values = segmenter.probabilities()
    assert ids == [0, 7, 9]
    np.testing.assert_array_equal(values, [~np.isin(mask, [7, 9]), mask == 7, mask == 9])


def test_probabilities_before_the_start() -> None:
    with pytest.raises(DataError, match=r"probabilities\(\).*start\(\)"):
        _segmenter().probabilities()


@pytest.mark.parametrize("count", [3, 12])
def test_a_removed_object_is_not_predicted_and_the_others_go_on(count: int) -> None:
    segmenter, video = _segmenter(), _video(36, frames=8)
    labels = _run(segmenter, video[:3], _squares(list(range(1, count + 1)), side=20))
    gone = int(np.bincount(labels[-1].ravel())[1:].argmax()) + 1  # the largest
    segmenter.remove(gone)
    assert gone in segmenter.probabilities().ids  # these are from the frame before the removal
    later = [segmenter.step(image) for image in video[3:6]]
    assert not (np.stack(later) == gone).any()
    assert segmenter.probabilities().ids == [0, *(n for n in range(1, count + 1) if n != gone)]
    with pytest.raises(DataError, match=rf"remove\({gone}\): .* {1 if gone > 1 else 2}\b"):
        segmenter.remove(gone)
    back = _squares([0] * 5 + [gone])
    assert ((segmenter.step(video[6], back) == gone) == (back == gone)).all()
    assert gone in segmenter.probabilities().ids


def test_without_the_last_object_all_is_background() -> None:
    segmenter, video = _segmenter(), _video(37, frames=4)
    _run(segmenter, video[:2], _squares([4]))
    segmenter.remove(4)
    assert not segmenter.step(video[2]).any()
    assert segmenter.probabilities().ids == [0]
    assert not segmenter.step(video[3]).any()


def test_masks_of_any_integers() -> None:
    video, mask = _video(38, frames=2), _squares([1, 0, 1])
    expected = _run(_segmenter(), video, mask)
    for dtype in (bool, np.int64, np.int8, np.uint16, np.int32):
        found = _run(_segmenter(), video, mask.astype(dtype))
        assert not _differ(found, expected), dtype
        assert found[0].dtype == np.uint8


def test_images_and_masks_as_files(tmp_path: Path) -> None:
    video, mask = _video(39, frames=3), _squares([3, 200])
    expected = _run(_segmenter(), video, mask)
    write_mask(tmp_path / "mask.png", mask)
    for number, image in enumerate(video):
        PIL.Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / f"{number}.png")
    segmenter = _segmenter()
    labels = [segmenter.start(tmp_path / "0.png", tmp_path / "mask.png", memory_gap=1)]
    labels.append(segmenter.step(str(tmp_path / "1.png")))
    labels.append(segmenter.step(segmenter.prepare(tmp_path / "2.png")))
    assert not _differ(labels, expected)
    with pytest.raises(DataError, match=r"no_such\.png"):
        segmenter.step(tmp_path / "no_such.png")


IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "mask", "cure"),
    [
        (IMAGE.transpose(2, 0, 1), _squares([1]), r"transpose\(1, 2, 0\)"),
        (np.zeros((HEIGHT, WIDTH, 4), np.uint8), _squares([1]), r"\[\.\.\., :3\]"),
        (IMAGE[..., 0], _squares([1]), "70 x 90"),
        (IMAGE / 255.0, _squares([1]), r"255 \* image"),
        (torch.from_numpy(IMAGE), _squares([1]), r"torch\.Tensor.* tensor\.cpu\(\)\.numpy\(\)"),
        (IMAGE, _squares([1]).astype(np.float32), r"astype\(numpy.uint8\)"),
        (IMAGE, IMAGE, "70 x 90 x 3"),
        (IMAGE, _squares([1])[..., None], r"squeeze\(\)"),
        (IMAGE, _squares([1]).astype(np.int32) * 300, r"ids in 0\.\.255 .*found 300"),
        (IMAGE, _squares([1]).astype(np.int32) - 1, "found -1"),
        (IMAGE, _squares([1])[:60], "nearest"),
        (IMAGE, [[1, 0]], r"list.* numpy\.asarray"),
    ],
)
def test_wrong_types_are_errors_with_the_remedy(image: Any, mask: Any, cure: str) -> None:
    with pytest.raises(DataError, match=cure):
        _segmenter().start(image, mask)
