#!/usr/bin/env bash
# Inference over a dataset, then the metric: J and J_tr for VOST. Sets up what it needs. More: ./eval_vost.sh --help
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"  # started as `sh SCRIPT`
set -euo pipefail

# What to run is chosen by flags, or by environment variables of these names, which flags win over:
#   MODEL        a file of aot_plus/configs/models (default: r50_aotl)
#   STAGE        a file of aot_plus/configs (default: the model's, pre_vost_2)
#   CHECKPOINT   .pth or .safetensors (default: the model's file in aot_plus/pretrain_models)
#   POLICY       emfs, fifo, rmem, spread, lfu, readmem, uniform, random, unbounded or your own (default: the config's, emfs)
#   DATASET      vost, mini_vost, another name of docs/data.md or a folder (default: vost)
#   SPLIT        of the dataset (default: val)
#   RESULT_NAME  name of the result folder (default: policy and capacity, as in emfs_1+8)
#   PROCESSES    that share the sequences; on a machine with GPUs, their number (default: 1)
# and MINI_VOST_VAL: how many val sequences are made where there is no MiniVOST (default: 10).
# A checkpoint or dataset that is named and missing is an error; --download gets published ones first.

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
run_tool eval "$@"
