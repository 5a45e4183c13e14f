"""The errors a user can cause. A tool's ``main`` turns them into one message and exit code 1."""


class AOTPlusError(Exception):
    """Base class: the message names the file, the key, what was expected and what was found."""


class ConfigError(AOTPlusError):
    """An unknown stage, model, policy or name, or a value of the wrong type."""


class DataError(AOTPlusError):
    """A dataset, image or mask that cannot be used as it is."""


class CheckpointError(AOTPlusError):
    """A checkpoint that is missing, damaged, or does not belong to the model."""
