#!/usr/bin/env bash
# Trains a model, then measures J and J_tr of its weights. Sets up what it needs.
# More: ./train_vost.sh --help
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # started as `sh SCRIPT`
set -euo pipefail

# Choose what to run by flags, or by environment variables of these names; flags take precedence:
#   MODEL        name of a file in aot_plus/configs/models (default: r50_aotl; for mini_vost, aot_mini)
#   STAGE        name of a file in aot_plus/configs (default: pre_vost_2)
#   EXP_NAME     the run's files are in results/<EXP_NAME>_<MODEL>/<STAGE> (default: default)
#   PROCESSES    number of processes that share each batch (default: one per GPU, or one on the CPU)
#   BATCH_SIZE   number of clips per step, over all processes (default: the stage's)
#   DTYPE        float32, or mixed precision with bfloat16 or float16 (default: the stage's)
#   STEPS        total number of training steps (default: the stage's)
#   DATASET      dataset to evaluate on: vost, mini_vost, another name from docs/data.md, or a folder
#                (default: the stage's)

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
run_tool train "$@"
