#!/usr/bin/env bash
# Sets up what the tests need and runs them all; arguments go to pytest, for example -k metric.
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
use_python requirements.txt requirements-dev.txt
cd "$REPOSITORY"
exec "$PYTHON" -m pytest "$@"
