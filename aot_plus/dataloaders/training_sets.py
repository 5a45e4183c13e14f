"""Finds the videos of training datasets."""

import logging
from collections.abc import Sequence

from aot_plus.configs import Config
from aot_plus.dataloaders.eval_datasets import open_dataset
from aot_plus.dataloaders.layouts import YouTubeVOS
from aot_plus.dataloaders.mini_vost_clips import DrawnVideo
from aot_plus.dataloaders.video_clips import FolderVideo, Video
from evaluation.datasets import DATASET_FOLDERS
from evaluation.home import home

__all__ = ["training_videos"]

_log = logging.getLogger(__name__)
_SPLIT = "train"


def training_videos(name: str, cfg: Config) -> Sequence[Video]:
    """Finds the videos of a dataset's split ``train``; those of ``mini_vost`` are drawn when needed.

    ``name``: as in ``open_dataset``. Raises ``DataError`` if data is missing, and says where to get it.
    """
    if name == "mini_vost":
        return _mini_vost(cfg)
    layout = "" if name in DATASET_FOLDERS else cfg.DATA_LAYOUT
    dataset = open_dataset(name, home() / cfg.DIR_DATA, split=_SPLIT, layout=layout, key="DATA_LAYOUT")
    dataset.require()
    if dataset.images != dataset.frames:
        _log.info("%s: %s has no training sequence, so %s is read", name, dataset.frames, dataset.images)
    if isinstance(dataset, YouTubeVOS):
        return _youtube_vos(dataset)
    return [FolderVideo(dataset, sequence) for sequence in dataset.sequences()]


def _mini_vost(cfg: Config) -> list[Video]:
    """Lists the sequences, the wide ones spread evenly among the others."""
    share = cfg.DATA_MINI_VOST_WIDE
    return [
        DrawnVideo(cfg.DATA_MINI_VOST_SEED, index, wide=int((index + 1) * share) > int(index * share))
        for index in range(cfg.DATA_MINI_VOST_SEQUENCES)
    ]


def _youtube_vos(dataset: YouTubeVOS) -> list[Video]:
    """Lists the videos, with the frames of objects that appear in at least two; others teach nothing."""
    videos: list[Video] = []
    for name in sorted(dataset.videos):
        frames = dataset.frames_of_objects(name)
        used = frozenset(frame for named in frames if len(named) > 1 for frame in named)
        if used:
            videos.append(FolderVideo(dataset, name, used))
    return videos
