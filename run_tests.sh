#!/usr/bin/env bash
# Sets up what the tests need and runs them all in parallel; passes its arguments to pytest, as in -k metric.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # started as `sh SCRIPT`
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
use_python requirements.txt requirements-dev.txt
cd "$REPOSITORY"
exec "$PYTHON" -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal "$@"
