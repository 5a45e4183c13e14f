"""Builds the networks from a config."""

from aot_plus.configs import Config
from aot_plus.networks.models.aot import AOT, Features, Propagation, input_size
from aot_plus.networks.models.deaot import DeAOT
from aot_plus.networks.models.official_aot import OfficialAOT
from aot_plus.utils.errors import ConfigError

__all__ = ["AOT", "DeAOT", "Features", "OfficialAOT", "Propagation", "build_model", "input_size"]

_MODELS: dict[str, type[AOT]] = {"aot": AOT, "official_aot": OfficialAOT, "deaot": DeAOT}


def build_model(cfg: Config) -> AOT:
    """Builds the network that ``cfg`` describes, with random weights.

    Raises:
        ConfigError: for an unknown ``MODEL_VOS`` or ``MODEL_ENCODER``.
    """
    if cfg.MODEL_VOS not in _MODELS:
        raise ConfigError(f"MODEL_VOS: expected one of {', '.join(_MODELS)}, found {cfg.MODEL_VOS!r}")
    return _MODELS[cfg.MODEL_VOS](cfg)
