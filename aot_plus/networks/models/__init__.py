"""Builds the networks from a config."""

from aot_plus.configs import Config
from aot_plus.networks.models.aot import AOT, Features, Propagation, input_size
from aot_plus.networks.models.deaot import DeAOT
from aot_plus.networks.models.official_aot import OfficialAOT
from aot_plus.utils.errors import ConfigError, nearest
from aot_plus.utils.own_classes import import_class, own_errors

__all__ = ["AOT", "DeAOT", "Features", "OfficialAOT", "Propagation", "build_model", "input_size"]

_MODELS: dict[str, type[AOT]] = {"aot": AOT, "official_aot": OfficialAOT, "deaot": DeAOT}


def build_model(cfg: Config) -> AOT:
    """Builds the network that ``cfg`` describes, with random weights.

    Raises:
        ConfigError: for an unknown ``MODEL_VOS`` or ``MODEL_ENCODER``, or a user's own that cannot be built.
    """
    name = cfg.MODEL_VOS
    if name in _MODELS:
        return _MODELS[name](cfg)
    if ":" not in name:
        known = f"{', '.join(_MODELS)} or package.module:ClassName"
        raise ConfigError(f"MODEL_VOS: expected one of {known}, found {name!r}{nearest(name, _MODELS)}")
    own = import_class(name, "MODEL_VOS")
    if not issubclass(own, AOT):
        raise ConfigError(f"MODEL_VOS: expected a subclass of {AOT.__module__}.AOT, found {own!r}")
    with own_errors("MODEL_VOS", name):
        return own(cfg)
