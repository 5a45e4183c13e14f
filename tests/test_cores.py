"""Threads by the machine's load: a busy machine gets fewer, which sleep; an idle one gets all, which spin."""

import logging
from pathlib import Path

import pytest

from aot_plus.utils import cores
from aot_plus.utils.cores import Cores, Pace, choose_wait_policy, find_cores
from evaluation import parallel


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files describe the load and quota of an idle machine with 8 cores."""
    monkeypatch.setattr(parallel, "_CGROUP", tmp_path)
    monkeypatch.setattr(cores, "_LOADAVG", tmp_path / "loadavg")
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    return tmp_path


def _load(machine: Path, monkeypatch: pytest.MonkeyPatch, mean: float, running: int) -> None:
    monkeypatch.setattr(cores.os, "getloadavg", lambda: (mean, mean, mean))
    (machine / "loadavg").write_text(f"{mean} {mean} {mean} {running}/500 4711\n")


@pytest.mark.parametrize(
    ("mean", "running", "threads", "busy"),
    [
        (0.0, 1, 8, False),
        (8.0, 1, 8, False),  # a run that has just ended
        (0.1, 9, 7, True),  # a momentary peak: the load of the last minute counts
        (5.5, 9, 2, True),
        (30.0, 31, 1, True),
    ],
)
def test_threads_are_the_cores_that_are_free(
    machine: Path, monkeypatch: pytest.MonkeyPatch, mean: float, running: int, threads: int, busy: bool
) -> None:
    _load(machine, monkeypatch, mean, running)
    assert find_cores().threads() == threads
    assert find_cores().is_busy is busy


@pytest.mark.parametrize(("quota", "usable"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1)])
def test_a_container_s_quota_counts(
    machine: Path, monkeypatch: pytest.MonkeyPatch, quota: str, usable: int
) -> None:
    _load(machine, monkeypatch, 0.0, 1)
    (machine / "cpu.max").write_text(f"{quota}\n")
    assert find_cores().usable == usable
    _load(machine, monkeypatch, 6.0, 7)
    assert find_cores().is_busy is (usable > 2)  # two of the machine's cores are free


def test_processes_share_the_threads() -> None:
    assert [Cores(8, 8, 0.0).threads(processes) for processes in (1, 2, 3, 16)] == [8, 4, 2, 1]


def test_the_wait_policy_is_chosen_on_a_busy_machine_unless_it_is_given(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _load(machine, monkeypatch, 0.0, 1)
    choose_wait_policy()
    assert "OMP_WAIT_POLICY" not in cores.os.environ
    _load(machine, monkeypatch, 8.0, 9)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    choose_wait_policy()
    assert cores.os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    choose_wait_policy()
    assert cores.os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize(("later", "warnings"), [(0.25, 0), (0.35, 1)])
def test_a_run_far_below_its_initial_speed_is_logged_once(
    caplog: pytest.LogCaptureFixture, later: float, warnings: int
) -> None:
    now = [0.0]
    pace = Pace(of=10, clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for frame in range(60):
            now[0] += 0.1 if frame < 15 else later
            pace.tick()
    assert len(caplog.records) == warnings
