#!/bin/sh
# Data-parallel training on two GPUs: the losses of one GPU with the same global batch, the time of both, and a rank that is
# killed. Takes the path of the program and a folder for its files:
#   bench/gpu/two_gpus.sh build/release/apps/wick/wick /tmp/two-gpus
set -eu
program=${1:?the path of wick}
work=${2:?a folder for the runs}
here=$(cd "$(dirname "$0")/../.." && pwd)
base=$here/examples/lexicon/base
data=$here/examples/lexicon/devil
mkdir -p "$work"

# A model of a few million weights with the tokenizer of the example.
if [ ! -e "$work/model/config.json" ]; then
  mkdir -p "$work/seed"
  cp "$base/tokenizer.json" "$base/tokenizer_config.json" "$work/seed/"
  cat > "$work/seed/config.json" << 'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 4096, "hidden_size": 512,
 "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 64,
 "hidden_act": "silu", "max_position_embeddings": 1024, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
 "tie_word_embeddings": true, "initializer_range": 0.02, "bos_token_id": 0, "eos_token_id": 0}
JSON
  "$program" train --init-from-config "$work/seed/config.json" --fine-tune-type full --data "$data/train.jsonl" \
    --max-steps 1 --output-dir "$work/model" --device cuda:0
fi

run() {
  out=$1
  shift
  "$program" train --model "$work/model" --data "$data/train.jsonl" --max-seq-length 512 --packing --batch-size 4 \
    --learning-rate 1e-3 --overwrite-output-dir --output-dir "$out" "$@"
}

for kind in lora full; do
  run "$work/$kind-one" --fine-tune-type "$kind" --max-steps 40 --device cuda:0 --gradient-accumulation-steps 4
  run "$work/$kind-two" --fine-tune-type "$kind" --max-steps 40 --devices cuda:0,1 --gradient-accumulation-steps 2
  python3 - "$kind" "$work/$kind-one/metrics.jsonl" "$work/$kind-two/metrics.jsonl" << 'PYTHON'
import json
import sys

kind, *paths = sys.argv[1:]
runs = [[line for line in map(json.loads, open(path)) if "loss" in line] for path in paths]
assert len(runs[0]) == len(runs[1]) > 0, "the runs have different numbers of steps"
worst = max(abs(a["loss"] - b["loss"]) / abs(a["loss"]) for a, b in zip(*runs))
speeds = [sorted(line["tokens_per_second"] for line in run)[len(run) // 2] for run in runs]
print(f"{kind}: {len(runs[0])} steps, losses differ by at most {worst:.1e}; "
      f"{speeds[0]:.0f} tokens/s on one GPU, {speeds[1]:.0f} on two")
if worst > 1e-3:
    sys.exit(f"{kind}: the losses are not those of one GPU")
PYTHON
done

# A rank is killed when the first checkpoint is there: the run ends, names it, and goes on when asked to.
killed=$work/killed
rm -rf "$killed"
run "$killed" --max-steps 100000 --save-steps 5 --devices cuda:0,1 2> "$work/killed.txt" &
parent=$!
tries=0
until [ -d "$killed/checkpoint-5" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 600 ] || { cat "$work/killed.txt"; echo "the run never saved"; exit 1; }
  sleep 0.2
done
victim=
for candidate in $(pgrep -P "$parent" || true) $(for child in $(pgrep -P "$parent" || true); do pgrep -P "$child" || true; done); do
  if tr '\0' '\n' < "/proc/$candidate/environ" | grep -qx RANK=1; then victim=$candidate; fi
done
[ -n "$victim" ] || { echo "rank 1 was not found"; exit 1; }
kill -9 "$victim"
if wait "$parent"; then
  echo "the run went on without a rank"
  exit 1
fi
tail -n 5 "$work/killed.txt"
grep -q "rank 1 (pid $victim, cuda:1) was killed by signal 9" "$work/killed.txt"
grep -q "the last whole checkpoint is" "$work/killed.txt"
echo "two GPUs: all as it should be"
