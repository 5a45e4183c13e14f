"""Runs that are killed at random moments and restarted give the same results as undisturbed ones."""

import sys
from pathlib import Path

import pytest

from tests.hostile.kill import kill_runs


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_kills(tmp_path: Path) -> None:
    assert kill_runs(tmp_path, 8, seed=0) == []
