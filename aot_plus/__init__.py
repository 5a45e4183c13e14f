"""Provides semi-supervised video object segmentation with AOT+, DeAOT and the EMFS memory bank."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aot_plus.networks.engines.segmenter import VideoSegmenter
    from aot_plus.networks.models.loading import load_model
    from aot_plus.utils.config import get_config

__version__ = "0.2.0"

__all__ = ["VideoSegmenter", "get_config", "load_model"]

_MODULES = {
    "VideoSegmenter": "aot_plus.networks.engines.segmenter",
    "get_config": "aot_plus.utils.config",
    "load_model": "aot_plus.networks.models.loading",
}


def __getattr__(name: str) -> Any:
    """Imports a name on first use, so that building a config does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
