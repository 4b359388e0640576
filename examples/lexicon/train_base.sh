#!/usr/bin/env bash
# usage: train_base.sh <wick program> <work folder>
# Makes the data and trains the base model of the demo from scratch, as examples/lexicon/base was made. It can be
# stopped at any time: run it again and it goes on from its last checkpoint.
set -euo pipefail

wick=$1
work=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

[ -f "$work/wordnet/train.jsonl" ] || python3 "$here/make_data.py" --out "$work"

resume=()
compgen -G "$work/model/checkpoint-*" >/dev/null && resume=(--resume-from-checkpoint)

"$wick" train --init-from-config "$here/base/config.json" --fine-tune-type full \
  --data "$work/wordnet/train.jsonl" --eval-data "$work/wordnet/valid.jsonl" --loss-mask all \
  --packing --max-seq-length 256 --batch-size 16 --max-steps 4000 \
  --learning-rate 3e-3 --lr-scheduler-type cosine --min-lr-ratio 0.02 --warmup-steps 200 \
  --weight-decay 0.1 --adam-beta2 0.98 --seed 7 --save-dtype bf16 \
  --eval-steps 250 --save-steps 100 --save-total-limit 2 --logging-steps 50 \
  --output-dir "$work/model" ${resume[@]+"${resume[@]}"}
