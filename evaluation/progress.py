"""Shows progress bars that Ctrl-C may interrupt at any moment."""

from tqdm import tqdm

__all__ = ["ProgressBar"]


class ProgressBar(tqdm):
    """Shows progress on stderr; takes the arguments of ``tqdm``.

    If Ctrl-C interrupts the constructor, Python still closes the bar, and ``tqdm`` prints a traceback because
    ``pos``, the bar's position on the screen, is not set yet. As a class attribute, it always is.
    """

    pos = 0
