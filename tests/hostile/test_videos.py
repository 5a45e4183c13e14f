"""Damaged video files give the readable frames, or an error message."""

import random
from contextlib import suppress
from pathlib import Path

import pytest

from aot_plus.dataloaders.frame_source import Selection
from aot_plus.dataloaders.video_file import VideoFile
from aot_plus.utils.errors import DataError
from tests.video_files import write_video

CASES = 25  # per format


def _damaged(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    size = draw.choice((1, 16, 500))
    kind = draw.choice(("cut", "zeros", "more", "bits", "head"))
    if kind == "cut":
        return content[:place]
    if kind == "zeros":
        return content[:place] + bytes(size) + content[place + size :]
    if kind == "more":
        return content[:place] + draw.randbytes(size) + content[place:]
    changed = bytearray(content)
    for _ in range(10):
        changed[draw.randrange(len(content) if kind == "bits" else 900)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _numbers(path: Path) -> list[int]:
    """Returns the numbers of the readable frames, up to the first ``DataError``."""
    numbers: list[int] = []
    with suppress(DataError), VideoFile(path) as video:
        numbers += [frame.number for frame in video.frames(Selection())]
        video.frame(len(video) - 1)
    return numbers


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_damaged_videos(name: str, tmp_path: Path) -> None:
    whole = write_video(tmp_path / name, "mpeg4", frames=12).read_bytes()
    draw = random.Random(name)
    found = []
    for case in range(CASES):
        path = tmp_path / f"{case}_{name}"
        path.write_bytes(_damaged(whole, draw))
        found.append(_numbers(path))
    assert all(numbers == sorted(set(numbers) & set(range(12))) for numbers in found)
    assert any(found)
