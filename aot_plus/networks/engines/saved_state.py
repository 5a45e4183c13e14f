"""Converts a video's state to plain values and back, so that it can be paused and resumed elsewhere."""

import copy
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.engines.frame_scores import ShownFrame
from aot_plus.networks.engines.inference import GroupBatch, InferenceEngine, VideoState
from aot_plus.networks.engines.inputs import format_shape
from aot_plus.networks.engines.views import VideoViews
from aot_plus.networks.memory.policies import policy_errors
from aot_plus.networks.models import AOT
from aot_plus.networks.models.aot import STRIDE
from aot_plus.utils.errors import ConfigError, DataError

__all__ = ["restored_batches", "restored_video", "saved_config", "saved_video"]

# The config values that labels depend on, besides those whose names begin with MODEL_ or MEM_.
_DECIDING = (
    *("FORMER_MEM_LEN", "LATTER_MEM_LEN"),
    *("USE_TEMPORAL_POSITIONAL_EMBEDDING", "TEMPORAL_POSITIONAL_EMBEDDING_SLOT_4"),
    *("TEST_MAX_SHORT_EDGE", "TEST_MULTISCALE_MAX_SHORT_EDGE"),
    *("TEST_MAX_LONG_EDGE", "TEST_MULTISCALE", "TEST_FLIP", "TEST_DTYPE"),
)


def saved_config(cfg: Config) -> dict[str, Any]:
    """Returns the config values that labels depend on, by name."""
    names = [name for name in dir(cfg) if name.startswith(("MODEL_", "MEM_"))]
    return {name: getattr(cfg, name) for name in [*names, *_DECIDING]}


def saved_video(ids: Sequence[int], video: VideoViews, last: ShownFrame) -> dict[str, Any]:
    """Copies a video to plain values and tensors. ``ids``: the objects'; ``last``: its last frame.

    Raises ``ConfigError`` if a user's own policy cannot be copied.
    """
    return {
        "config": saved_config(video.cfg),
        "ids": list(ids),
        "size": list(video.size),
        "inputs": [list(size) for size in video.inputs],
        "state": {**vars(video.state), "removed": sorted(video.state.removed)},
        "views": [_saved_batches(view.engine) for view in video.views],
        "last": _saved_frame(last),
    }


def restored_video(
    saved: dict[str, Any], model: AOT, cfg: Config
) -> tuple[list[int], VideoViews, ShownFrame]:
    """Restores what ``saved_video`` copied.

    Raises ``ConfigError`` for another config, ``DataError`` for ids or sizes that do not fit, and any error
    for what is not a saved video.
    """
    _check_config(saved["config"], cfg)
    size = (int(saved["size"][0]), int(saved["size"][1]))
    inputs = [(int(height), int(width)) for height, width in saved["inputs"]]
    video = VideoViews(model, cfg, size, inputs)
    video.state = VideoState(**{**saved["state"], "removed": set(saved["state"]["removed"])})
    for view, batches in zip(video.views, saved["views"], strict=True):
        view.engine.batches = restored_batches(batches, view.engine, video.device)
    last = _restored_frame(saved["last"], video)
    ids = _checked_ids(saved["ids"], video)
    _check_sizes(video, last)
    return ids, video, last


def _check_config(values: Mapping[str, Any], cfg: Config) -> None:
    """Raises ``ConfigError`` if ``cfg`` has other values than those that ``saved_config`` returned."""
    for name, found in saved_config(cfg).items():
        if values[name] != found:
            raise ConfigError(
                f"{name}: the video was saved with {values[name]!r}, this segmenter has {found!r}"
            )


def _saved_batches(engine: InferenceEngine) -> list[dict[str, Any]]:
    """Copies the memories of a view. Raises ``ConfigError`` if a user's own policy cannot be copied."""
    with policy_errors(engine.cfg.MEM_POLICY):
        policies = [[policy.state_dict() for policy in batch.policies] for batch in engine.batches]
    return [
        {"groups": list(batch.groups), "memory": batch.memory.state_dict(), "policies": own}
        for batch, own in zip(engine.batches, policies, strict=True)
    ]


def restored_batches(
    saved: Sequence[Mapping[str, Any]], engine: InferenceEngine, device: torch.device
) -> list[GroupBatch]:
    """Restores the memories of a view that ``saved_video`` copied, with their tensors on ``device``."""
    batches = []
    for own in _moved(saved, device):
        batch = engine.new_batch(list(own["groups"]))
        batch.memory.load_state_dict(own["memory"])
        for policy, kept in zip(batch.policies, own["policies"], strict=True):
            policy.load_state_dict(kept)
        batches.append(batch)
    return batches


def _checked_ids(ids: Sequence[Any], video: VideoViews) -> list[int]:
    """Returns the ids of a restored video's objects. Raises ``DataError`` unless each has a different id."""
    valid = all(type(value) is int and 1 <= value <= 255 for value in ids)
    if not ids or not valid or len(ids) != video.state.num_objects or len(set(ids)) != len(ids):
        expected = f"a different number from 1 to 255 for each of {video.state.num_objects} objects"
        raise DataError(f"the state's ids: expected {expected}, found {ids!r:.100}")
    return list(ids)


def _check_sizes(video: VideoViews, last: ShownFrame) -> None:
    """Raises ``DataError`` if the sizes of a restored video do not fit its memories or its last mask.

    Labels may have another size than images, so the video's size and its views' sizes need not match.
    """
    if min(video.size) < 1 or (last.mask is not None and last.mask.shape != video.size):
        expected = "1 x 1 or more" if last.mask is None else format_shape(last.mask.shape)
        raise DataError(f"the state's size: expected {expected}, found {format_shape(video.size)}")
    for view in video.views:
        stored = view.engine.batches[0].memory.bank.layer(0).keys.shape[2]
        if stored != prod(-(-side // STRIDE) for side in view.size):
            raise DataError(
                f"the state's inputs: expected a size of {stored} cells of {STRIDE} x {STRIDE}, "
                f"as its memory has, found {format_shape(view.size)}"
            )


def _saved_frame(frame: ShownFrame) -> dict[str, Any]:
    """Copies what the probabilities of the last frame are computed from."""
    scores = None
    if frame.scores is not None:
        logits = [own.clone() for own in frame.scores.logits]
        scores = {"logits": logits, "num_objects": frame.scores.num_objects}
    mask = None if frame.mask is None else frame.mask.clone()
    return {"followed": list(frame.followed), "scores": scores, "mask": mask}


def _restored_frame(state: Mapping[str, Any], video: VideoViews) -> ShownFrame:
    """Restores the last frame of a restored video."""
    state = _moved(state, video.device)
    own = state["scores"]
    scores = None if own is None else video.scores(own["logits"], own["num_objects"])
    return ShownFrame(scores, state["mask"], tuple(state["followed"]))


def _moved(value: Any, device: torch.device) -> Any:
    """Moves every tensor in nested lists, tuples and dictionaries, whose types are kept, to the device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        changed = copy.copy(value)  # a policy may rely on a Counter or an OrderedDict
        for key, item in value.items():
            changed[key] = _moved(item, device)
        return changed
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    return value
