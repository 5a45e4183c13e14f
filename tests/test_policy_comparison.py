"""The policy comparison: statistics by hand, whole runs on tiny videos, resuming, errors."""

import itertools
import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from aot_plus.networks.memory.policies import FifoPolicy
from aot_plus.pipeline.run import Job
from aot_plus.utils.errors import DataError
from aot_plus.utils.masks import write_mask
from benchmarks import inference, policies, runs
from benchmarks.policy_plot import draw_comparison
from benchmarks.policy_statistics import compare as compare_settings
from benchmarks.policy_statistics import estimate, interval, markdown
from benchmarks.videos import SyntheticVideo
from tests.test_benchmarks_inference import assert_finite

BROKEN: list[str] = []  # policies whose inference fails


class Policy(FifoPolicy):
    """A custom policy."""


def write_videos(out: Path, seed: int, train: int, val: int, workers: int = 1) -> None:
    """Writes tiny videos in place of the MiniVOST that the benchmarks would generate."""
    names = [f"{number}_disc" for number in range(val)]
    for number, name in enumerate(names):
        video = SyntheticVideo((33, 49), objects=1 + 2 * number)
        (out / "JPEGImages_10fps" / name).mkdir(parents=True, exist_ok=True)
        for index in range(6):
            image, mask = video.frame(seed + index)
            cv2.imwrite(str(out / "JPEGImages_10fps" / name / f"{index:05d}.jpg"), image)
            write_mask(out / "Annotations" / name / f"{index:05d}.png", mask)
    (out / "ImageSets").mkdir(exist_ok=True)
    (out / "ImageSets" / "val.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The policies that ran. Masks are the annotations, but under fifo, frame 2 gets that of frame 0."""
    found: list[str] = []

    def infer(job: Job) -> None:
        found.append(job.cfg.MEM_POLICY)
        if job.cfg.MEM_POLICY in BROKEN:
            raise DataError("no luck")
        shutil.copytree(Path(job.cfg.TEST_DATASET, "Annotations"), job.folder, dirs_exist_ok=True)
        if job.cfg.MEM_POLICY == "fifo":
            for sequence in job.folder.glob("*_disc"):
                shutil.copy(sequence / "00000.png", sequence / "00002.png")
        (job.folder / "summary.json").write_text('{"frames_per_second": 5.0}')

    monkeypatch.setattr(policies, "make_dataset", write_videos)
    monkeypatch.setattr(runs, "infer", infer)
    return found


def compare(work: Path, *flags: str) -> int:
    chosen = ["--models", "aot_mini", "--val", "2", "--latter", "2", "--work", str(work)]
    return policies.main([*chosen, *flags])


def objects(policy: str, j: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"sequence": name, "object": f"{name}_{number}", "J": value, "J_tr": value / 2}
        for name, values in j.items()
        for number, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows).assign(
        model="m", policy=policy, gap=5, latter=8, seed="s", frames_per_second=10.0
    )


def test_the_statistics() -> None:
    fifo = objects("fifo", {"a": [1.0, 1.0, 1.0], "b": [0.0]})
    emfs = objects("emfs", {"a": [1.25, 1.25, 1.25], "b": [0.25]})
    rmem = objects("rmem", {"a": [1.2, 1.0, 1.0], "b": [0.3]})
    table = compare_settings(pd.concat([fifo, emfs, rmem]), "fifo", 5)
    first, second, third = table.to_dict(orient="records")
    # Sums minus 0.75 times objects: 0.75 and -0.75; 2 / 1 * (0.5625 + 0.5625) / 4^2 = 0.375^2.
    assert (first["J"], first["J_error"]) == (0.75, pytest.approx(0.375))
    assert first["J_tr_error"] == pytest.approx(0.375 / 2)
    assert math.isnan(first["J_gain"])
    gain = [second[f"J_gain{end}"] for end in ("", "_low", "_high")]
    assert gain == pytest.approx([0.25] * 3)  # paired: the same for each object
    # The resamples a + a, a + b and b + b give 0.4 / 6, 0.5 / 4 and 0.6 / 2.
    assert third["J_gain"] == pytest.approx(0.125)
    assert (third["J_gain_low"], third["J_gain_high"]) == pytest.approx((0.4 / 6, 0.3))
    lines = markdown(table, "fifo", 5).splitlines()
    assert lines[2] == "| m | `fifo` | 5 | 1 + 8 | 0.750 ± 0.375 | 0.375 ± 0.188 | – | – | 10.0 |"
    assert lines[3].endswith("| +0.250 [+0.250, +0.250]* | +0.125 [+0.125, +0.125]* | 10.0 |")


def test_differences_are_to_the_first_gap_of_the_same_bank() -> None:
    settings = [("fifo", 5, 8, 0.5), ("fifo", 1, 8, 0.4), ("emfs", 1, 8, 0.7), ("fifo", 5, 3, 0.2)]
    runs = [
        objects(policy, {"a": [j], "b": [j]}).assign(gap=gap, latter=latter)
        for policy, gap, latter, j in settings
    ]
    table = compare_settings(pd.concat(runs), "fifo", 5)
    assert table["J_gain"].tolist() == pytest.approx([math.nan, -0.1, 0.2, math.nan], nan_ok=True)
    table = compare_settings(pd.concat(runs[:3]), "emfs", 1)
    assert table["J_gain"].tolist() == pytest.approx([-0.2, -0.3, math.nan], nan_ok=True)


def test_intervals_have_the_width_of_the_standard_error() -> None:
    rng = np.random.default_rng(1)
    values = {str(number): rng.normal(0.5, 0.1, 2).tolist() for number in range(60)}
    column = objects("emfs", values).set_index(["seed", "sequence", "object"])["J"]
    mean, error = estimate(column)
    low, high = interval(column)
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.2 * error)


def test_the_plot_shows_each_policy_over_gaps_and_capacities() -> None:
    settings = itertools.product(("fifo", "emfs"), (5, 1, 2), (8, 3))
    runs = [
        objects(policy, {"a": [0.5 + gap / 50], "b": [0.4 + latter / 90]}).assign(gap=gap, latter=latter)
        for policy, gap, latter in settings
    ]
    picture = np.asarray(draw_comparison(compare_settings(pd.concat(runs), "fifo", 5), "fifo"))
    half = picture.shape[1] // 2
    for colour in ((110, 110, 110), (196, 48, 43)):
        drawn = (np.abs(picture.astype(int) - colour) < 8).all(axis=2)
        assert drawn[:, :half].any()
        assert drawn[:, half:].any()
    single = draw_comparison(compare_settings(objects("fifo", {"a": [0.5], "b": [0.5]}), "fifo", 5), "fifo")
    assert (single.height, single.width < picture.shape[1]) == (picture.shape[0], True)


def test_equal_numbers_of_objects_give_the_error_of_the_sequences_means() -> None:
    table = compare_settings(objects("fifo", {"a": [0.5, 0.7], "b": [0.2, 0.4], "c": [0.9, 0.9]}), "fifo", 5)
    assert table["J_error"][0] == pytest.approx(0.3 / math.sqrt(3))  # means 0.6, 0.3, 0.9


def test_figures_of_other_objects_are_not_paired() -> None:
    fifo, emfs = objects("fifo", {"a": [0.5], "b": [0.5]}), objects("emfs", {"a": [0.5], "c": [0.5]})
    with pytest.raises(ValueError, match="same objects"):
        compare_settings(pd.concat([fifo, emfs]), "fifo", 5)


def test_a_custom_policy_is_run_on_videos(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "make_dataset", write_videos)
    own = f"{__name__}:Policy"
    assert compare(tmp_path, "--policies", own, "--seeds", "0") == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert list(figures) == ["aot_mini fifo 5 2", f"aot_mini {own} 5 2"]
    for row in figures.values():
        assert_finite({name: value for name, value in row.items() if name not in ("model", "policy")})
    assert figures[f"aot_mini {own} 5 2"]["J_gain"] == 0  # it behaves like fifo
    assert pd.read_csv(tmp_path / "policies.csv")["policy"].tolist() == ["fifo", own]
    assert ":" not in "".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))


def test_only_what_is_missing_is_run(
    tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(tmp_path, "--policies", "rmem") == 0
    assert calls == ["fifo", "rmem"] * 2
    rmem = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]["aot_mini rmem 5 2"]
    assert rmem["J"] == 1
    assert rmem["J_gain"] > 0
    assert rmem["frames_per_second"] == 5
    calls.clear()
    assert compare(tmp_path, "--policies", "rmem") == 0
    assert calls == []
    assert compare(tmp_path, "--policies", "rmem", "--overwrite", "--seeds", "1") == 0
    assert calls == ["fifo", "rmem"]


def test_all_settings_are_run_and_drawn(tmp_path: Path, calls: list[str]) -> None:
    flags = ["--policies", "rmem", "unbounded", "--seeds", "0", "--gaps", "5", "2", "--latter", "2", "1"]
    assert compare(tmp_path, *flags) == 0
    assert Counter(calls) == {"fifo": 4, "rmem": 4, "unbounded": 2}  # the last has no capacity to vary
    table = pd.read_csv(tmp_path / "policies.csv")
    assert len(table) == 10
    assert len(pd.read_csv(tmp_path / "objects.csv")) == 10 * 4
    with Image.open(tmp_path / "policies.png") as picture:
        assert picture.width > picture.height


def test_runs_share_the_cores_unless_the_user_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "find_cores", lambda: SimpleNamespace(usable=8))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [runs.threads_of_each(jobs) for jobs in (1, 3, 16)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "0")  # libraries treat 0 as unset
    assert runs.threads_of_each(3) == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert runs.threads_of_each(3) == 5


def test_gpus_are_shared_out_among_the_runs_that_are_missing(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    monkeypatch.setattr(runs, "_devices", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(runs, "_do_job", lambda _, job: devices.append(job.cfg.TEST_DEVICE) or "")
    jobs = [
        runs.make_job(
            "aot_mini",
            runs.checkpoint_of("aot_mini"),
            {"TEST_LONG_TERM_MEM_GAP": gap, "TEST_DEVICE": device},
            tmp_path,
            tmp_path,
        )
        for gap, device in ((1, "auto"), (2, "auto"), (3, "cpu"), (4, "auto"))
    ]
    monkeypatch.setattr(runs, "is_done", lambda job: job.cfg.TEST_LONG_TERM_MEM_GAP == 1)
    runs.do_jobs(jobs, 1)
    assert devices == ["cuda:0", "cpu", "cuda:0"]


def test_a_failed_run_is_named_and_done_again_alone(
    tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.BROKEN", ["rmem"])
    assert compare(tmp_path, "--policies", "rmem", "--seeds", "0") == 1
    error = capsys.readouterr().err
    assert "error: 1 of 2 " in error
    assert "rmem_1+2_gap5: no luck" in error
    calls.clear()
    monkeypatch.setattr(f"{__name__}.BROKEN", [])
    assert compare(tmp_path, "--policies", "rmem", "--seeds", "0") == 0
    assert calls == ["rmem"]


@pytest.mark.parametrize(
    ("flags", "facts"),
    [
        (["--policies", "nothing"], "MEM_POLICY: .*'nothing'"),
        (["--models", "r50_aotl"], r"--models: .*r50_aotl\.safetensors"),
    ],
)
def test_a_wrong_value_is_one_line(
    flags: list[str], facts: str, tmp_path: Path, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(tmp_path, *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert re.search(facts, error)
    assert len(error.splitlines()) == 1
    assert (calls, list(tmp_path.iterdir())) == ([], [])


def test_an_evaluation_is_compared_with_its_computing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.real_videos.make_dataset", write_videos)
    assert inference.main(["--scenario", "pipeline", "--device", "cpu"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])["figures"]
    assert_finite(figures)
    assert figures["frames"] == 12
    assert figures["ratio"] >= 1
