#!/usr/bin/env bash
# Training, then J and J_tr of the trained weights. Sets up what it needs. More: ./train_vost.sh --help
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # started as `sh SCRIPT`
set -euo pipefail

# What to run is chosen by flags, or by environment variables of these names, which flags win over:
#   MODEL        a file of aot_plus/configs/models (default: r50_aotl, for the stage mini_vost aot_mini)
#   STAGE        a file of aot_plus/configs (default: pre_vost_2)
#   EXP_NAME     the run's files are in results/<EXP_NAME>_<MODEL>/<STAGE> (default: default)
#   PROCESSES    that share each batch (default: one for each GPU, or one on the CPU)
#   BATCH_SIZE   clips of a step, over all processes (default: the stage's)
#   DTYPE        float32, bfloat16 or float16: mixed precision (default: the stage's)
#   STEPS        of the whole training (default: the stage's)
#   DATASET      to evaluate on: vost, mini_vost, another name of docs/data.md or a folder (default: the stage's)

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
run_tool train "$@"
