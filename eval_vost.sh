#!/usr/bin/env bash
# Inference over a dataset, then J and J_tr. Sets up what it needs. More: ./eval_vost.sh --help
set -euo pipefail

# What to run. Each is also an environment variable of this name, and a flag (--model ...), which wins.
# Empty: chosen as the comment says. A checkpoint or dataset that is named and missing is an error.
MODEL="${MODEL:-}"             # a file of aot_plus/configs/models; empty: r50_aotl
STAGE="${STAGE:-}"             # a file of aot_plus/configs; empty: pre_vost_2
CHECKPOINT="${CHECKPOINT:-}"   # .pth or .safetensors; empty: the model's file in aot_plus/pretrain_models
POLICY="${POLICY:-}"           # unbounded, fifo, rmem, emfs, random, uniform or your own; empty: the config's, emfs
DATASET="${DATASET:-}"         # vost, mini_vost or a folder in VOST's layout; empty: vost
SPLIT="${SPLIT:-val}"          # a file of the dataset's ImageSets
RESULT_NAME="${RESULT_NAME:-}" # name of the result folder; empty: policy and capacity, as in emfs_1+8
PROCESSES="${PROCESSES:-1}"    # that share the sequences; on a machine with GPUs, their number

# Only an environment variable: how many val sequences are made where there is no MiniVOST.
MINI_VOST_VAL="${MINI_VOST_VAL:-10}"

OPTIONS="model stage checkpoint policy dataset split result_name processes"
EXTRA=() # arguments for aot_plus.tools.eval
STARTED_IN="$PWD"
BASELINE="" # policy to run as well, for comparison
RESULTS=""  # folder of the latest results

. "$(dirname "${BASH_SOURCE[0]}")/aot_plus/tools/setup_env.sh"
. "$REPOSITORY/aot_plus/tools/script_flags.sh"
MODELS_DIR=aot_plus/pretrain_models
MINI_VOST=aot_plus/datasets/MiniVOST

usage() {
    cat <<END
Usage: ./eval_vost.sh [--model M] [--stage S] [--checkpoint FILE] [--policy P] [--dataset D] [--split S]
                      [--result_name NAME] [--processes K] [-- arguments of aot_plus.tools.eval]

Runs a model over a dataset, writes its masks under results/, and prints J and J_tr (J_last).
Without arguments: AOT* + EMFS of the paper's table, r50_aotl with AOT_EMFS.pth on VOST val. Where VOST or that
file is missing it says how to get it, and runs on MiniVOST, which it makes itself.

  --model M         config of the model: r50_aotl (default), r50_deaotl, ... (aot_plus/configs/models)
  --stage S         config of the stage: pre_vost_2 (default), ... (aot_plus/configs)
  --checkpoint FILE .pth or .safetensors; also looked for in $MODELS_DIR
  --policy P        memory policy: unbounded, fifo, rmem, emfs, random, uniform, or package.module:ClassName
  --dataset D       vost (default), mini_vost, or a folder in VOST's layout
  --split S         val (default), or another file of the dataset's ImageSets
  --result_name N   name of the result folder (default: policy and capacity, as in emfs_1+8)
  --processes K     processes that share the sequences (default 1)
  -h, --help        this text

Each is also an environment variable: MODEL, STAGE, CHECKPOINT, POLICY, DATASET, SPLIT, RESULT_NAME, PROCESSES.
A second run skips the sequences that are finished; '-- --overwrite' does them again. Others after --:
--dtype bfloat16, --flip, --ms 1.0 1.2, --trace, --set NAME=VALUE.
END
}

# The path of $1, looked for from where the script was started, the root, aot_plus and pretrain_models. One file
# always gives the same path, from the root if it lies there: result folders remember it.
find_path() {
    local folder path=""
    for folder in "$STARTED_IN" "$REPOSITORY" "$REPOSITORY/aot_plus" "$REPOSITORY/$MODELS_DIR"; do
        case "$1" in
            /*) path="$1" ;;
            *) path="$folder/$1" ;;
        esac
        if [ -e "$path" ]; then
            path="$(cd "$(dirname "$path")" && pwd)/$(basename "$path")"
            echo "${path#"$REPOSITORY/"}"
            return
        fi
    done
    return 1
}

# The checkpoint that belongs to a model, where there is one.
checkpoint_of() {
    case "$1" in
        r50_aotl) echo "$MODELS_DIR/AOT_EMFS.pth" ;;
        r50_deaotl) echo "$MODELS_DIR/DeAOT_EMFS.pth" ;;
        aot_mini | deaot_mini) echo "$MODELS_DIR/$1.safetensors" ;;
    esac
}

check_choices() {
    local found
    case "$PROCESSES" in
        "" | *[!0-9]* | 0*) usage_error "--processes: expected a number from 1, found $PROCESSES" ;;
    esac
    case "$MINI_VOST_VAL" in
        *[!0-9]* | 0*) usage_error "MINI_VOST_VAL: expected a number from 1, found $MINI_VOST_VAL" ;;
    esac
    if [ -n "$CHECKPOINT" ]; then
        found="$(find_path "$CHECKPOINT")" ||
            die "there is no checkpoint $CHECKPOINT; $(how_to_get checkpoint)"
        CHECKPOINT="$found"
    fi
    case "$DATASET" in
        "" | mini_vost) ;;
        vost) [ -d aot_plus/datasets/VOST ] || die "there is no aot_plus/datasets/VOST; $(how_to_get VOST)" ;;
        *)
            found="$(find_path "$DATASET")" || die "there is no dataset folder $DATASET"
            DATASET="$found"
            ;;
    esac
}

how_to_get() {
    case "$1" in
        VOST) echo "get VOST from https://www.vostdataset.org and put (or link) it there" ;;
        checkpoint) echo "$MODELS_DIR/README.md lists the published files and where to put them" ;;
    esac
}

# Fills what was left empty; where VOST or the checkpoint is missing, with what a bare machine has.
choose_defaults() {
    local wanted="${CHECKPOINT:-$(checkpoint_of "${MODEL:-r50_aotl}")}" missing=no
    if [ -z "$DATASET" ] && [ ! -d aot_plus/datasets/VOST ]; then
        missing=yes
        say "There is no aot_plus/datasets/VOST; $(how_to_get VOST)."
    fi
    if [ -z "$wanted" ] || [ ! -f "$wanted" ]; then
        missing=yes
        say "There is no ${wanted:-checkpoint for $MODEL}; $(how_to_get checkpoint)."
        case "$DATASET" in
            "" | mini_vost) ;;
            *) die "$DATASET was asked for, and there is no checkpoint: choose one with --checkpoint FILE" ;;
        esac
    fi
    if [ "$missing" = yes ]; then
        DATASET=mini_vost
        [ -n "$CHECKPOINT" ] || choose_shipped_model
    fi
    MODEL="${MODEL:-r50_aotl}"
    DATASET="${DATASET:-vost}"
    CHECKPOINT="${CHECKPOINT:-$(checkpoint_of "$MODEL")}"
    case "$MODEL" in
        *_mini) STAGE="${STAGE:-mini_vost}" ;;
        *) STAGE="${STAGE:-pre_vost_2}" ;;
    esac
}

# The small trained model of the same family, which ships with the project.
choose_shipped_model() {
    case "$MODEL" in
        deaot* | *_deaot*) MODEL=deaot_mini ;;
        *) MODEL=aot_mini ;;
    esac
    STAGE=mini_vost
    CHECKPOINT="$(checkpoint_of "$MODEL")"
    [ -f "$CHECKPOINT" ] || die "there is no $CHECKPOINT, which belongs to the project: git restore $MODELS_DIR"
    [ "$POLICY" = fifo ] || [ ${#EXTRA[@]} -gt 0 ] || BASELINE=fifo
    say "Running on MiniVOST instead, with the small model $MODEL that ships with the project."
}

# The number of names in a list of ImageSets; 0 where there is none.
count_names() { if [ -f "$1" ]; then grep -c . "$1" || true; else echo 0; fi; }

# Makes MiniVOST where it has no val sequence; one that the user made is left as it is.
make_mini_vost() {
    [ "$(count_names "$MINI_VOST/ImageSets/val.txt")" -eq 0 ] || return 0
    "$PYTHON" -m aot_plus.tools.make_mini_vost --out "$MINI_VOST" --val "$MINI_VOST_VAL" \
        --train "$(count_names "$MINI_VOST/ImageSets/train.txt")"
}

# Inference and metric with policy $1 and result name $2 (empty: the tool's own).
evaluate() {
    local start=("$PYTHON")
    local flags=(--model "$MODEL" --stage "$STAGE" --ckpt_path "$CHECKPOINT" --dataset "$DATASET" --split "$SPLIT")
    [ "$PROCESSES" -eq 1 ] ||
        start=("$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$PROCESSES")
    [ -z "$1" ] || flags+=(--policy "$1")
    [ -z "$2" ] || flags+=(--eval_name "$2")
    say "== Inference: $MODEL, $STAGE, $CHECKPOINT, $DATASET $SPLIT"
    "${start[@]}" -m aot_plus.tools.eval "${flags[@]}" ${EXTRA[@]+"${EXTRA[@]}"} | tee -i "$OUTPUT" ||
        die "inference failed; the metric was not computed"
    RESULTS="$(sed -n 's/^Results: //p' "$OUTPUT")"
    say "== Metric: $RESULTS"
    # --re: figures of an earlier run of other sequences must not stand.
    "$PYTHON" evaluation/evaluation_method.py --re \
        --results_path "$RESULTS" --dataset_path "$DATASET" --set "$SPLIT" ||
        die "the metric could not be computed"
    echo "CSV files: $RESULTS/global_results-$SPLIT.csv and per-sequence_results-$SPLIT.csv"
}

# J and J_tr of several result folders.
compare() {
    local folder
    printf '\n%-24s %9s %9s\n' "$MODEL on $DATASET $SPLIT" J J_tr
    for folder in "$@"; do
        awk -F, -v name="${folder##*/}" 'NR == 2 { printf "%-24s %9.4f %9.4f\n", name, $1, $4 }' \
            "$folder/global_results-$SPLIT.csv"
    done
}

parse_flags "$@"
cd "$REPOSITORY"
check_choices
choose_defaults
use_python requirements.txt

OUTPUT="$(mktemp)"
trap 'rm -f "$OUTPUT"' EXIT
trap 'say "Interrupted: run the same command again to go on."; exit 130' INT

[ "$DATASET" != mini_vost ] || make_mini_vost
evaluate "$POLICY" "$RESULT_NAME"
if [ -n "$BASELINE" ]; then
    FIRST="$RESULTS"
    evaluate "$BASELINE" "${RESULT_NAME:+${RESULT_NAME}_$BASELINE}"
    compare "$FIRST" "$RESULTS"
fi
