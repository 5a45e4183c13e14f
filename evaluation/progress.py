"""Shows progress bars that Ctrl-C may interrupt at any moment."""

from tqdm import tqdm

__all__ = ["ProgressBar"]


class ProgressBar(tqdm):
    """Shows progress on stderr; takes the arguments of ``tqdm``.

    If Ctrl-C interrupts the constructor, Python still closes the bar, and ``tqdm`` prints a traceback because
    attributes are not set yet. Such a bar is not closed.
    """

    def __del__(self) -> None:
        if hasattr(self, "start_t"):  # set last
            super().__del__()
