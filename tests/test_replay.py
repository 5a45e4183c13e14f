"""Whole videos against the published implementation's numbers, within the golden files' tolerances."""

from pathlib import Path

import pytest

from tests.replay import main, replay

GOLDEN = Path(__file__).parent / "golden"
VIDEOS = sorted((GOLDEN / "video").glob("*.npz"))
OFFICIAL = sorted((GOLDEN / "official").glob("*.npz"))


def test_all_golden_videos_are_here() -> None:
    assert (len(VIDEOS), len(OFFICIAL)) == (13, 7)


@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: path.stem)
def test_video_equals_the_published_one(path: Path) -> None:
    found = replay(path)
    if found.teacher_forced:
        assert found.largest_logit_difference < 1e-4
        assert found.largest_average_difference < 1e-5
    assert found.label_agreement > (0.999 if found.teacher_forced else 0.99)
    assert found.banks_equal


@pytest.mark.parametrize("path", OFFICIAL, ids=lambda path: path.stem)
def test_official_network_equals_the_published_one(path: Path) -> None:
    found = replay(path)
    assert found.largest_logit_difference < (5e-3 if "20_objects" in path.stem else 1e-4)
    assert found.largest_attention_difference < 1e-4
    assert found.label_agreement > 0.999
    assert found.banks_equal


def test_a_foreign_file_is_named_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign.npz"
    foreign.write_bytes(b"not a golden video")
    assert main([str(foreign)]) == 1
    assert "foreign.npz" in capsys.readouterr().err
