"""JPEG files decoded and resized on the device, here a CPU: the pixels are close to those of the default."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision

from aot_plus.networks.engines.device_images import prepare_on_device
from aot_plus.utils.errors import ConfigError, DataError
from tests.test_segmenter import HEIGHT, WIDTH, _segmenter, _squares, _video

CPU = torch.device("cpu")


def _saved(path: Path, **options: object) -> Path:
    PIL.Image.fromarray(np.ascontiguousarray(_video(50)[0])).save(path, quality=95, **options)
    return path


def test_pixels_are_near_pillows_and_opencvs(tmp_path: Path) -> None:
    path = _saved(tmp_path / "frame.jpg")
    plain = _segmenter(TEST_MULTISCALE=(1.0, 1.5))
    device = _segmenter(TEST_MULTISCALE=(1.0, 1.5), TEST_GPU_IMAGES=True)
    expected, found = plain.prepare(path), device.prepare(path)
    assert found.size == expected.size == (HEIGHT, WIDTH)
    for mine, other in zip(found.inputs, expected.inputs, strict=True):
        assert mine.shape == other.shape
        assert (mine.float() - other.float()).abs().mean() < 1
    device.start(found, _squares([1, 2]))
    assert device.step(path).shape == (HEIGHT, WIDTH)


def test_at_the_networks_size_the_bytes_stay(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((65, 81, 3), 99, np.uint8)).save(tmp_path / "frame.jpg")
    (pixels,) = _segmenter(TEST_GPU_IMAGES=True).prepare(tmp_path / "frame.jpg").inputs
    assert pixels.dtype == torch.uint8
    assert (pixels == 99).all()


def test_other_files_are_read_as_they_are_by_default(tmp_path: Path) -> None:
    """These are PNG files and images that EXIF rotates; an unreadable file raises an error of the project."""
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    png, upside = _saved(tmp_path / "frame.png"), _saved(tmp_path / "turned.jpg", exif=turned)
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(_saved(tmp_path / "frame.jpg").read_bytes()[:200])
    for path in (png, upside, damaged, tmp_path / "missing.jpg"):
        assert prepare_on_device(path, CPU, lambda pixels: [(65, 81)]) is None
    segmenter = _segmenter(TEST_GPU_IMAGES=True)
    assert segmenter.prepare(upside).size == (WIDTH, HEIGHT)
    with pytest.raises(DataError, match="damaged"):
        segmenter.prepare(damaged)


@pytest.mark.parametrize("missing", [True, False])
def test_a_torchvision_that_cannot_decode_is_an_error(missing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every file would be read as by default, and nobody would know."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("not compiled with nvJPEG")

    if missing:
        monkeypatch.delattr(torchvision.io, "decode_jpeg")
    else:
        monkeypatch.setattr(torchvision.io, "decode_jpeg", refuse)
    with pytest.raises(ConfigError, match=r"TEST_GPU_IMAGES: .*torchvision.* cpu .*(decode_jpeg|nvJPEG)"):
        _segmenter(TEST_GPU_IMAGES=True)
    _segmenter()
