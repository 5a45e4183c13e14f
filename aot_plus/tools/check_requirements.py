"""Prints the requirements that the running Python does not satisfy: exit code 1 if there are any.

Run it by its path, with Python 3.10 or newer. It needs only the standard library, and understands the kinds
of lines that this project's requirements files have: ``name`` and ``name>=version``.
"""

import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path


def unsatisfied(requirements: Path) -> list[str]:
    """Lists the requirements that are missing or too old, such as ``numpy>=2.0 (found 1.26.4)``."""
    problems = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        requirement = line.partition("#")[0].strip()
        if requirement:
            problems += _problem(requirement)
    return problems


def release(text: str) -> tuple[int, ...]:
    """Parses the leading numbers of a version: ``2.14.1+cpu`` and ``2.14.1rc1`` are both (2, 14, 1)."""
    numbers = []
    for part in text.split("+")[0].split("."):
        digits = "".join(takewhile(str.isdigit, part))
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)


def _problem(requirement: str) -> list[str]:
    """Returns a line that says why the requirement is not satisfied; an empty list if it is."""
    name, _, lowest = (part.strip() for part in requirement.partition(">="))
    try:
        found = version(name)
    except PackageNotFoundError:
        return [f"{requirement} (not installed)"]
    return [] if release(found) >= release(lowest) else [f"{requirement} (found {found})"]


def main(arguments: list[str]) -> int:
    """Checks the files that the arguments name. Returns the exit code."""
    problems = [problem for file in arguments for problem in unsatisfied(Path(file))]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    raise SystemExit(main(sys.argv[1:]))
