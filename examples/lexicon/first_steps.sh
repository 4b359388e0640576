#!/usr/bin/env bash
# usage: first_steps.sh <wick program> <folder for the runs>
# The first three steps of the demo's training on the CPU and on Metal, with their losses side by side. Fails where the
# two differ by more than rounding.
set -euo pipefail

wick=$1
output=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Of the CPU's loss. Sums in another order differ by about 1e-7; without the update the third loss differs by 1.3e-3.
limit=1e-4

device=$("$wick" devices | sed -n 's/^mps: //p')
case $device in
  *"; products by "*) ;;
  *)
    printf '\nThe first steps are not repeated on Metal: mps: %s\n' "${device:-this build of Wick does not know it}"
    exit 0
    ;;
esac

# Software Metal runs each thread of a kernel in its turn: it gets a row of 128 tokens where a GPU gets the demo's four
# of 256, and so does the CPU beside it.
metal=Metal
batch=(--batch-size 4 --max-seq-length 256)
case $device in
  "Software Metal"*)
    metal="software Metal"
    batch=(--batch-size 1 --max-seq-length 128)
    ;;
esac

printf '\nThe first three steps of the training once more, with %s, on the CPU and on mps.\n' "${batch[*]}"
printf 'mps is %s here (%s).\n' "$metal" "${device%%; products by *}"
for name in cpu mps; do
  "$wick" train --model "$here/base" --data "$here/devil/train.jsonl" --output-dir "$output/$name" \
    --overwrite-output-dir --target-modules all-linear --r 16 --lora-alpha 32 --lora-dropout 0.1 --packing "${batch[@]}" \
    --max-steps 3 --learning-rate 1e-3 --lr-scheduler-type cosine --warmup-steps 10 --device "$name" --json >/dev/null
done

losses() { sed -n 's/.*"loss":\([^,}]*\).*/\1/p' "$output/$1/metrics.jsonl"; }

paste -d ' ' <(losses cpu) <(losses mps) | awk -v limit="$limit" '
  function is_number(text) { return text ~ /^[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$/ }
  BEGIN { printf "\n%-6s %12s %12s %12s\n", "step", "loss, cpu", "loss, mps", "difference" }
  !is_number($1) || !is_number($2) { printf "%-6d %12s %12s\n", NR, $1, $2; bad = 1; next }
  {
    apart = ($1 > $2 ? $1 - $2 : $2 - $1) / $1
    printf "%-6d %12.6f %12.6f %12.1e\n", NR, $1, $2, apart
    if (!(apart <= limit)) bad = 1
  }
  END {
    if (bad || NR != 3) { printf "The two DIFFER: by more than %s of the loss, or a loss is missing.\n", limit; exit 1 }
    printf "The two agree: no loss differs by more than %s of itself.\n", limit
  }'
