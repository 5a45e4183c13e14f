"""Holds the config values only: one class for each stage (this folder) and each model (``models``)."""

from aot_plus.configs.default import DefaultStage
from aot_plus.configs.models.default import DefaultModel

__all__ = ["Config", "DefaultModel", "DefaultStage"]


class Config(DefaultStage, DefaultModel):
    """Combines the values of a stage and a model; built by ``aot_plus.utils.config.get_config``."""
