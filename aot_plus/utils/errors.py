"""Defines the errors that a user can cause; ``evaluation`` raises the first two as well."""

from evaluation.errors import DataError, VOSError

__all__ = ["CheckpointError", "ConfigError", "DataError", "VOSError"]


class ConfigError(VOSError):
    """Reports an unknown stage, model, policy or name, or a value of the wrong type."""


class CheckpointError(VOSError):
    """Reports a checkpoint that is missing, damaged, or does not belong to the model."""
