"""Measures speed, memory and the memory policies; the project itself does not need it.

Each command has ``--help``, prints a table, and as its last line the figures as JSON:

- ``python -m benchmarks.inference``: a frame, growth over long videos, number formats, a whole evaluation.
- ``python -m benchmarks.training``: a training step.
- ``python -m benchmarks.clips``: the rate at which training clips are made.
- ``python -m benchmarks.metric``: the metric, compared to decoding alone.
- ``python -m benchmarks``: all measurements for ``docs/performance.md``, into ``results/benchmarks``.
- ``python -m benchmarks.policies``: the memory policies on MiniVOST.
- ``python -m benchmarks.other_videos``: models on videos unlike MiniVOST.
"""
