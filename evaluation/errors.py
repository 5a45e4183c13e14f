"""The error that the evaluation reports to its user."""


class EvaluationError(Exception):
    """A dataset, prediction or result file that cannot be used; the message names it and what is wrong."""
