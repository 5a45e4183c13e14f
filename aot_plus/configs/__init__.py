"""Values only: a stage (this folder) or a model (``models``) is one class a file, its values in capitals."""

from aot_plus.configs.default import DefaultStage
from aot_plus.configs.models.default import DefaultModel

__all__ = ["Config", "DefaultModel", "DefaultStage"]


class Config(DefaultStage, DefaultModel):
    """A stage and a model together: every name there is. ``aot_plus.utils.config.get_config`` makes one."""
