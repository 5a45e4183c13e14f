"""The model in use, loaded once."""

import logging
import threading

from aot_plus.app.settings import Settings
from aot_plus.networks.models import AOT
from aot_plus.networks.models.loading import load_from_config

__all__ = ["Models"]

_log = logging.getLogger(__name__)


class Models:
    """Keeps the last model that was asked for."""

    def __init__(self, device: str) -> None:
        """``device``: ``TEST_DEVICE``."""
        self.device = device
        self._lock = threading.Lock()
        self._settings: Settings | None = None
        self._model: AOT | None = None

    def load(self, settings: Settings) -> AOT:
        """Gives the model of settings. Raises ``ConfigError`` or ``CheckpointError``."""
        with self._lock:
            if self._model is None or settings != self._settings:
                self._model = None  # before the next one takes as much memory
                checkpoint = settings.checkpoint_path()
                _log.info("loading %s from %s", settings.model, checkpoint)
                self._model = load_from_config(settings.config(self.device), checkpoint)
                self._settings = settings
            return self._model
