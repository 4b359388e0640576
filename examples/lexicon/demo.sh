#!/usr/bin/env bash
# usage: demo.sh <wick program> <folder for the adapter>
# A dictionary turns into the Devil's: LoRA-tunes the base model of this folder and shows what changed.
set -euo pipefail

wick=$1
output=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Shows a command as one would type it, and runs it.
run() {
  printf '\n$ wick'
  printf ' %q' "${@//"$here"/examples/lexicon}"
  printf '\n'
  "$wick" "$@"
}

prompts=()
while read -r word; do
  prompts+=(--sample-prompt "$word (noun):")
done <"$here/devil/demo_words.txt"

cat <<'TEXT'
A language model of 3.9 million parameters has read WordNet's definitions. A LoRA adapter now learns how Ambrose
Bierce defined words, from 895 entries of The Devil's Dictionary (1911); 60 entries are held out.

Held-out loss before:
TEXT
run eval --model "$here/base" --data "$here/devil/test.jsonl"

run train --model "$here/base" --data "$here/devil/train.jsonl" --eval-data "$here/devil/test.jsonl" \
  --output-dir "$output" --overwrite-output-dir --target-modules all-linear --r 16 --lora-alpha 32 --lora-dropout 0.1 \
  --packing --batch-size 4 --max-seq-length 256 --num-train-epochs 3 --learning-rate 1e-3 \
  --lr-scheduler-type cosine --warmup-steps 10 "${prompts[@]}"

printf '\nHeld-out loss after:\n'
run eval --model "$here/base" --adapter "$output" --data "$here/devil/test.jsonl"

size=$(wc -c <"$output/adapter_model.safetensors")
cat <<TEXT

The adapter, $((size / 1024)) KiB in PEFT's format:  $output
The report, with the curves and the ten words:  $output/report.html

Try it on:
  ${wick} generate --model examples/lexicon/base --adapter $output --prompt "politics (noun):"

And on a model of your own, a folder as Hugging Face lays it out:
  ${wick} train --model ~/models/Qwen2.5-0.5B-Instruct --data my-data --output-dir my-adapter
TEXT

"$here/first_steps.sh" "$wick" "$output/first-steps"
