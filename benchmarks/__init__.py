"""Measures speed, memory and the memory policies; none of it is needed to use the project.

Each command has ``--help``, prints a table, and as its last line the figures as JSON:

- ``python -m benchmarks.inference``: a frame, growth, number formats, a whole evaluation.
- ``python -m benchmarks.training``: a step of training.
- ``python -m benchmarks.metric``: the metric against decoding alone.
- ``python -m benchmarks.policies``: the memory policies on MiniVOST.
- ``python -m benchmarks``: those of the first three that ``docs/performance.md`` shows, into
  ``results/benchmarks``.
"""
