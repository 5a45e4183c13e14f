"""Builds ready-to-use models from a name and a checkpoint."""

import copy
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from aot_plus.configs import Config
from aot_plus.networks.encoders import encoder_of
from aot_plus.networks.layers.processor import convolution_format
from aot_plus.networks.models import AOT, build_model
from aot_plus.networks.models.checkpoint import inspect_checkpoint, load_tensors
from aot_plus.networks.models.checkpoint_file import read_checkpoint
from aot_plus.networks.models.number_format import check_encoder, use_number_format
from aot_plus.networks.models.prepare import compile_parts, prepare_for_inference
from aot_plus.utils.catalogue import find_named_checkpoint
from aot_plus.utils.config import get_config
from aot_plus.utils.device import resolve_device
from aot_plus.utils.errors import CheckpointError

_log = logging.getLogger(__name__)

_ENCODER = "encoder."  # prefix of its tensors' names in a model


def load_model(
    model: str,
    checkpoint: str | Path | None,
    *,
    stage: str = "pre_vost_2",
    device: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> AOT:
    """Builds a model by name and loads a checkpoint into it, ready for ``VideoSegmenter``.

    Args:
        model: a config in ``aot_plus/configs/models``, such as ``r50_aotl``.
        checkpoint: a ``.pth`` or ``.safetensors`` file, or the name of a file in ``DIR_PRETRAIN`` or among
            those shipped with the project. None leaves the weights random.
        stage: a config in ``aot_plus/configs``.
        device: ``cpu``, ``cuda``, ...; by default the config's ``TEST_DEVICE``.
        overrides: config values by name.

    Returns:
        The model, prepared for inference (see ``prepare_for_inference``) and converted to ``TEST_DTYPE``, so
        its state dict differs from the checkpoint's. Its ``cfg`` is the config, adapted to the checkpoint.

    Raises:
        ConfigError: an unknown stage, model, name or device, or a ``TEST_COMPILE`` or ``TEST_DTYPE`` that
            does not work here.
        CheckpointError: the file is missing, damaged, or belongs to another model.
    """
    cfg = get_config(stage, model, overrides=overrides)
    if checkpoint is not None and not os.path.exists(checkpoint):
        checkpoint = find_named_checkpoint(str(checkpoint), cfg.DIR_PRETRAIN) or checkpoint
    return load_from_config(cfg, checkpoint, device=device)


def load_from_config(cfg: Config, checkpoint: str | Path | None, *, device: str | None = None) -> AOT:
    """Works like ``load_model``, from a config. The model's ``cfg`` is a copy, adapted to the checkpoint."""
    cfg = copy.copy(cfg)
    target = resolve_device(cfg.TEST_DEVICE if device is None else device)
    tensors, trained_as = (None, "") if checkpoint is None else read_checkpoint(checkpoint)
    if tensors is not None:
        _check_network(cfg, str(checkpoint), trained_as)
        _adapt_to_file(cfg, str(checkpoint), tensors)
    network = build_model(cfg)
    if tensors is not None:
        _load(network, tensors, str(checkpoint))
    prepare_for_inference(network, convolution_format(target, cfg.TEST_DTYPE, cfg.TEST_TF32))
    use_number_format(network, cfg.TEST_DTYPE)
    network.to(target)
    if cfg.TEST_DTYPE != "float32":
        check_encoder(network)
    if cfg.TEST_COMPILE:
        compile_parts(network)
    return network


def _check_network(cfg: Config, path: str, trained_as: str) -> None:
    """Raises ``CheckpointError`` if a user's own network was trained, but one of the project's would be used.

    It would ignore the additional tensors. A user's own may be another, such as the same one in a new place.
    """
    if ":" in trained_as and ":" not in cfg.MODEL_VOS:
        raise CheckpointError(
            f"{path}: expected weights of the network {cfg.MODEL_VOS} (MODEL_VOS), found those of "
            f"{trained_as}: give MODEL_VOS={trained_as}"
        )


def _load(network: AOT, tensors: Mapping[str, Tensor], path: str) -> None:
    """Loads the file's tensors. If they do not fit because of the encoder, the error says so."""
    try:
        load_tensors(network, tensors, path, strict=True)
    except CheckpointError as error:
        own, found = network.cfg.MODEL_ENCODER, encoder_in(tensors, network.cfg)
        names = sorted(name for name in tensors if name.startswith(_ENCODER))
        if found is None and names and network.state_dict().keys().isdisjoint(names):
            found = f"another one, with {names[0]}"  # timm's, or the user's
        if found in (None, own):
            raise
        raise CheckpointError(
            f"{path}: expected the encoder {own} of {network.cfg.MODEL_NAME}, found {found}: "
            "choose the --model of the file, or give MODEL_ENCODER"
        ) from error


def encoder_in(tensors: Mapping[str, Tensor], cfg: Config) -> str | None:
    """Returns the name of the project's encoder that a model's tensors contain; None for any other."""
    own = {
        name.removeprefix(_ENCODER): tensor for name, tensor in tensors.items() if name.startswith(_ENCODER)
    }
    return encoder_of(own, align_corners=cfg.MODEL_ALIGN_CORNERS)


DECIDED_BY_FILE = frozenset(
    {
        "MODEL_LINEAR_Q",
        "MODEL_VOS",
        "TEMPORAL_POSITIONAL_EMBEDDING_SLOT_4",
        "USE_TEMPORAL_POSITIONAL_EMBEDDING",
    }
)
"""The config values that a checkpoint may change."""


def _adapt_to_file(cfg: Config, path: str, tensors: Mapping[str, Tensor]) -> None:
    """Sets the ``DECIDED_BY_FILE`` values. A temporal embedding left at random values would do harm."""
    facts = inspect_checkpoint(tensors)
    either = cfg.MODEL_VOS in ("aot", "official_aot")
    if either and facts.aot_class not in (None, cfg.MODEL_VOS):
        _log.warning("%s was trained with MODEL_VOS = %s: running with that", path, facts.aot_class)
        cfg.MODEL_VOS = facts.aot_class
    if facts.has_temporal_embedding != cfg.USE_TEMPORAL_POSITIONAL_EMBEDDING:
        words = ("a", "with") if facts.has_temporal_embedding else ("no", "without")
        _log.warning("%s has %s temporal embedding: running %s it", path, *words)
        cfg.USE_TEMPORAL_POSITIONAL_EMBEDDING = facts.has_temporal_embedding
    if facts.temporal_slots is not None:
        cfg.TEMPORAL_POSITIONAL_EMBEDDING_SLOT_4 = facts.temporal_slots == 4
    if facts.linear_q is not None and facts.linear_q != cfg.MODEL_LINEAR_Q:
        _log.warning("%s was trained with MODEL_LINEAR_Q = %s: running with that", path, facts.linear_q)
        cfg.MODEL_LINEAR_Q = facts.linear_q
