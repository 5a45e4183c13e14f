"""Interrupted progress bars."""

import gc
import sys
from typing import Any

import pytest

from evaluation.progress import ProgressBar


def test_an_interruption_while_a_bar_is_made_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ProgressBar, "_get_free_pos", interrupt)
    try:
        ProgressBar(total=3)
    except KeyboardInterrupt:
        pass
    else:
        pytest.fail("the bar was made")
    gc.collect()
    assert not unraisable
