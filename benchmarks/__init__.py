"""Measures speed, memory and the memory policies; none of it is needed to use the project.

Each command has ``--help``, prints a table, and as its last line the figures as JSON:

- ``python -m benchmarks.inference``: a frame, growth, number formats, a whole evaluation.
- ``python -m benchmarks.training``: a step of training.
- ``python -m benchmarks.clips``: the clips that a training reads.
- ``python -m benchmarks.metric``: the metric against decoding alone.
- ``python -m benchmarks``: what ``docs/performance.md`` shows of these, into ``results/benchmarks``.
- ``python -m benchmarks.policies``: the memory policies on MiniVOST.
- ``python -m benchmarks.other_videos``: models on videos unlike MiniVOST.
"""
