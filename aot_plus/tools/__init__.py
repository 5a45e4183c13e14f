"""Holds the commands. Every way to start one imports this first, before the imports that take seconds."""

from pathlib import Path

from evaluation.signals import end_quietly_until_work

end_quietly_until_work(Path(__file__).resolve().parents[1])
