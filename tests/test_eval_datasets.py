"""Evaluation datasets, images, the background writer, and the distribution among processes."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.dataloaders.layouts import VOSTDataset
from aot_plus.networks.managers.processes import ProcessPlace, divide_sequences
from aot_plus.networks.managers.writer import ITEMS_PER_THREAD, BackgroundWriter
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import read_image
from evaluation.sequences import find_sequence

PIXEL = np.zeros((1, 1), np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "VOST"
    (root / "ImageSets").mkdir(parents=True)
    (root / "ImageSets" / "val.txt").write_text("b\na\n\n")
    (root / "ImageSets" / "train.txt").write_text("")
    for name in ("frame_010.jpg", "frame_002.jpg", "frame_001.PNG", "._frame_001.PNG", "notes.txt"):
        path = root / "JPEGImages_10fps" / "a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_listing(root: Path) -> None:
    dataset = VOSTDataset(root, "vost")
    assert dataset.sequences() == ["b", "a"]
    sequence = dataset.sequence("a")
    assert [path.name for path in sequence.images] == ["frame_001.PNG", "frame_002.jpg", "frame_010.jpg"]
    assert sequence.annotation == root / "Annotations" / "a" / "frame_001.png"
    assert (dataset.length("a"), dataset.length("b")) == (3, 0)


def test_hidden_files_beside_annotations_are_not_read(root: Path) -> None:
    """Archives made on macOS contain such files, which are not images."""
    folder = root / "Annotations" / "a"
    folder.mkdir(parents=True)
    names = ("frame_001.png", "frame_002.png", "frame_003.png")
    for name in names:
        (folder / name).touch()
        (folder / f"._{name}").touch()
    assert find_sequence("a", folder, (1, 1)).frames == names


def test_a_split_file_of_another_encoding_is_named(root: Path) -> None:
    (root / "ImageSets" / "val.txt").write_bytes(b"\xff\xfeb\x00")
    with pytest.raises(DataError, match=r"val\.txt: "):
        VOSTDataset(root, "vost").sequences()


def test_splits_and_selection(root: Path) -> None:
    dataset = VOSTDataset(root, "vost")
    with pytest.raises(DataError, match=r"'test'.* train, val"):
        dataset.of_split("test").sequences()
    with pytest.raises(DataError, match=r"train\.txt: "):
        dataset.of_split("train").sequences()
    assert dataset.select(["a"]) == ["a"]
    with pytest.raises(DataError, match=r" c .*'val'.* b, a"):
        dataset.select(["a", "c"])
    (root / "ImageSets" / "bad.txt").write_text("../a\n")
    with pytest.raises(DataError, match=r"bad\.txt.*'\.\./a'"):
        dataset.of_split("bad").sequences()


def test_two_images_of_one_frame(root: Path) -> None:
    (root / "JPEGImages_10fps" / "a" / "frame_002.png").touch()
    with pytest.raises(DataError, match=r"frame_002\.jpg .*frame_002\.png"):
        VOSTDataset(root, "vost").sequence("a")


def test_open_dataset_by_name_and_path(root: Path) -> None:
    assert open_dataset("vost", root.parent).root == root
    assert open_dataset(str(root), Path("elsewhere")).name == "vost"
    with pytest.raises(DataError, match="MiniVOST: "):
        open_dataset("mini_vost", root.parent)
    with pytest.raises(DataError, match=f"{root / 'ImageSets'}: .* ImageSets"):
        open_dataset(str(root / "ImageSets"), root.parent)
    with pytest.raises(DataError, match="davis: "):
        open_dataset("davis", root.parent)


def test_writer_is_bounded_and_reports_errors() -> None:
    gate, written = threading.Event(), []

    def write(path: Path, ids: NDArray[np.uint8]) -> None:
        assert gate.wait(10)
        if path.name == "3":
            raise PermissionError(13, "Permission denied")
        written.append(path.name)

    def write_more(writer: BackgroundWriter[NDArray[np.uint8]]) -> None:
        for number in range(ITEMS_PER_THREAD, 20):
            writer.write(Path(str(number)), lambda: PIXEL)  # blocks: the queue is full
        writer.join()

    with BackgroundWriter(1, write) as writer:
        for number in range(ITEMS_PER_THREAD):
            writer.write(Path(str(number)), lambda: PIXEL)
        assert written == []
        threading.Timer(0.05, gate.set).start()
        with pytest.raises(DataError, match=r"^3: .*\(Permission denied\)"):
            write_more(writer)
    assert written[:3] == ["0", "1", "2"]


def test_sharing_is_complete_deterministic_and_even() -> None:
    lengths = {f"s{number}": (number * 37) % 101 for number in range(40)}
    shares = divide_sequences(lengths, 3)
    assert sorted(name for share in shares for name in share) == sorted(lengths)
    assert shares == divide_sequences(dict(reversed(lengths.items())), 3)
    loads = [sum(lengths[name] for name in share) for share in shares]
    assert max(loads) - min(loads) <= 20
    assert divide_sequences({"a": 5, "b": 3, "c": 3}, 2) == [["a"], ["b", "c"]]
    assert divide_sequences({"a": 0}, 3) == [["a"], [], []]


def test_place_from_environment() -> None:
    assert ProcessPlace.from_environment({}) == ProcessPlace(0, 1, 0, 1)
    torchrun = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert ProcessPlace.from_environment(torchrun) == ProcessPlace(5, 8, 1, 4)
    with pytest.raises(ConfigError, match="RANK=2 WORLD_SIZE=2"):
        ProcessPlace.from_environment({"RANK": "2", "WORLD_SIZE": "2"})


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rows, columns = np.mgrid[0:60, 0:80]
    image = np.stack([rows * 4, columns * 3, (rows * columns) % 256], axis=-1).astype(np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(image).save(path, quality=90)
    return path


def test_images_are_decoded_as_by_opencv(photo: Path) -> None:
    expected = cv2.imread(str(photo))
    assert expected is not None
    np.testing.assert_array_equal(read_image(photo), expected[..., ::-1])


def test_images_are_turned_upright(photo: Path, tmp_path: Path) -> None:
    image = Image.open(photo)
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(read_image(photo), -1))


@pytest.mark.parametrize("kept", [0, 100, 0.5, -2])
def test_truncated_images_are_refused(photo: Path, kept: float) -> None:
    data = photo.read_bytes()
    photo.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(DataError, match=r"photo\.jpg: "):
        read_image(photo)


def test_other_kinds_of_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.jpg: "):
        read_image(tmp_path / "missing.jpg")
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((2, 2), 40000, np.uint16)).save(path)
    with pytest.raises(DataError, match=r"deep\.png: .*8 bits.*found mode I;16"):
        read_image(path)
    Image.new("L", (3, 2), 9).save(path)
    np.testing.assert_array_equal(read_image(path), np.full((2, 3, 3), 9))
