"""What several test files need."""

import signal
import zipfile
from pathlib import Path

import pytest

# A suite that was started in the background inherits that Ctrl-C is ignored; some tests send one.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """The metric's golden data, unpacked: ``VOST``, ``predictions`` and the published code's files."""
    with zipfile.ZipFile(Path(__file__).parent / "golden" / "metrics.zip") as archive:
        archive.extractall(tmp_path)
    return tmp_path
