#!/usr/bin/env bash
# usage: train_base.sh <wick program> <work folder>
# Makes the data and trains the base model of the demo from scratch, in the two runs that made examples/lexicon/base.
# It can be stopped at any time: run it again and it goes on from the last checkpoint.
set -euo pipefail

wick=$1
work=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

[ -f "$work/wordnet/train.jsonl" ] || python3 "$here/make_data.py" --out "$work"

# train <folder> <flags that differ>
train() {
  local folder=$1 resume=()
  shift
  [ -f "$folder/model.safetensors" ] && return
  compgen -G "$folder/checkpoint-*" >/dev/null && resume=(--resume-from-checkpoint)
  "$wick" train --fine-tune-type full --output-dir "$folder" --save-dtype bf16 \
    --data "$work/wordnet/train.jsonl" --eval-data "$work/wordnet/valid.jsonl" --loss-mask all \
    --packing --max-seq-length 256 --batch-size 16 --weight-decay 0.1 --adam-beta2 0.98 \
    --eval-steps 150 --save-steps 150 --save-total-limit 2 --logging-steps 50 \
    "$@" ${resume[@]+"${resume[@]}"}
}

train "$work/first" --init-from-config "$here/base/config.json" --seed 7 --max-steps 2030 --warmup-steps 200 \
  --learning-rate 3e-3 --lr-scheduler-type cosine --min-lr-ratio 0.02
train "$work/base" --model "$work/first" --seed 8 --max-steps 900 --warmup-steps 50 \
  --learning-rate 1.2e-3 --lr-scheduler-type linear
