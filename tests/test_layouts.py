"""The readers of all layouts, and evaluations with them, on one small dataset written in each layout."""

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from aot_plus.configs.datasets import DATASETS
from aot_plus.dataloaders.dataset_check import findings as kinds
from aot_plus.dataloaders.dataset_check.findings import Severity
from aot_plus.dataloaders.dataset_check.runner import check_dataset
from aot_plus.dataloaders.eval_datasets import open_configured, open_dataset
from aot_plus.dataloaders.layouts import LAYOUTS
from aot_plus.dataloaders.training_sets import training_videos
from aot_plus.networks.managers.frame_reading import read_first_mask
from aot_plus.networks.managers.origin import origin_of_masks, origin_of_weights
from aot_plus.networks.managers.summary import EvaluationSummary
from aot_plus.pipeline import reproduction
from aot_plus.pipeline.reproduction import Outcome
from aot_plus.pipeline.rows import zoo_rows
from aot_plus.pipeline.run import Inference, Job, infer
from aot_plus.pipeline.submission import write_zip
from aot_plus.pipeline.table import render_table
from aot_plus.tools import eval as eval_tool
from aot_plus.utils.config import get_config
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.masks import write_mask
from evaluation.datasets import DATASET_FOLDERS
from evaluation.layouts import scored_sequences
from evaluation.masks import read_mask
from evaluation.protocols import PROTOCOLS
from tests.layout_runs import (
    FRAMES,
    HEIGHT,
    LATE,
    LATE_FRAME,
    PALETTE,
    WIDTH,
    Still,
    job_of,
    make_source,
    mask_of,
    run,
    summary_of,
)
from tests.layouts import write_layout

NAMES = [name for name in DATASET_FOLDERS if name != "mini_vost"]
KINDS = [name for name in NAMES if name not in ("youtubevos2018", "mose_v2", "lvos_v2", "long_video_x3")]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_source(tmp_path_factory.mktemp("source") / "VOST")


def test_a_custom_split_called_test_is_scored_here(source: Path, tmp_path: Path) -> None:
    root = write_layout("vost", source, tmp_path)
    (root / "ImageSets" / "val.txt").rename(root / "ImageSets" / "test.txt")
    assert open_dataset("vost", tmp_path, split="test").server
    mine = root.rename(tmp_path / "mine")
    assert not open_dataset(str(mine), tmp_path, split="test").server


def test_names_are_the_same_everywhere() -> None:
    assert set(LAYOUTS) == set(DATASETS) == {*DATASET_FOLDERS, "folders"}


@pytest.mark.parametrize("name", NAMES)
def test_every_reader_gives_the_same_frames_and_masks(name: str, source: Path, tmp_path: Path) -> None:
    root = write_layout(name, source, tmp_path)
    dataset = open_configured(job_of(name, tmp_path).cfg)
    assert dataset.root == root
    assert dataset.missing() == []
    assert dataset.sequences() == ["a", "b"]
    sparse = name.startswith("youtubevos")
    for sequence_name in "ab":
        sequence = dataset.sequence(sequence_name)
        frames = [f"{frame:05d}" for frame in range(0, FRAMES, 2 if sparse else 1)]
        assert [path.stem for path in sequence.images] == frames
        assert (
            sequence.images[0].read_bytes()
            == (source / "JPEGImages_10fps" / sequence_name / "00000.jpg").read_bytes()
        )
        expected = mask_of(sequence_name, 0)
        first = sequence.read_mask("00000")
        assert first is not None
        np.testing.assert_array_equal(first, expected.clip(max=1) if name == "davis2016" else expected)
        few = name.startswith(("youtubevos", "long_video", "sav"))
        assert list(sequence.saved) == (frames[::2] if few and not sparse else frames)
        assert list(sequence.palette)[:6] == ([0, 0, 0, 128, 0, 0] if name == "sav" else PALETTE[:6])


@pytest.mark.parametrize("name", KINDS)
def test_later_objects_start_at_their_own_frame_where_the_data_set_has_them(
    name: str, source: Path, tmp_path: Path
) -> None:
    write_layout(name, source, tmp_path)
    first, second = run(job_of(name, tmp_path))
    assert [mask for mask in first[1:] if mask is not None] == []
    later = {index: mask for index, mask in enumerate(second) if mask is not None and index}
    if not name.startswith(("youtubevos", "lvos")):
        assert later == {}
        return
    ((index, mask),) = later.items()
    assert index == (2 if name.startswith("youtubevos") else 4)
    np.testing.assert_array_equal(mask, np.where(mask_of("b", 4) == LATE, LATE, 0))
    results = tmp_path / "results" / "b"
    assert LATE not in read_mask(results / "00002.png")
    written = Image.open(results / f"{LATE_FRAME}.png")
    assert written.mode == "P"
    assert LATE in np.unique(np.asarray(written))
    assert (written.getpalette() or [])[:12] == PALETTE[:12]


def test_a_later_mask_is_an_option_of_every_data_set(source: Path, tmp_path: Path) -> None:
    write_layout("mose_v1", source, tmp_path)
    _, second = run(job_of("mose_v1", tmp_path, TEST_LATER_MASKS=True))
    assert [index for index, mask in enumerate(second) if mask is not None] == [0, 4]


def test_in_a_plain_folder_255_is_an_object_like_any_other(source: Path, tmp_path: Path) -> None:
    """Long-time Video has the same folders, but ignores 255. A later mask shows only object 3."""
    root = write_layout("long_video", source, tmp_path)
    for path in (root / "Annotations").glob("*/*.png"):
        mask = read_mask(path)
        ids = np.where(mask > 0, 255, 0) if path.stem < LATE_FRAME else np.where(mask > 0, 3, 0)
        write_mask(path, ids.astype(np.uint8), PALETTE)
    plain = job_of(str(root), tmp_path, TEST_LAYOUT="folders", TEST_LATER_MASKS=True)
    for one in run(plain):
        shown = [set(np.unique(mask).tolist()) for mask in one if mask is not None]
        assert shown == [{0, 255}, {0, 3}]
    of_first = {kinds.FIRST_MASK_EMPTY, kinds.IGNORED_IN_FIRST}
    assert not of_first & {finding.kind for finding in check_dataset(plain.open_dataset()).findings}
    assert of_first & {
        finding.kind for finding in check_dataset(open_dataset("long_video", tmp_path)).findings
    }
    sequence = job_of("long_video", tmp_path).open_dataset().sequence("a")
    with pytest.raises(DataError, match=re.escape(str(sequence.annotation))):
        read_first_mask(sequence)


def test_all_frames_of_youtube_vos_are_read_and_the_named_ones_written(source: Path, tmp_path: Path) -> None:
    root = write_layout("youtubevos2019", source, tmp_path)
    meta = json.loads((root / "valid" / "meta.json").read_text())
    for one in meta["videos"]["a"]["objects"].values():
        one["frames"] = ["00002", "00004"]
    (root / "valid" / "meta.json").write_text(json.dumps(meta))
    (root / "valid" / "Annotations" / "a" / "00000.png").rename(
        root / "valid" / "Annotations" / "a" / "00002.png"
    )
    job = job_of("youtubevos2019", tmp_path, TEST_DATASET_SPLIT="val_all_frames")
    dataset = job.open_dataset()
    assert (dataset.split, dataset.result_name) == ("valid_all_frames", "youtubevos2019_all_frames")
    first, second = run(job)
    assert (len(first), len(second)) == (3, FRAMES)  # frames 2, 3, 4 and frames 0 to 8
    names = [path.name for path in sorted((job.folder / "a").glob("*.png"))]
    assert names == ["00002.png", "00004.png"]
    assert len(list((job.folder / "b").glob("*.png"))) == 5
    job = job_of("youtubevos2019", tmp_path, TEST_SAVE_ALL_FRAMES=True, TEST_DATASET_SPLIT="valid_all_frames")
    assert len(job.open_dataset().sequence("b").files()) == FRAMES
    with zipfile.ZipFile(write_zip(job)) as archive:
        assert len(archive.namelist()) == 2 + 5


def test_sav_has_a_folder_for_each_object_which_may_overlap(source: Path, tmp_path: Path) -> None:
    root = write_layout("sav", source, tmp_path)
    inner = np.zeros((HEIGHT, WIDTH), np.uint8)
    inner[6:10, 6:10] = 255
    Image.fromarray(inner).save(root / "sav_val" / "Annotations_6fps" / "a" / "001" / "00000.png")
    job = job_of("sav", tmp_path)
    first, _ = run(job)
    assert first[0] is not None
    assert (first[0] == 2).sum() == 16  # the smaller object is on top
    files = sorted(str(path.relative_to(job.folder / "a")) for path in (job.folder / "a").rglob("*.png"))
    assert files == [
        f"{folder}/{frame:05d}.png" for folder in ("000", "001") for frame in range(0, FRAMES, 2)
    ]
    np.testing.assert_array_equal(read_mask(job.folder / "a" / "001" / "00004.png"), inner > 0)


def test_frames_before_the_first_mask_are_left_out(source: Path, tmp_path: Path) -> None:
    root = write_layout("mose_v1", source, tmp_path)
    (root / "valid" / "Annotations" / "a" / "00000.png").unlink()
    sequence = open_dataset("mose_v1", tmp_path, split="val").sequence("a")
    assert (sequence.images[0].stem, sequence.saved[0], len(sequence.images)) == (
        "00002",
        "00002",
        FRAMES - 2,
    )


def test_mose_with_its_splits_inside(source: Path, tmp_path: Path) -> None:
    root = write_layout("mose_v2", source, tmp_path)
    for kind in ("JPEGImages", "Annotations"):
        (root / "valid" / kind).rename(root / "aside")
        (root / kind).mkdir()
        (root / "aside").rename(root / kind / "valid")
    (root / "valid").rmdir()
    dataset = open_dataset("mose_v2", tmp_path, split="valid")
    assert dataset.sequences() == ["a", "b"]
    assert len(dataset.sequence("a").images) == FRAMES


def test_mose_by_the_other_name_of_its_split(source: Path, tmp_path: Path) -> None:
    """This works with both folder structures, whichever is on disk."""
    root = write_layout("mose_v2", source, tmp_path)
    assert open_dataset("mose_v2", tmp_path, split="val").sequences() == ["a", "b"]
    for folder in ("JPEGImages", "Annotations"):
        (root / "valid" / folder).rename(root / folder)
        (root / folder).rename(root / "old")
        (root / folder).mkdir()
        (root / "old").rename(root / folder / "valid")
    (root / "valid").rmdir()
    opened = open_dataset("mose_v2", tmp_path, split="val")
    assert (opened.split, opened.sequences()) == ("valid", ["a", "b"])
    assert open_dataset("mose_v2", tmp_path, split="bogus").split == "bogus"


def test_a_plain_folder_has_no_splits_and_no_sequence_named_like_a_result_folder(
    source: Path, tmp_path: Path
) -> None:
    root = write_layout("long_video", source, tmp_path)
    with pytest.raises(DataError, match=f"{root}: .*'bogus'"):
        open_dataset("long_video", tmp_path, split="bogus").sequences()
    dataset = open_dataset("long_video", tmp_path)
    (dataset.masks_folder / "b").rename(dataset.masks_folder / "traces")
    with pytest.raises(DataError, match="'traces'"):
        dataset.sequences()


def test_davis_at_full_resolution_is_written_at_its_height(source: Path, tmp_path: Path) -> None:
    root = write_layout("davis2017", source, tmp_path)
    for path in sorted((root / "JPEGImages" / "480p").rglob("*.jpg")):
        target = root / "JPEGImages" / "Full-Resolution" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((2 * WIDTH + 1, 2 * HEIGHT)).save(target)
    values = {"TEST_IMAGES": "JPEGImages/Full-Resolution", "TEST_OUTPUT_HEIGHT": HEIGHT}
    job = job_of("davis2017", tmp_path, **values)
    (root / "Annotations" / "480p" / "a" / "00000.png").unlink()
    large = np.zeros((2 * HEIGHT, 2 * WIDTH + 1), np.uint8)
    large[10:40, 10:40] = 1
    write_mask(root / "Annotations" / "480p" / "a" / "00000.png", large)
    sequence = job.open_dataset().sequence("a")
    assert sequence.size((2 * HEIGHT, 2 * WIDTH + 1)) == (HEIGHT, WIDTH + 1)  # rounded up
    first = sequence.read_mask("00000", (HEIGHT, WIDTH + 1))
    assert first is not None
    assert first.shape == (HEIGHT, WIDTH + 1)
    assert (first == 1).sum() == 15 * 15


@pytest.mark.parametrize(
    ("name", "split", "folder"),
    [("davis2017", "test-dev", ""), ("mose_v1", "valid", ""), ("youtubevos2018", "valid", "Annotations/")],
)
def test_the_zip_file_is_what_the_server_takes(
    name: str, split: str, folder: str, source: Path, tmp_path: Path
) -> None:
    root = write_layout(name, source, tmp_path)
    if split == "test-dev":
        (root / "ImageSets" / "2017" / "val.txt").rename(root / "ImageSets" / "2017" / "test-dev.txt")
    job = job_of(name, tmp_path, TEST_DATASET_SPLIT=split)
    assert job.open_dataset().server
    run(job)
    path = write_zip(job)
    before = path.read_bytes()
    assert write_zip(job).read_bytes() == before
    frames = range(0, FRAMES, 2 if name.startswith("youtubevos") else 1)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [f"{folder}{name}/{n:05d}.png" for name in "ab" for n in frames]
        assert archive.read(f"{folder}a/00002.png") == (job.folder / "a" / "00002.png").read_bytes()
    (job.folder / "b" / "00004.png").unlink()
    with pytest.raises(DataError, match=r"b/00004\.png"):
        write_zip(job)


def test_a_server_that_takes_polygons_gets_no_zip_file(source: Path, tmp_path: Path) -> None:
    write_layout("visor", source, tmp_path)
    with pytest.raises(ConfigError, match="visor"):
        write_zip(job_of("visor", tmp_path))


def test_missing_data_is_named_at_once_with_the_remedy(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"DAVIS: .*https://davis"):
        open_dataset("davis2017", tmp_path)
    root = write_layout("davis2017", source, tmp_path)
    (root / "JPEGImages" / "480p").rename(root / "JPEGImages" / "Full-Resolution")
    with pytest.raises(DataError, match="--images JPEGImages/Full-Resolution"):
        open_dataset("davis2017", tmp_path).require()
    with pytest.raises(DataError, match=r"elsewhere: there is no folder frames\b"):
        open_dataset("davis2017", tmp_path, images=str(tmp_path / "elsewhere" / "frames")).require()
    root = write_layout("youtubevos2019", source, tmp_path)
    (root / "valid" / "meta.json").unlink()
    (root / "valid" / "JPEGImages").rename(root / "valid" / "frames")
    with pytest.raises(DataError) as error:
        open_dataset("youtubevos2019", tmp_path, split="valid").require()
    assert " JPEGImages" in str(error.value)
    assert " meta.json" in str(error.value)
    with pytest.raises(DataError, match=r"'test'.* valid"):
        open_dataset("mose_v1", write_layout("mose_v1", source, tmp_path).parent, split="test").sequences()


@pytest.mark.parametrize(
    ("name", "split", "inner"),
    [
        ("vost", "val", ""),
        ("davis2017", "val", ""),
        ("youtubevos2019", "valid", ""),
        ("youtubevos2019", "valid", "valid"),
        ("mose_v1", "valid", "valid"),
    ],
)
def test_an_archive_unpacked_one_folder_too_deep_is_named(
    name: str, split: str, inner: str, source: Path, tmp_path: Path
) -> None:
    outer = write_layout(name, source, tmp_path) / inner
    outer.rename(tmp_path / "content")
    outer.mkdir()
    nested = (tmp_path / "content").rename(outer / "unpacked")
    with pytest.raises(DataError, match=re.escape(f"{nested} has it")):
        open_dataset(name, tmp_path, split=split).require()
    if name == "vost":
        with pytest.raises(DataError, match=re.escape(f"{nested} has it")):
            scored_sequences(outer, outer, split, PROTOCOLS["vost"])


def test_a_folder_of_data_sets_given_for_one_is_told_which_it_has(source: Path, tmp_path: Path) -> None:
    root = write_layout("vost", source, tmp_path)
    (root / "JPEGImages").mkdir()
    with pytest.raises(DataError, match=re.escape(f"did you mean {root}?")):
        open_dataset(str(tmp_path), tmp_path)


@pytest.mark.parametrize("name", ["mose_v1", "long_video", "sav"])
def test_what_an_archive_of_a_mac_adds_is_no_sequence(name: str, source: Path, tmp_path: Path) -> None:
    root = write_layout(name, source, tmp_path)
    dataset = open_dataset(name, tmp_path)
    before = dataset.sequences()
    for folder in (root, dataset.frames_folder, dataset.masks_folder, dataset.masks_folder / before[0]):
        (folder / "__MACOSX" / before[0]).mkdir(parents=True)
    assert dataset.sequences() == before
    assert dataset.object_folders(before[0]) == (("000", "001") if name == "sav" else ())


@pytest.mark.parametrize("name", ["vost", "mose_v1"])
def test_masks_named_in_upper_case_are_an_error(name: str, source: Path, tmp_path: Path) -> None:
    write_layout(name, source, tmp_path)
    dataset = open_dataset(name, tmp_path)
    folder = dataset.masks_folder / dataset.sequences()[0]
    last = max(folder.iterdir())
    last.rename(last.with_suffix(".PNG"))  # the metric would score fewer frames
    with pytest.raises(DataError, match=rf"lower case, found {last.stem}\.PNG"):
        scored_sequences(dataset.masks_folder, dataset.masks_folder, None, PROTOCOLS["vos-benchmark"])
    for path in folder.glob("*.png"):
        path.rename(path.with_suffix(".PNG"))
    if name == "mose_v1":  # which asks for a mask of any frame
        with pytest.raises(DataError, match="lower case"):
            dataset.sequence(folder.name)


@pytest.mark.parametrize(
    ("name", "layout"), [("davis2017", "davis2017"), ("long_video", "folders"), ("vost", "vost")]
)
def test_a_layout_is_recognised_by_the_folders_content(
    name: str, layout: str, source: Path, tmp_path: Path
) -> None:
    root = write_layout(name, source, tmp_path)
    dataset = open_dataset(str(root), tmp_path / "elsewhere")
    assert type(dataset) is LAYOUTS[layout]
    assert dataset.sequences() == ["a", "b"]
    with pytest.raises(ConfigError, match=r"TEST_LAYOUT: .*vost.*'davis'"):
        open_dataset(str(root), tmp_path, layout="davis")
    with pytest.raises(ConfigError, match=r"TEST_LAYOUT: .*Dataset, found .*Path"):
        open_dataset(str(root), tmp_path, layout="pathlib:Path")


@pytest.mark.parametrize("name", KINDS)
def test_the_check_knows_every_layout(name: str, source: Path, tmp_path: Path) -> None:
    write_layout(name, source, tmp_path)
    dataset = open_configured(job_of(name, tmp_path).cfg)
    report = check_dataset(dataset, dataset.split)
    assert [finding for finding in report.findings if finding.kind.severity is Severity.ERROR] == []
    assert sum(sequence.masks for sequence in report.sequences) >= 2
    image = dataset.sequence("a").images[2]
    image.write_bytes(image.read_bytes()[:-200])
    inner = dataset.masks_folder
    masks = inner.parent if inner.name == "480p" else inner
    (finding,) = [one for one in check_dataset(dataset).findings if one.kind == kinds.IMAGE_UNREADABLE]
    assert (finding.place, image.name in finding.detail) == ("a", True)
    masks.rename(masks.parent / "elsewhere")
    missing = [
        one for one in check_dataset(dataset, dataset.split).findings if one.kind == kinds.FOLDER_MISSING
    ]
    assert [masks.name in one.detail for one in missing] == [True]


def test_sequences_that_were_not_unpacked_are_one_finding(source: Path, tmp_path: Path) -> None:
    root = write_layout("davis2017", source, tmp_path)
    for name in "ab":
        shutil.rmtree(root / "JPEGImages" / "480p" / name)
    report = check_dataset(open_dataset("davis2017", tmp_path), "val")
    (finding,) = report.findings
    assert finding.kind == kinds.SEQUENCES_MISSING
    assert f"2 of 2 in {root}/JPEGImages/480p: a, b" in finding.detail
    assert report.sequences == []


def evaluate(data_folder: Path, *flags: str) -> int:
    where = ["--data_root", str(data_folder), "--result_dir", str(data_folder / "results")]
    network = ["--model", "aott", "--random_weights", "--device", "cpu", "--policy", "fifo"]
    return eval_tool.main([*where, *network, *flags])


def test_one_command_gives_j_and_f(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_layout("davis2017", source, tmp_path)
    assert evaluate(tmp_path, "--dataset", "davis2017", "--split", "val") == 0
    out = capsys.readouterr().out
    assert "J&F-Mean" in out
    assert "b_2" in out
    table = (tmp_path / "results" / "global_results-val.csv").read_text()
    assert table.startswith("J&F-Mean,J-Mean,J-Recall,J-Decay,F-Mean")
    assert str(tmp_path / "results" / "global_results-val.csv") in out


def test_a_damaged_result_mask_is_named_with_the_remedy(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_layout("davis2017", source, tmp_path)
    command = ("--dataset", "davis2017", "--split", "val")
    assert evaluate(tmp_path, *command) == 0
    mask = tmp_path / "results" / "b" / "00004.png"
    whole = mask.read_bytes()
    mask.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        capsys.readouterr()
        assert evaluate(tmp_path, *command) == 1
        assert re.search(rf"error: {re.escape(str(mask))}: .* remove .* rerun", capsys.readouterr().err)
    mask.unlink()
    assert evaluate(tmp_path, *command) == 0
    assert mask.read_bytes() == whole
    write_mask(mask, np.zeros((2, 2), np.uint8))
    assert evaluate(tmp_path, *command) == 1
    assert "remove" not in capsys.readouterr().err  # a rerun writes it in the same size
    mask.write_bytes(whole)
    annotation = next(tmp_path.glob("*/Annotations/**/b/00004.png"))
    annotation.write_bytes(annotation.read_bytes()[:50])
    capsys.readouterr()
    assert evaluate(tmp_path, *command) == 1
    error = capsys.readouterr().err
    assert f"error: {annotation}: " in error
    assert "remove" not in error  # a rerun cannot restore an annotation


def test_without_public_ground_truth_the_command_names_the_server_and_the_zip_file(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_layout("youtubevos2019", source, tmp_path)
    assert evaluate(tmp_path, "--dataset", "youtubevos2019", "--zip") == 0
    out = capsys.readouterr().out
    assert re.search("youtubevos2019 valid .*YouTube-VOS server", out)
    assert f" {tmp_path}/results/valid.zip" in out
    assert evaluate(tmp_path, "--dataset", "youtubevos2019", "--zip", "--sequences", "a") == 1
    assert "--sequences" in capsys.readouterr().err


def test_the_layout_of_the_page_runs(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[1] / "docs" / "data.md"
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "page_layouts.py").write_text(block, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    root = tmp_path / "clips"
    for frame in range(FRAMES):
        (root / "b" / "rgb").mkdir(parents=True, exist_ok=True)
        Image.open(source / f"JPEGImages_10fps/b/{frame:05d}.jpg").save(root / f"b/rgb/{frame:05d}.png")
    shutil.copytree(source / "Annotations" / "b", root / "b" / "masks")
    (root / "val.txt").write_text("b\n")
    job = job_of(str(root), tmp_path, TEST_LAYOUT="page_layouts:Clips", TEST_LATER_MASKS=True)
    (given,) = run(job)
    assert [index for index, mask in enumerate(given) if mask is not None] == [0, 4]
    assert len(list((job.folder / "b").glob("*.png"))) == 5
    shutil.copytree(root / "b", root / "c")
    for split in ("val", "train"):
        (root / f"{split}.txt").write_text("b\nc\n")
    found = check_dataset(job.open_dataset(), "val").findings
    assert {finding.kind.severity for finding in found} <= {Severity.NOTE}
    cfg = get_config("mini_vost", overrides={"DATASETS": (str(root),), "DATA_LAYOUT": "page_layouts:Clips"})
    (video, _) = training_videos(str(root), cfg)
    assert sum(video.annotated) == 5
    assert video.read_image(0).shape == (HEIGHT, WIDTH, 3)
    assert any("page_layouts.py" in name for name in origin_of_weights(cfg, None))
    assert any("page_layouts.py" in name for name in origin_of_masks(job.cfg, None))


class Broken(LAYOUTS["folders"]):
    """A custom layout with an error in the method or property that ``place`` names."""

    frames = "JPEGImages_10fps"
    place, error = "", ""

    def _ask(self, place: str, name: str = "a") -> None:
        if place == self.place and name == "a":
            raise {"KeyError": KeyError, "DataError": DataError, "OSError": OSError}[self.error](place)

    def missing(self) -> list[str]:
        self._ask("missing")
        return super().missing()

    def sequences(self) -> list[str]:
        self._ask("sequences")
        return super().sequences()

    @property
    def frames_folder(self) -> Path:
        self._ask("frames_folder")
        return super().frames_folder

    def list_images(self, name: str) -> tuple[Path, ...]:
        self._ask("list_images", name)
        return super().list_images(name)

    def list_masks(self, name: str) -> dict[str, tuple[Path, ...]]:
        self._ask("list_masks", name)
        return super().list_masks(name)


@pytest.mark.parametrize("place", ["missing", "sequences", "frames_folder", "list_images", "list_masks"])
def test_an_error_in_a_custom_layout_is_named_with_its_line(
    place: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(str(source), tmp_path, TEST_LAYOUT=f"{__name__}:Broken")
    monkeypatch.setattr(Broken, "place", place)
    monkeypatch.setattr(Broken, "error", "KeyError")
    where = (
        rf"the layout '{__name__}:Broken': KeyError in _ask\(\), {re.escape(__file__)}, line \d+: .*{place}"
    )
    with pytest.raises(ConfigError, match=where) as caught:
        infer(job)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConfigError, match=where):
        check_dataset(job.open_dataset(), "val", workers=1)


class Answers(LAYOUTS["folders"]):
    """A custom layout whose methods return ``answers``, which tests set."""

    answers: ClassVar[dict[str, Any]] = {}

    def missing(self) -> list[str]:
        return self.answers.get("missing", [])

    def sequences(self, split: str | None = None) -> list[str]:
        return self.answers.get("sequences", ["a"])

    def list_images(self, name: str) -> tuple[Path, ...]:
        return self.answers.get("list_images", (self.root / "a.png",))

    def list_masks(self, name: str) -> dict[str, tuple[Path, ...]]:
        return self.answers.get("list_masks", {"a": (self.root / "a.png",)})


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("missing", None),
        ("sequences", None),
        ("sequences", "a"),
        ("list_images", ("a.png",)),
        ("list_images", Path("a.png")),
        ("list_masks", {"a": Path("a.png")}),
        ("list_masks", {"a": ()}),
        ("list_masks", (Path("a.png"),)),
    ],
)
def test_an_answer_of_another_type_is_named(
    method: str, answer: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "answers", {method: answer})
    job = job_of(str(source), tmp_path, TEST_LAYOUT=f"{__name__}:Answers")
    with pytest.raises(ConfigError, match=rf"'{__name__}:Answers': {method}\(\): expected .*, found "):
        infer(job)


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"list_images": ()}, "a has no frames"),
        ({"list_masks": {"a.png": (Path("masks/a.png"),)}}, r"masks/a\.png: .*'a\.png'.*'a'"),
        ({"list_masks": {}}, "no mask"),
    ],
)
def test_a_sequence_without_frames_or_masks_says_which(
    answers: dict[str, Any], found: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answers, "answers", answers)
    dataset = job_of(str(source), tmp_path, TEST_LAYOUT=f"{__name__}:Answers").open_dataset()
    with pytest.raises(DataError, match=found):
        dataset.sequence("a")


@pytest.mark.parametrize("place", ["list_images", "list_masks"])
@pytest.mark.parametrize("error", ["DataError", "OSError"])
def test_a_broken_sequence_of_a_custom_layout_does_not_stop_the_others(
    place: str, error: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(str(source), tmp_path, TEST_LAYOUT=f"{__name__}:Broken")
    monkeypatch.setattr(Broken, "place", place)
    monkeypatch.setattr(Broken, "error", error)
    summary = summary_of(job, Still())
    assert summary.failed == {"a": place}
    assert summary.done == ["b"]


def test_the_model_zoo_is_measured_on_davis_and_packed_for_youtube_vos(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def infer(job: Job) -> Inference:
        run(job)
        return Inference(job, EvaluationSummary())

    monkeypatch.setattr(reproduction, "infer", infer)
    values = {"DIR_DATA": str(tmp_path), "DIR_RESULT": str(tmp_path / "results")}
    row = zoo_rows()[0]
    for name in ("davis2017", "youtubevos2019"):
        write_layout(name, source, tmp_path)
        outcomes = {row: Outcome(reproduction.PENDING)}
        assert reproduction.measure_all(outcomes, name, values) is None
        table = render_table(outcomes)
        if name == "davis2017":
            figures = [float(cell) for cell in table.splitlines()[2].split("|")[2:5]]
            assert figures[0] == pytest.approx((figures[1] + figures[2]) / 2, abs=0.01)
            assert 50 < figures[1] < 100
            assert table.startswith("| model | ")
        else:
            assert outcomes[row].status == reproduction.SERVER
            assert "valid.zip" in table
