#!/usr/bin/env bash
# The repository's eval_vost.sh, for those who work in this folder.
exec "$(dirname "${BASH_SOURCE[0]}")/../eval_vost.sh" "$@"
