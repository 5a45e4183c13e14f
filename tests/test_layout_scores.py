"""Figures for masks in all layouts, each under its protocol, from the report and the metric command."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aot_plus.pipeline.run import Job
from aot_plus.report.gather import gather
from aot_plus.report.result_folder import read_folders
from aot_plus.report.write import page_text
from aot_plus.utils.masks import write_mask
from evaluation.command import main as metric
from evaluation.masks import read_mask
from evaluation.protocols import get_protocol
from evaluation.results import Results, evaluate, format_table
from tests.layout_runs import LATE, job_of, make_source, run
from tests.layouts import add_truth, write_layout

TRUTHS = [
    *(
        ("davis2017", "davis"),
        ("davis2016", "davis2016"),
        ("visor", "visor"),
        ("long_video", "vos-benchmark"),
    ),
    *(("sav", "sav"), ("lvos_v2", "lvos"), ("mose_v2", "mosev2"), ("youtubevos2019", "youtube-vos")),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_source(tmp_path_factory.mktemp("source") / "VOST")


def scored_job(name: str, protocol: str, source: Path, data_folder: Path) -> Job:
    """Returns a job with masks for a dataset with ground truth."""
    add_truth(name, source, write_layout(name, source, data_folder))
    job = job_of(name, data_folder, TEST_PROTOCOL=protocol)
    run(job)
    return job


def figures_of(job: Job) -> Results:
    """Computes the same as ``score``, in this process."""
    root, split, protocol = job.open_dataset().truth(get_protocol(job.cfg.TEST_PROTOCOL))
    return evaluate(job.folder, root, split, 1, protocol)


@pytest.mark.parametrize(("name", "protocol"), TRUTHS)
def test_the_report_shows_f_under_every_protocol_that_has_it(
    name: str, protocol: str, source: Path, tmp_path: Path
) -> None:
    job = scored_job(name, protocol, source, tmp_path)
    objects = figures_of(job).objects
    percent = 1 if "J" in objects and protocol != "mosev2" else 100
    dataset = job.open_dataset()
    found = gather(read_folders([job.folder]), dataset, pictures=1, workers=1, protocol=protocol)
    (shown,) = found["runs"]
    assert (found["second"], shown["all"]["objects"]) == ("F", len(objects))
    assert shown["notes"] == []
    for measure, figure in (("J", "j"), ("F", "second")):
        (column,) = {measure, f"{measure}-Mean"} & {*objects}
        np.testing.assert_allclose(shown["all"][figure], percent * objects[column].mean(), atol=0.001)
    for sequence in found["sequences"]:
        assert (sequence["last"], sequence["notes"]) == (None, [])
        (picture,) = sequence["pictures"]
        assert {number for number, _ in picture["truth"]} <= {*sequence["objects"]}
        assert len(picture["truth"]) > 0
        assert len(picture["runs"][0]) > 0
    assert len(page_text(found)) > 1000  # JSON can represent every figure


def test_an_object_that_runs_find_at_different_times_is_shown_from_the_first_on(
    source: Path, tmp_path: Path
) -> None:
    job = scored_job("long_video", "vos-benchmark", source, tmp_path)
    other = Path(shutil.copytree(job.folder, tmp_path / "other"))
    early = read_mask(other / "b" / "00002.png").copy()
    early[0, 0] = LATE
    write_mask(other / "b" / "00002.png", early)
    dataset = job.open_dataset()
    found = gather(
        read_folders([job.folder, other]), dataset, pictures=1, workers=1, protocol="vos-benchmark"
    )
    (sequence,) = [one for one in found["sequences"] if one["name"] == "b"]
    late = sequence["objects"].index(LATE)
    first, second = (of_run["j"][late] for of_run in sequence["runs"])
    assert (first[0], second[0]) == (None, 0)
    assert None not in second


@pytest.mark.parametrize(("name", "protocol"), TRUTHS)
def test_the_metric_finds_a_data_set_by_its_name(
    name: str,
    protocol: str,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    data_folder = tmp_path / "aot_plus" / "datasets"
    job = scored_job(name, protocol, source, data_folder)
    expected = format_table(figures_of(job))
    flags = ["--results_path", str(job.folder), "--protocol", protocol, "--workers", "1", "--re"]
    assert metric([*flags, "--dataset_path", name]) == 0
    assert expected in capsys.readouterr().out


def test_a_split_is_found_under_either_of_its_names(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AOT_PLUS_HOME", str(tmp_path))
    job = scored_job("sav", "sav", source, tmp_path / "aot_plus" / "datasets")
    places = ["--results_path", str(job.folder), "--dataset_path", "sav"]
    flags = [*places, "--protocol", "sav", "--workers", "1", "--set"]
    assert metric([*flags, "sav_val"]) == metric([*flags, "val"]) == metric([*flags, "valid"]) == 0
    capsys.readouterr()
    assert metric([*flags, "test"]) == 1
    assert "sav_test: " in capsys.readouterr().err
