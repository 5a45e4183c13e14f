"""Loads the model in use, and keeps it for the next run."""

import logging
import threading

from aot_plus.app.settings import Settings
from aot_plus.networks.models import AOT
from aot_plus.networks.models.loading import load_from_config
from aot_plus.utils.errors import CheckpointError
from evaluation.digests import digest_file
from evaluation.files import require_regular

__all__ = ["Models"]

_log = logging.getLogger(__name__)


class Models:
    """Caches the last model that was loaded."""

    def __init__(self, device: str) -> None:
        """``device``: ``TEST_DEVICE``."""
        self.device = device
        self._lock = threading.Lock()
        self._loaded: tuple[Settings, str, AOT] | None = None

    @staticmethod
    def weights(settings: Settings) -> str:
        """Returns the SHA-256 of the checkpoint, whose file may have been replaced.

        Raises ``CheckpointError`` or ``DataError``.
        """
        path = settings.checkpoint_path()
        require_regular(path)
        try:
            return digest_file(path)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error

    def load(self, settings: Settings, weights: str) -> AOT:
        """Returns the model for the settings. Raises ``ConfigError`` or ``CheckpointError``.

        ``weights``: the checkpoint's current digest.
        """
        with self._lock:
            if self._loaded is None or self._loaded[:2] != (settings, weights):
                self._loaded = None  # its model is freed before the next one is loaded
                checkpoint = settings.checkpoint_path()
                _log.info("loading %s from %s", settings.model, checkpoint)
                model = load_from_config(settings.config(self.device), checkpoint)
                self._loaded = settings, weights, model
            return self._loaded[2]
