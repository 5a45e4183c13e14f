"""In all layouts, files that the metric would miss are reported before inference, and nothing else is."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aot_plus.dataloaders.dataset import Dataset
from aot_plus.pipeline.truth import check_truth
from aot_plus.utils.errors import DataError
from evaluation.layouts import known_truth, scored_sequences
from evaluation.protocols import PROTOCOLS, get_protocol
from evaluation.results import evaluate
from tests.layout_runs import job_of, make_source, run
from tests.layouts import add_truth, write_layout
from tests.test_layout_scores import TRUTHS

OTHERS = [("vost", "vost"), ("mose_v1", "davis"), ("folders", "vos-benchmark")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_source(tmp_path_factory.mktemp("source") / "VOST")


def opened(name: str, protocol: str, source: Path, data_folder: Path) -> Dataset:
    """Opens a dataset with ground truth; ``folders`` is Long-time Video given by its path."""
    known = "long_video" if name == "folders" else name
    root = write_layout(known, source, data_folder)
    add_truth(known, source, root)
    named = str(root) if name == "folders" else name
    return job_of(named, data_folder, TEST_PROTOCOL=protocol, TEST_LAYOUT="").open_dataset()


@pytest.mark.parametrize(("name", "protocol"), [*TRUTHS, *OTHERS])
def test_nothing_is_reported_where_all_can_be_scored(
    name: str, protocol: str, source: Path, tmp_path: Path
) -> None:
    dataset = opened(name, protocol, source, tmp_path)
    check_truth(dataset, get_protocol(protocol))


@pytest.mark.parametrize(
    ("name", "protocol", "place", "split", "layout"),
    [
        ("lvos_v2", "lvos", "", "valid", "lvos"),  # its meta file names the sequences
        ("sav", "sav", "sav_val", "sav_val", "folders"),  # its folder has a list of sequences
        ("mose_v1", "davis", "valid", None, "folders"),  # there is no list
        ("long_video", "vos-benchmark", "", None, "folders"),  # there are no splits
    ],
)
def test_the_metric_reads_a_list_of_sequences_only_where_there_is_one(
    name: str,
    protocol: str,
    place: str,
    split: str | None,
    layout: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    dataset = opened(name, protocol, source, tmp_path / "aot_plus" / "datasets")
    truth = dataset.truth(get_protocol(protocol))
    assert truth == known_truth(name, None, get_protocol(protocol))
    assert truth[:2] == (dataset.root / place, split)
    assert truth.protocol.layout == layout
    sequences = scored_sequences(truth.root, dataset.masks_folder, truth.split, truth.protocol)
    assert {one.name.partition("/")[0] for one in sequences} == {"a", "b"}


def test_the_metric_finds_splits_inside_the_folder_of_masks(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    root = opened("mose_v1", "davis", source, tmp_path / "aot_plus" / "datasets").root
    (root / "Annotations").mkdir()
    masks = (root / "valid" / "Annotations").rename(root / "Annotations" / "valid")
    (root / "valid").rename(root / "aside")
    assert known_truth("mose_v1", "val", get_protocol("davis")).root == masks


@pytest.mark.parametrize("split", ["../sav_val", "x" * 300])
def test_a_known_data_set_has_no_split_outside_its_folder(
    split: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    root = opened("mose_v1", "davis", source, tmp_path / "aot_plus" / "datasets").root
    (root.parent / "sav_val").mkdir()
    with pytest.raises(DataError, match="split"):
        known_truth("mose_v1", split, get_protocol("davis"))


def without_image(frame: str) -> Callable[[Dataset], str]:
    def remove(dataset: Dataset) -> str:
        (image,) = (dataset.frames_folder / "b").glob(f"{frame}.*")
        image.unlink()
        return f"b.*/{frame}.png: .*b "

    return remove


def with_one_mask(dataset: Dataset) -> str:
    for path in (dataset.masks_folder / "a").rglob("*.png"):
        if path.stem != "00000":
            path.unlink()
    return "a.* 1$"


@pytest.mark.parametrize("damage", [without_image("00004"), without_image("00000"), with_one_mask])
@pytest.mark.parametrize(("name", "protocol"), [("long_video", "vos-benchmark"), ("sav", "sav")])
def test_what_cannot_be_scored_is_named(
    name: str, protocol: str, damage: Callable[[Dataset], str], source: Path, tmp_path: Path
) -> None:
    dataset = opened(name, protocol, source, tmp_path)
    expected = damage(dataset)
    with pytest.raises(DataError) as raised:
        check_truth(dataset, PROTOCOLS[protocol], "\nwhat else can be done")
    *problems, advice = str(raised.value).splitlines()
    assert advice == "what else can be done"
    assert problems
    for problem in problems:
        assert re.search(expected, problem), problem


def test_a_given_mask_would_have_been_scored(source: Path, tmp_path: Path) -> None:
    """Without the first image, the second annotation is the given mask, hence the check."""
    job = job_of("long_video", tmp_path, TEST_PROTOCOL="vos-benchmark")
    write_layout("long_video", source, tmp_path)
    dataset = job.open_dataset()
    without_image("00000")(dataset)
    given = run(job)
    assert [len(frames) for frames in given] == [9, 7]
    root, split, protocol = dataset.truth(get_protocol("vos-benchmark"))
    assert len(evaluate(job.folder, root, split, 1, protocol).objects) > 0
    with pytest.raises(DataError, match="00002"):
        check_truth(dataset, protocol)
