"""Frames on their way to the device: pixels as read, resized as published, normalised on the device."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aot_plus.networks.engines.prepared import PixelNormaliser, prepare_frame
from aot_plus.utils.images import MEAN, STD, normalise

SIZE = (33, 49)


def _image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_device_normalises_as_training_data_are() -> None:
    """Both formulas are equivalent; that on the device rounds twice, so the last digit may differ."""
    image = _image(*SIZE)
    pixels = PixelNormaliser(torch.device("cpu"))(torch.from_numpy(image))
    assert pixels.shape == (1, 3, *SIZE)
    assert pixels.dtype == torch.float32
    np.testing.assert_allclose(pixels[0].numpy(), normalise(image), rtol=0, atol=1e-6)


def test_an_image_of_the_networks_size_travels_as_bytes() -> None:
    frame = prepare_frame(_image(*SIZE), [SIZE], pinned=False)
    assert frame.size == SIZE
    assert frame.inputs[0].dtype == torch.uint8
    np.testing.assert_array_equal(frame.inputs[0].numpy(), _image(*SIZE))


def test_a_prepared_frame_does_not_follow_the_users_array() -> None:
    image = _image(*SIZE)
    mirrored = image[:, ::-1]  # negative strides, which tensors do not support
    frame = prepare_frame(mirrored, [SIZE], pinned=False)
    expected = mirrored.copy()
    image[:] = 0
    np.testing.assert_array_equal(frame.inputs[0].numpy(), expected)


def test_resizing_neither_rounds_nor_clips() -> None:
    """The published numbers come from values that are not integers and may exceed 0 to 255."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 30:] = 255
    frame = prepare_frame(image, [SIZE, (65, 97)], pinned=False)
    for pixels, (height, width) in zip(frame.inputs, [SIZE, (65, 97)], strict=True):
        exact = cv2.resize(image.astype(np.float64), (width, height), interpolation=cv2.INTER_CUBIC)
        assert exact.min() < 0
        assert exact.max() > 255
        np.testing.assert_allclose(pixels.numpy(), exact, rtol=0, atol=1e-3)
        normalised = PixelNormaliser(torch.device("cpu"))(pixels)[0].numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(normalised, (exact / 255 - MEAN) / STD, rtol=0, atol=1e-5)
