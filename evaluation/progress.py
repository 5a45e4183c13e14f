"""Shows progress bars that Ctrl-C may interrupt at any moment."""

from tqdm import tqdm

__all__ = ["ProgressBar"]


class ProgressBar(tqdm):
    """Shows progress on stderr, with the arguments of ``tqdm``.

    Python closes a bar that was interrupted while it was being made. ``tqdm`` then prints a traceback about
    the place on the screen, which the bar does not have yet. Here each has one from the beginning.
    """

    pos = 0
