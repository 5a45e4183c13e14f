"""The commands. Each of the ways to start one imports this first, before what takes seconds."""

from pathlib import Path

from evaluation.signals import end_quietly_until_work

end_quietly_until_work(Path(__file__).resolve().parents[1])
