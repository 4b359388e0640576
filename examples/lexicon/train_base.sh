#!/usr/bin/env bash
# usage: train_base.sh <wick program> <work folder> [device]
# Makes the data and trains the base model of the demo from scratch, as examples/lexicon/base was made. It can be stopped
# at any time: run it again and it goes on from the last checkpoint.
set -euo pipefail

wick=$1
work=$2
device=${3:-cpu}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=$work/base

[ -f "$work/wordnet/train.jsonl" ] || python3 "$here/make_data.py" --out "$work"

resume=()
compgen -G "$base/checkpoint-*" >/dev/null && resume=(--resume-from-checkpoint)
"$wick" train --device "$device" --init-from-config "$here/base/config.json" --seed 7 \
  --fine-tune-type full --output-dir "$base" --save-dtype bf16 \
  --data "$work/wordnet/train.jsonl" --eval-data "$work/wordnet/valid.jsonl" --loss-mask all \
  --packing --max-seq-length 256 --batch-size 64 --max-steps 4000 --warmup-steps 150 \
  --learning-rate 6e-3 --lr-scheduler-type cosine --min-lr-ratio 0.02 --weight-decay 2 --adam-beta2 0.98 \
  --eval-steps 125 --save-steps 125 --save-total-limit 2 --load-best-model-at-end --logging-steps 25 \
  ${resume[@]+"${resume[@]}"}
