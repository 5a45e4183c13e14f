"""Fixtures that several test files share."""

import gc
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import settings

from aot_plus.utils.cores import find_cores

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# With several test processes, each has one core. Without this, their threads would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every run tries the same examples, however slow the machine is, and keeps nothing for the next one.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# A test run started in the background inherits an ignored SIGINT; some tests send one.
signal.signal(signal.SIGINT, signal.default_int_handler)

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# The longest tests. They start first, so that no test process is left with a long one at the end. Those that
# fork processes are next to each other, to run in one test process, because they share the process that they
# are forked from.
_FIRST = (
    "test_kill.py",
    "test_launch.py",
    "test_claimed_folder.py",
    "test_trainer.py",
    "test_shared_training.py",
    "test_scripts.py",
    "test_replay.py",
    "test_training_golden.py",
    "test_train_script.py",
    "test_package.py",
    "test_notebook.py",
    "test_initial_weights.py",
    "test_app_page.py",
)


@pytest.hookimpl(optionalhook=True)  # without the plugin, tests run in this process
def pytest_xdist_auto_num_workers() -> int:
    """Returns the number of test processes: one more than cores, as some tests wait for child processes."""
    return find_cores().usable + 1


def pytest_sessionstart() -> None:
    """Disables garbage collection during the imports, whose objects it would scan again and again."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Enables garbage collection again, without the imported objects: it then takes a tenth of the time."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Lets the objects of the imports be freed at the end; Triton 3.9 prints a list of those that are not."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first."""
    places = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(_FIRST)))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Chromium, driven by Playwright.

    Without a browser the test is skipped; with ``AOT_PLUS_BROWSER=required`` in the environment it fails.
    """
    sync_api = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        message = f"no browser: none of {', '.join(_BROWSERS)} is installed"
        if os.environ.get("AOT_PLUS_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=_BROWSER_FLAGS)
        yield started
        started.close()


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The metric's golden data, unpacked: ``VOST``, ``predictions`` and the published code's files."""
    with zipfile.ZipFile(Path(__file__).parent / "golden" / "metrics.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def short_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniVOST with one val sequence of 21 frames; not to be written to."""
    import numpy as np

    from aot_plus.dataloaders.mini_vost import RenderedSequence, plan_scene, render_frame, writer

    def render_start(seed: int, split: str, index: int) -> RenderedSequence:
        scene = plan_scene(seed, split, index)
        images, masks = zip(*(render_frame(scene, number) for number in range(21)), strict=True)
        return RenderedSequence(scene.name, np.stack(images), np.stack(masks), scene.num_objects)

    root = tmp_path_factory.mktemp("data") / "MiniVOST"
    with patch.object(writer, "render_sequence", render_start):
        writer.make_dataset(root, seed=0, train=0, val=1)
    return root


@pytest.fixture
def forked_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ``launch`` fork its processes from one that has imported torch, as ``tests.forked`` does."""
    from torch.distributed.launcher import api

    from tests import forked

    forked.context()
    forking = partial(api.LaunchConfig, start_method="forkserver")
    monkeypatch.setattr(api, "LaunchConfig", forking)
