"""Defines the errors that a user can cause. A tool's ``main`` turns them into one message and exit code 1."""


class VOSError(Exception):
    """Reports a user's error: the message names the file, the key, what was expected and what was found."""


class DataError(VOSError):
    """Reports a dataset, prediction, image, mask or result file that cannot be used as it is."""
