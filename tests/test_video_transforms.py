"""The augmentation of training clips: geometry shared by frames and labels, crops, normalisation."""

import cv2
import numpy as np

from aot_plus.dataloaders.clips import RawClip
from aot_plus.dataloaders.photometric import colours_of_videos
from aot_plus.dataloaders.video_transforms import PADDING_COLOUR, ClipTransform, Geometry
from aot_plus.utils.images import normalise, restore
from tests.train_videos import HEIGHT, ID_STEP, WIDTH, local_range, picture, raw_clip, rectangles


def test_frames_and_labels_share_their_geometry() -> None:
    mask = rectangles((1, 10, 10, 50, 60), (2, 40, 70, 90, 120))
    clip = RawClip([picture(mask, index) for index in range(4)], [mask, None, mask, mask], ["squares"])
    transform = ClipTransform(crop=(65, 65), short_side=90)
    for seed in range(20):
        result = transform.apply(clip, np.random.default_rng(seed))
        cut, reference = result.images, result.reference
        assert result.labels[1] is None
        assert all(image.shape == (65, 65, 3) for image in cut)
        np.testing.assert_array_equal(reference, result.labels[2])
        np.testing.assert_array_equal(cut[0][..., 0], cut[3][..., 0])
        assert (reference > 0).any()
        # Away from edges, where interpolation mixes colours, the image must match its label.
        smooth = cv2.erode((local_range(reference) == 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        inside = smooth & (cut[0][..., 1] != PADDING_COLOUR[1])
        np.testing.assert_allclose(cut[0][..., 0][inside] / ID_STEP, reference[inside], atol=0.2)
        assert not reference[cut[0][..., 1] == PADDING_COLOUR[1]].any()


def test_scale_range_flip_and_padding() -> None:
    transform = ClipTransform(crop=(65, 65), short_side=64)
    mask = rectangles((1, 10, 10, 80, 60))
    drawings = [transform.draw(mask, np.random.default_rng(seed)) for seed in range(200)]
    heights = [drawing.scaled[0] for drawing in drawings]
    assert min(heights) in range(44, 48)
    assert max(heights) in range(80, 84)
    assert all(abs(d.scaled[1] / d.scaled[0] - WIDTH / HEIGHT) < 0.03 for d in drawings)
    assert 70 < sum(drawing.flip for drawing in drawings) < 130
    portrait = [transform.draw(mask.T, np.random.default_rng(seed)).scaled for seed in range(200)]
    assert portrait == [drawing.scaled[::-1] for drawing in drawings]  # the shorter side counts
    plain = Geometry((96, 128), (-10, 100), (130, 40), flip=False)
    image, label = plain.padded(plain.view(picture(mask, 5))), plain.label(mask + 1)
    assert (image[:10] == PADDING_COLOUR).all()
    assert (image[10:106, :28, 2] == 5).all()
    assert (image[:, 28:] == PADDING_COLOUR).all()
    assert (label > 0).sum() == 96 * 28
    wide = rectangles((1, 10, 10, 80, 110))  # scaled by 1; the crop shows only its right end
    np.testing.assert_array_equal(plain.label(wide)[10:106, :28], wide[:, 100:])
    mirrored = Geometry((96, 128), (-10, 100), (130, 40), flip=True)
    turned = mirrored.padded(mirrored.view(picture(mask, 5)))
    np.testing.assert_array_equal(turned, image[:, ::-1])
    np.testing.assert_array_equal(mirrored.label(mask + 1), label[:, ::-1])


def test_colours_change_in_the_frame_alone_and_not_in_the_padding_around_it() -> None:
    mask = rectangles((1, 20, 20, 60, 60))
    clip = raw_clip(*[mask] * 6, shade=90)
    transform = ClipTransform((129, 129), 96, 0.9, 0.9, colours=colours_of_videos("v2"))
    for seed in range(4):
        geometry = transform.draw(mask, np.random.default_rng(seed))
        inside = geometry.padded(np.zeros_like(geometry.view(clip.images[0]))).any(axis=-1) == 0
        assert 0 < inside.sum() < inside.size
        frames = transform.apply(clip, np.random.default_rng(seed)).images
        assert all((frame[~inside] == PADDING_COLOUR).all() for frame in frames)
        shades = [frame[inside].astype(int) for frame in frames]
        assert len({int(shade.sum()) for shade in shades}) > 2
        # A frame of one colour stays so: the padding does not leak in.
        assert all((np.ptp(shade, axis=0) == 0).all() for shade in shades)


def test_crops_keep_objects_in_view() -> None:
    transform = ClipTransform(crop=(33, 33), short_side=96, min_scale=1.0, max_scale=1.0)
    both = rectangles((1, 40, 40, 52, 52), (2, 40, 56, 52, 68))
    hidden = 0
    for seed in range(100):
        geometry = transform.draw(both, np.random.default_rng(seed))
        shown = set(np.unique(geometry.label(both)))
        assert shown & {1, 2}
        hidden += not shown >= {1, 2}
    assert hidden < 60  # a single random crop misses one of the objects in about 95 of 100 cases
    square = rectangles((1, 40, 40, 60, 60))
    views = [transform.draw(square, np.random.default_rng(seed)).label(square) for seed in range(100)]
    enough = sum(np.count_nonzero(view) >= 100 for view in views)
    assert enough > 95  # not just any part of it
    tiny = rectangles((4, 95, 127, 96, 128))
    for seed in range(50):
        geometry = transform.draw(tiny, np.random.default_rng(seed))
        assert (geometry.label(tiny) == 4).any()
        assert geometry.corner == (96 - 33, 128 - 33)  # in the corner of the frame, not beyond it


def test_normalised_values_are_those_of_float64_rounded_once_and_can_be_undone() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    expected = (frames / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    normalised = normalise(frames)
    np.testing.assert_array_equal(normalised, expected.astype(np.float32).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(restore(normalised), frames)
