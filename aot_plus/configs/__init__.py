"""Holds values only: each stage (this folder) and model (``models``) is one class, values in capitals."""

from aot_plus.configs.default import DefaultStage
from aot_plus.configs.models.default import DefaultModel

__all__ = ["Config", "DefaultModel", "DefaultStage"]


class Config(DefaultStage, DefaultModel):
    """Joins a stage and a model: every name there is. ``aot_plus.utils.config.get_config`` makes one."""
