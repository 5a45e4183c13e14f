#!/usr/bin/env bash
# Training, then J and J_tr of the trained weights. Sets up what it needs. More: ./train_vost.sh --help
set -euo pipefail

# What to run. Each is also an environment variable of this name, and a flag (--model ...), which wins.
# Empty: chosen as the comment says.
MODEL="${MODEL:-}"              # a file of aot_plus/configs/models; empty: r50_aotl, for the stage mini_vost aot_mini
STAGE="${STAGE:-pre_vost_2}"    # a file of aot_plus/configs
EXP_NAME="${EXP_NAME:-default}" # the run's files are in results/<EXP_NAME>_<MODEL>/<STAGE>
PROCESSES="${PROCESSES:-}"      # that share each batch; empty: one for each GPU, or one on the CPU
BATCH_SIZE="${BATCH_SIZE:-}"    # clips of a step, over all processes; empty: the stage's
DTYPE="${DTYPE:-}"              # float32, bfloat16 or float16 (mixed precision); empty: the stage's
STEPS="${STEPS:-}"              # of the whole training; empty: the stage's
DATASET="${DATASET:-}"          # to evaluate on: vost, mini_vost or a folder in VOST's layout; empty: the stage's

OPTIONS="model stage exp_name processes batch_size dtype steps dataset"
EXTRA=() # arguments for aot_plus.tools.train
STARTED_IN="$PWD"

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
. "$REPOSITORY/aot_plus/tools/script_flags.sh"

usage() {
    cat <<END
Usage: ./train_vost.sh [--model M] [--stage S] [--exp_name E] [--processes K] [--batch_size B] [--dtype D]
                       [--steps N] [--dataset D] [-- arguments of aot_plus.tools.train]

Trains a model, keeps everything under results/<exp_name>_<model>/<stage>, then runs inference with the averaged
weights (EMA) and prints J and J_tr (J_last). Without arguments: the published recipe, r50_aotl on VOST from the
official checkpoint. Where VOST or that file is missing it says how to get it. A killed run, started again with the
same command, goes on from its last checkpoint; Ctrl-C saves first.

Nothing to download: ./train_vost.sh --stage mini_vost trains a small model on MiniVOST, about an hour on two cores.

  --model M       config of the model: r50_aotl (default), r50_deaotl, ... (aot_plus/configs/models)
  --stage S       config of the stage: pre_vost_2 (default), pre_vost, mini_vost, ... (aot_plus/configs)
  --exp_name E    name of the experiment (default: default)
  --processes K   processes that share each batch (default: one for each GPU)
  --batch_size B  clips of a step, over all processes (default: the stage's)
  --dtype D       float32, bfloat16 or float16: mixed precision (default: the stage's)
  --steps N       of the whole training; the schedules follow (default: the stage's)
  --dataset D     to evaluate on: vost, mini_vost or a folder in VOST's layout (default: the stage's)
  -h, --help      this text

Each is also an environment variable: MODEL, STAGE, EXP_NAME, PROCESSES, BATCH_SIZE, DTYPE, STEPS, DATASET.
Others after --: --overwrite (start anew), --resume (go on with changed values), --device cpu, --set NAME=VALUE.
On several machines, run on each: torchrun --nnodes ... --nproc_per_node K -m aot_plus.tools.train ...
END
}

# Says what must be downloaded, all of it at once.
check_downloads() {
    local missing=no
    case "$STAGE" in pre_vost*) ;; *) return 0 ;; esac
    case "${EXTRA[*]-}" in *DATASETS=* | *DIR_DATA=*) ;; *)
        if [ ! -d aot_plus/datasets/VOST ]; then
            missing=yes
            say "There is no aot_plus/datasets/VOST; get VOST from https://www.vostdataset.org and put (or link) it there."
        fi
        ;;
    esac
    case "${EXTRA[*]-}" in *PRETRAIN_MODEL=* | *DIR_PRETRAIN=*) ;; *)
        if [ ! -f "$(pretrained_file)" ]; then
            missing=yes
            say "There is no $(pretrained_file); aot_plus/pretrain_models/README.md says where to get it."
        fi
        ;;
    esac
    [ "$missing" = no ] ||
        die "something must be downloaded first. Training that needs no download: ./train_vost.sh --stage mini_vost"
}

# The checkpoint that the training of $MODEL starts from: R50_AOTL_PRE_YTB_DAV.pth for r50_aotl.
pretrained_file() {
    local name
    name="$(printf %s "$MODEL" | tr '[:lower:]' '[:upper:]')"
    echo "aot_plus/pretrain_models/${name/DEAOT/DeAOT}_PRE_YTB_DAV.pth"
}

count_gpus() { "$PYTHON" -c 'import torch; print(max(torch.cuda.device_count(), 1))'; }

run_training() {
    local start=("$PYTHON") flags=(--model "$MODEL" --stage "$STAGE" --exp_name "$EXP_NAME")
    [ "$PROCESSES" -eq 1 ] ||
        start=("$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$PROCESSES")
    [ -z "$BATCH_SIZE" ] || flags+=(--batch_size "$BATCH_SIZE")
    [ -z "$DTYPE" ] || flags+=(--dtype "$DTYPE")
    [ -z "$STEPS" ] || flags+=(--steps "$STEPS")
    say "== Training: $MODEL, $STAGE, $PROCESSES process(es)"
    "${start[@]}" -m aot_plus.tools.train "${flags[@]}" ${EXTRA[@]+"${EXTRA[@]}"} | tee -i "$OUTPUT" ||
        die "the training did not finish; the same command goes on where it stopped"
}

# Inference with the averaged weights; results that older weights of the same file name left are replaced.
run_evaluation() {
    local weights dataset="$DATASET" arguments=(--exp_name "$EXP_NAME") argument setting=no
    weights="$(sed -n 's/^Trained weights (moving average): //p' "$OUTPUT")"
    if [ -z "$dataset" ]; then
        case "$STAGE" in mini_vost) dataset=mini_vost ;; *) dataset=vost ;; esac
    fi
    [ ! "$weights" -nt "$STARTED" ] || arguments+=(--overwrite)
    for argument in ${EXTRA[@]+"${EXTRA[@]}"}; do # config values are those of the training
        case "$argument" in --set) setting=yes ;; --*) setting=no ;; esac
        [ "$setting" = no ] || arguments+=("$argument")
    done
    cd "$STARTED_IN"
    # A CHECKPOINT or RESULT_NAME in the environment is meant for runs of eval_vost.sh alone.
    CHECKPOINT="" RESULT_NAME="" "$REPOSITORY/eval_vost.sh" --model "$MODEL" --stage "$STAGE" \
        --checkpoint "$weights" --dataset "$dataset" --processes "$PROCESSES" -- "${arguments[@]}"
}

parse_flags "$@"
cd "$REPOSITORY"
case "$PROCESSES" in *[!0-9]* | 0*) usage_error "--processes: expected a number from 1, found $PROCESSES" ;; esac
if [ -z "$MODEL" ]; then
    case "$STAGE" in mini_vost) MODEL=aot_mini ;; *) MODEL=r50_aotl ;; esac
fi
check_downloads
use_python requirements.txt
PROCESSES="${PROCESSES:-$(count_gpus)}"

OUTPUT="$(mktemp)"
STARTED="$(mktemp)"
trap 'rm -f "$OUTPUT" "$STARTED"' EXIT
trap 'say "Interrupted: run the same command again to go on."; exit 130' INT

run_training
run_evaluation
