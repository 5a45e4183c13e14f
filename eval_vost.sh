#!/usr/bin/env bash
# Runs inference over a dataset, then the metric: J and J_tr for VOST. Sets up what it needs.
# More: ./eval_vost.sh --help
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # started as `sh SCRIPT`
set -euo pipefail

# Choose what to run by flags, or by environment variables of these names; flags take precedence:
#   MODEL        name of a file in aot_plus/configs/models (default: r50_aotl)
#   STAGE        name of a file in aot_plus/configs (default: the model's, pre_vost_2)
#   CHECKPOINT   .pth or .safetensors (default: the model's file in aot_plus/pretrain_models)
#   POLICY       emfs, fifo, rmem, spread, lfu, readmem, uniform, random, unbounded or your own
#                (default: the config's, emfs)
#   DATASET      vost, mini_vost, another name from docs/data.md, or a folder (default: vost)
#   SPLIT        split of the dataset (default: val)
#   RESULT_NAME  name of the result folder (default: policy and capacity, as in emfs_1+8)
#   PROCESSES    number of processes that share the sequences; choose one per GPU (default: 1)
# MINI_VOST_VAL sets how many val sequences are made if there is no MiniVOST yet (default: 10).
# It is an error if a checkpoint or dataset that you name is missing; --download first gets published ones.

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
run_tool eval "$@"
