"""Draws and loads training samples: every random draw depends on (seed, step, sample) alone."""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from aot_plus.configs import Config
from aot_plus.dataloaders.clips import Clip, RawClip, collate, finish_clip, keep_objects, merge_clips
from aot_plus.dataloaders.photometric import colours_of_images, colours_of_videos
from aot_plus.dataloaders.static_images import StaticClips, StaticTransform
from aot_plus.dataloaders.static_layouts import STATIC_FOLDER, find_static_images
from aot_plus.dataloaders.training_sets import training_videos
from aot_plus.dataloaders.video_clips import ClipRules, ClipSource, JoinedClips, VideoClips
from aot_plus.dataloaders.video_transforms import ClipTransform
from aot_plus.utils.errors import ConfigError, DataError
from aot_plus.utils.paths import find_path
from evaluation.home import home
from evaluation.parallel import end_with_parent
from evaluation.vost import find_all

_log = logging.getLogger(__name__)
_EPOCH_STREAM = 3  # a random stream besides (run seed, step, sample); the learner uses two more
_SINGLE_DRAWS = 20  # items drawn at random for a clip before all are tried
_UNKNOWN, _READABLE, _UNREADABLE = 0, 1, 2


class Transform(Protocol):
    """Augments a clip."""

    def apply(self, clip: RawClip, rng: np.random.Generator) -> RawClip:
        """Returns the clip at the size of the network's input."""


class TrainDataset:
    """Draws random augmented training samples from a clip source.

    ``min_pixels``: an object with fewer pixels in the reference frame becomes background.
    ``merge_probability``: of pasting the objects of a second clip over the first; objects left with fewer
    than ``merge_min_pixels`` pixels are dropped. The second clip is from the same dataset; a clip without
    objects always gets one. ``skip_unreadable``: an item (a sequence, or a static image) with an unreadable
    file is logged and never used. To this end, all files of an item are read when it is first drawn: whether
    an item is used depends on its files alone, not on earlier samples, so a resumed run draws the same
    samples as an uninterrupted one.
    """

    def __init__(
        self,
        source: ClipSource,
        transform: Transform,
        *,
        max_objects: int,
        min_pixels: int = 1,
        merge_probability: float = 0.0,
        merge_min_pixels: int = 100,
        skip_unreadable: bool = False,
    ) -> None:
        if len(source) == 0:
            raise DataError("the training data holds no video and no image")
        self._source = source
        self._transform = transform
        self._max_objects = max_objects
        self._min_pixels = min_pixels
        self._merge_probability = merge_probability
        self._merge_min_pixels = merge_min_pixels
        self._known: torch.Tensor | None = None  # state of each item, if unreadable ones are skipped
        if skip_unreadable:
            self._known = torch.full((len(source),), _UNKNOWN, dtype=torch.uint8)
            self._known.share_memory_()  # between the workers of a loader

    @property
    def entries(self) -> Sequence[int]:
        """Lists the items that an epoch's samples begin with, before they are shuffled."""
        return self._source.entries

    def contents(self) -> dict[str, Any]:
        """Returns the number of items (``items``) and a SHA-256 of their list (``list``)."""
        keys = "\n".join(self._source.keys).encode(errors="surrogateescape")
        return {"items": len(self._source), "list": hashlib.sha256(keys).hexdigest()}

    def sample(self, rng: np.random.Generator, first: int | None = None) -> Clip:
        """Draws one sample, from item ``first`` if it yields a clip, else from a random item.

        Raises ``DataError`` for an unreadable file, or if no item yields a clip.
        """
        for index in _order(range(len(self._source)), rng, first):
            drawn = self._draw(index, rng)
            if drawn is None:
                continue
            clip, count = drawn
            if rng.random() < self._merge_probability or not count:
                clip, count = self._merged(index, clip, count, rng)
            if count:
                return finish_clip(clip, count)
        raise DataError(
            f"videos or images that give a training clip: expected 1 or more of {len(self._source)}, found "
            "none; videos may be shorter than a clip (DATA_SEQ_LEN), or objects too small "
            "(DATA_REF_MIN_OBJ_PIXELS, DATA_MIN_OBJ_PIXELS)"
        )

    def _merged(self, index: int, clip: RawClip, count: int, rng: np.random.Generator) -> tuple[RawClip, int]:
        """Pastes the objects of another item of the same dataset, if one yields a clip, over ``clip``.

        Returns the clip with ids 1..K, and K.
        """
        others = [other for other in self._source.related(index) if other != index]
        for other in _order(others, rng):
            drawn = self._draw(other, rng)
            if drawn is not None:
                return merge_clips(clip, drawn[0], self._max_objects, self._merge_min_pixels, rng)
        return clip, count

    def _draw(self, index: int, rng: np.random.Generator) -> tuple[RawClip, int] | None:
        """Draws an augmented clip from an item; None if the item yields none.

        Returns the clip with ids 1..K, and K, which may be 0.
        """
        raw = self._source.draw(index, rng) if self._is_usable(index) else None
        if raw is None:
            return None
        transformed = self._transform.apply(raw, rng)
        return keep_objects(transformed, self._max_objects, rng, self._min_pixels)

    def _is_usable(self, index: int) -> bool:
        """Returns whether an item may be used. To skip unreadable ones, the first call reads all of it."""
        if self._known is None:
            return True
        if self._known[index] == _UNKNOWN:
            try:
                self._source.check(index)
                self._known[index] = _READABLE
            except DataError as error:
                self._known[index] = _UNREADABLE
                _log.warning("left out of the training: %s", error)
        return bool(self._known[index] == _READABLE)


def _order(candidates: Sequence[int], rng: np.random.Generator, first: int | None = None) -> Iterator[int]:
    """Yields the items to try for one clip: ``first``, if given, then random candidates.

    The first few are drawn independently, because one of them nearly always yields a clip. Then every
    candidate follows, in random order.
    """
    for _ in range(_SINGLE_DRAWS if candidates else 0):
        yield candidates[int(rng.integers(len(candidates)))] if first is None else first
        first = None
    yield from (candidates[place] for place in rng.permutation(len(candidates)))


class ClipStream(Dataset[Clip]):
    """Holds a run's samples in order: item ``step * total_batch + k`` is the k-th sample of a step's batch.

    Each is drawn with a generator seeded with (``run_seed``, step, k), whichever process or worker asks for
    it. Successive samples begin with successive entries of the data, which every epoch reshuffles.
    """

    def __init__(self, dataset: TrainDataset, run_seed: int, total_batch: int) -> None:
        self.dataset = dataset
        self._run_seed = run_seed
        self._total_batch = total_batch
        self._entries = dataset.entries
        self._shuffled: tuple[int, NDArray[np.int64]] | None = None  # an epoch and its order

    def __getitem__(self, item: int) -> Clip:
        step, sample = divmod(item, self._total_batch)
        rng = np.random.default_rng([self._run_seed, step, sample])
        return self.dataset.sample(rng, self._entry(item))

    def _entry(self, number: int) -> int:
        """Returns the item that sample ``number`` of the run begins with."""
        epoch, place = divmod(number, len(self._entries))
        if self._shuffled is None or self._shuffled[0] != epoch:
            rng = np.random.default_rng([self._run_seed, epoch, 0, _EPOCH_STREAM])
            self._shuffled = epoch, rng.permutation(len(self._entries))
        return self._entries[self._shuffled[1][place]]


def share_of_batch(cfg: Config, world_size: int) -> int:
    """Returns the number of clips that each process gets per step.

    Raises ``ConfigError`` if the batch cannot be divided evenly among processes and accumulation steps.
    """
    parts = world_size * cfg.TRAIN_ACCUMULATION_STEPS
    if cfg.TRAIN_BATCH_SIZE % parts:
        raise ConfigError(
            f"TRAIN_BATCH_SIZE: expected a multiple of {world_size} process(es) x TRAIN_ACCUMULATION_STEPS "
            f"({cfg.TRAIN_ACCUMULATION_STEPS}), found {cfg.TRAIN_BATCH_SIZE}"
        )
    return cfg.TRAIN_BATCH_SIZE // world_size


class StepSampler(Sampler[list[int]]):
    """Yields process ``rank``'s share of each step's batch, as items of ``ClipStream``: a contiguous part."""

    def __init__(self, cfg: Config, start_step: int, rank: int, world_size: int) -> None:
        self._total_batch = cfg.TRAIN_BATCH_SIZE
        self._steps = range(start_step, cfg.TRAIN_TOTAL_STEPS)
        share = share_of_batch(cfg, world_size)
        self._share = range(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield [step * self._total_batch + sample for sample in self._share]

    def __len__(self) -> int:
        return len(self._steps)


def crop_size(cfg: Config) -> tuple[int, int]:
    """Returns a crop's rows and columns: ``DATA_RANDOMCROP``, one less without align_corners (465 -> 464).

    Raises ``ConfigError`` if a side is neither 16k + 1 nor, without align_corners, 16k.
    """
    extra = 1 if cfg.MODEL_ALIGN_CORNERS else 0
    rows, columns = (side - 1 if side % 16 == 1 and not extra else side for side in cfg.DATA_RANDOMCROP)
    if rows % 16 != extra or columns % 16 != extra:
        expected = "16k + 1 (MODEL_ALIGN_CORNERS is True)" if extra else "16k or 16k + 1"
        raise ConfigError(f"DATA_RANDOMCROP: expected two sides of {expected}, found {cfg.DATA_RANDOMCROP}")
    return rows, columns


def build_train_dataset(cfg: Config) -> TrainDataset:
    """Opens the datasets in ``DATASETS``. Raises ``DataError`` or ``ConfigError`` if one cannot be used.

    These are either static images (``static``, or ``static:FOLDER`` for another folder) or videos: ``vost``,
    ``mini_vost``, ``davis2017``, ``youtubevos2019`` and folders in the layout ``DATA_LAYOUT``.
    """
    are_images = [name.partition(":")[0] == "static" for name in cfg.DATASETS]
    if any(are_images) and not all(are_images):
        raise ConfigError(f"DATASETS: static images and videos cannot be mixed, found {cfg.DATASETS}")
    source, transform = _images(cfg) if all(are_images) else _videos(cfg)
    return TrainDataset(
        source,
        transform,
        max_objects=cfg.MODEL_MAX_OBJ_NUM,
        min_pixels=cfg.DATA_MIN_OBJ_PIXELS,
        merge_probability=cfg.DATA_DYNAMIC_MERGE_PROB,
        merge_min_pixels=cfg.DATA_MERGE_MIN_OBJ_PIXELS,
        skip_unreadable=cfg.DATA_SKIP_UNREADABLE,
    )


def _images(cfg: Config) -> tuple[ClipSource, Transform]:
    found = find_all(lambda name: find_static_images(_image_folder(name, cfg)), cfg.DATASETS)
    parts = [StaticClips(images, cfg.DATA_SEQ_LEN) for images in found]
    return JoinedClips(parts), StaticTransform(crop_size(cfg), colours_of_images(cfg.TRAIN_AUG_TYPE))


def _image_folder(name: str, cfg: Config) -> Path:
    """Returns the folder of ``static`` or ``static:FOLDER``, which need not exist."""
    named = name.partition(":")[2]
    return (find_path(named) or Path(named)) if named else home() / cfg.DIR_DATA / STATIC_FOLDER


def _videos(cfg: Config) -> tuple[ClipSource, Transform]:
    found = find_all(lambda name: training_videos(name, cfg), cfg.DATASETS)
    parts = [
        VideoClips(videos, _clip_rules(name, cfg), cfg.DATA_DAVIS_REPEAT if name == "davis2017" else 1)
        for name, videos in zip(cfg.DATASETS, found, strict=True)
    ]
    return JoinedClips(parts), ClipTransform(
        crop=crop_size(cfg),
        short_side=cfg.DATA_SHORT_EDGE_LEN,
        min_scale=cfg.DATA_MIN_SCALE_FACTOR,
        max_scale=cfg.DATA_MAX_SCALE_FACTOR,
        flip_probability=cfg.DATA_RANDOMFLIP,
        crop_tries=cfg.DATA_MAX_CROP_STEPS,
        balanced=cfg.DATA_BALANCED_CROP,
        colours=colours_of_videos(cfg.TRAIN_AUG_TYPE),
    )


def _clip_rules(name: str, cfg: Config) -> ClipRules:
    gaps = {"davis2017": cfg.DATA_RANDOM_GAP_DAVIS, "youtubevos2019": cfg.DATA_RANDOM_GAP_YTB}
    return ClipRules(
        length=cfg.DATA_SEQ_LEN,
        max_gap=gaps.get(name, cfg.DATA_RANDOM_GAP_VOST),
        turns_back=cfg.DATA_TURN_BACK,
        reverse_probability=0.5 if cfg.DATA_RANDOM_REVERSE_SEQ else 0.0,
        min_object_pixels=cfg.DATA_REF_MIN_OBJ_PIXELS,
        max_ignored=cfg.DATA_REF_MAX_IGNORED_RATIO,
        reference_tries=cfg.DATA_REF_TRIES,
        consistent_tries=cfg.DATA_CONSISTENT_TRIES,
    )


def build_train_loader(
    cfg: Config, start_step: int = 0, rank: int = 0, world_size: int = 1
) -> DataLoader[Clip]:
    """Builds the loader of this process's batches for steps ``start_step``..``TRAIN_TOTAL_STEPS - 1``.

    It yields one ``Batch`` of ``TRAIN_BATCH_SIZE / world_size`` clips per step. The batches of all processes,
    concatenated in the order of their ranks, do not depend on the number of processes or workers.
    """
    return DataLoader(
        ClipStream(build_train_dataset(cfg), cfg.TRAIN_SEED, cfg.TRAIN_BATCH_SIZE),
        batch_sampler=StepSampler(cfg, start_step, rank, world_size),
        collate_fn=collate,
        num_workers=cfg.DATA_WORKERS,
        worker_init_fn=_prepare_worker,
        pin_memory=cfg.TRAIN_DEVICE != "cpu" and torch.cuda.is_available(),
    )


def _prepare_worker(worker: int) -> None:
    """Limits OpenCV to one thread, as the workers share the cores, and leaves the process group.

    Ctrl-C, and torchrun's SIGTERM, reach whole process groups but must not end the workers: the training
    process first finishes its step and saves. So workers leave its group, and end when it ends.
    """
    cv2.setNumThreads(0)
    os.setpgrp()
    end_with_parent()
