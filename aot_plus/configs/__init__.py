"""Holds the config values only: one class for each stage (this folder) and each model (``models``)."""

from aot_plus.configs.default import DefaultStage
from aot_plus.configs.models.default import DefaultModel

__all__ = ["Config", "DefaultModel", "DefaultStage"]


class Config(DefaultStage, DefaultModel):
    """Has the names of a stage and of a model. ``aot_plus.utils.config.get_config`` builds one."""
