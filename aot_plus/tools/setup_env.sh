# shellcheck shell=bash
# Sourced by the scripts: finds the repository and a Python that satisfies requirements files.
#
#     . aot_plus/tools/setup_env.sh
#     use_python requirements.txt requirements-dev.txt     # sets PYTHON
#
# REPOSITORY is the repository's root. Uses the active Python if it satisfies the files, otherwise .venv,
# which it makes or completes first. Works with bash 3.2 (macOS).

REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
VENV="$REPOSITORY/.venv"
# In a .venv made here, this file holds "ready", or "unfinished" and the id of the process that works on it.
VENV_STATE="$VENV/.aot_plus_state"

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# Succeeds if the command $1 is a Python that runs and is new enough.
is_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

# Succeeds if the Python $1 satisfies the requirements files that follow.
satisfies() { is_python "$1" && "$1" "$REPOSITORY/aot_plus/tools/check_requirements.py" "${@:2}" >/dev/null; }

use_python() {
    local requirements=() candidate
    for candidate in "$@"; do  # "${@/#/$REPOSITORY/}" would mangle an & in the path
        requirements+=("$REPOSITORY/$candidate")
    done
    for candidate in python3 python; do
        if command -v "$candidate" >/dev/null && satisfies "$candidate" "${requirements[@]}"; then
            PYTHON="$(command -v "$candidate")"
            return
        fi
    done
    PYTHON="$VENV/bin/python"
    remove_unfinished_venv
    if satisfies "$PYTHON" "${requirements[@]}"; then
        return
    fi
    complete_venv "${requirements[@]}"
}

# A .venv whose installation was interrupted may hold half a package, which pip would take for a whole one.
remove_unfinished_venv() {
    local state="" process=""
    [ ! -f "$VENV_STATE" ] || read -r state process <"$VENV_STATE" || true
    if [ "$state" = unfinished ]; then
        if kill -0 "$process" 2>/dev/null; then
            die "process $process is setting up $VENV: wait for it (if it does something else, remove $VENV)"
        fi
        say "Setting up $VENV was interrupted: starting again."
        rm -rf "$VENV"
    elif [ -n "$state" ] && ! is_python "$PYTHON"; then
        say "$PYTHON no longer runs: making $VENV again."
        rm -rf "$VENV"
    fi
}

complete_venv() {
    local made_here=yes
    if [ ! -e "$PYTHON" ] && [ ! -L "$PYTHON" ]; then
        make_venv "$@"
    elif ! is_python "$PYTHON"; then
        die "$PYTHON is not Python 3.10 or newer: remove $VENV, and the script makes it again"
    elif [ ! -f "$VENV_STATE" ]; then
        made_here=no
    else
        echo "unfinished $$" >"$VENV_STATE"
    fi
    say "Installing $* into $VENV. The first time this takes minutes: PyTorch is large."
    "$PYTHON" -m pip install --disable-pip-version-check "${@/#/--requirement=}" >&2 </dev/null ||
        die "pip could not install $* into $VENV (see above); rerun the same command to retry"
    "$PYTHON" "$REPOSITORY/aot_plus/tools/check_requirements.py" "$@" >&2 ||
        die "these are still missing in $VENV after pip"
    [ "$made_here" = no ] || echo ready >"$VENV_STATE"
}

make_venv() {
    local base
    base="$(find_base_python)" ||
        die "Python 3.10 or newer is needed; found on the PATH: $(python3 --version 2>&1 || true)"
    say_what_is_lacking "$base" "$@"
    say "Making $VENV with $("$base" --version)."
    mkdir -p "$VENV"
    echo "unfinished $$" >"$VENV_STATE"
    "$base" -m venv "$VENV" >&2 ||
        die "$base could not make $VENV (on Debian and Ubuntu: apt install python3-venv)"
}

# A Python that has PyTorch, as on Colab, is quicker to complete than to replace: says what it lacks.
say_what_is_lacking() {
    local lacking
    lacking="$("$1" "$REPOSITORY/aot_plus/tools/check_requirements.py" "${@:2}")" || true
    case "$lacking" in
        "" | *"torch>="*) return ;;
    esac
    say "The active Python has PyTorch, but lacks:"
    say "$lacking"
    say "To use it, stop this with Ctrl-C and run: $(printf '%q -m pip install' "$1"; printf ' -r %q' "${@:2}")"
}

find_base_python() {
    local candidate
    for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
        if is_python "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Runs a tool of aot_plus; works from any folder. --help needs only a Python without packages.
run_tool() {
    case " $* " in
        *" --help "* | *" -h "*) PYTHON="$(find_base_python)" || die "Python 3.10 or newer is needed" ;;
        *) use_python requirements.txt ;;
    esac
    export PYTHONPATH="$REPOSITORY${PYTHONPATH:+:$PYTHONPATH}"
    exec "$PYTHON" -m aot_plus "$@"
}
