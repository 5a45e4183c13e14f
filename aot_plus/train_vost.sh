#!/usr/bin/env bash
# The repository's train_vost.sh, for those who work in this folder.
exec "$(dirname "${BASH_SOURCE[0]}")/../train_vost.sh" "$@"
