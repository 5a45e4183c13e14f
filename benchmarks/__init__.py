"""What the code costs and what the memory policies are worth; none of it is needed to use the project.

Commands, each with ``--help``:

- ``python -m benchmarks.performance`` runs the three below, a process each, and writes
  ``docs/performance.md`` (``performance_goals``: the targets; ``performance_page``: the page).
- ``python -m benchmarks.inference``: one frame (``frame_cost``, ``parts``), growth with video and objects
  (``scaling``, ``streams``), whole runs (``whole_runs``).
- ``python -m benchmarks.metric``, compared with ``metric_decode``.
- ``python -m benchmarks.training``.
- ``python -m benchmarks.policies`` compares the memory policies and writes ``docs/results.md``
  (``policy_runs``, ``policy_statistics``, ``policy_page``).

They share ``arguments``, ``devices``, ``report``, ``units`` and ``videos``.
"""
