"""Holds the commands. Every way to start one imports this first, before the imports that take seconds."""

from pathlib import Path

from evaluation.signals import end_quietly_during_imports

end_quietly_during_imports(Path(__file__).resolve().parents[1])
