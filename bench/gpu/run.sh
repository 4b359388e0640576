#!/usr/bin/env bash
# Tests Wick on a GPU and times it beside PyTorch and PEFT: bench/gpu/run.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

usage() {
  cat <<'EOF'
usage: bench/gpu/run.sh [options]

  --only PART[,PART]  of tests, selftest, sanitize, curves, ours, torch; all of them without it
  --binaries DIR      take the programs from DIR, a build folder or a folder that holds them side by side;
                      without it, builds them into build/release
  --device DEVICE     where Wick computes (default cuda)
  --models A[,B]      of qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b (default all)
  --budget SECONDS    PyTorch begins no case after that (default 300; to compile a model takes one to three minutes)
  --peer-cases A[,B]  PyTorch runs only cases whose names begin so, for example train,lora_f
  --out DIR           where results go (default build/gpu)
  --full              compute-sanitizer runs every forward and gradient test, not the subset
  --small             small shapes, to try this script; the numbers mean nothing

The last table has, for each case, the floor, Wick, the peers and the ratio; DIR/results.json holds the same with date,
device and commit. The exit status is 1 when a test or a check of the sanitizer failed, and when a measurement did.
EOF
}

die() {
  echo "run.sh: $*" >&2
  exit 2
}

parts=tests,selftest,sanitize,curves,ours,torch
binaries='' device=cuda models=qwen2.5-0.5b,qwen2.5-1.5b,qwen2.5-7b budget=300 peer_cases='' out=$root/build/gpu full='' small=''
while [ $# -gt 0 ]; do
  case "$1" in
    --only | --binaries | --device | --models | --budget | --peer-cases | --out)
      [ $# -ge 2 ] || die "$1 takes a value"
      ;;&
    --only) parts=$2 && shift ;;
    --binaries) binaries=$2 && shift ;;
    --device) device=$2 && shift ;;
    --models) models=$2 && shift ;;
    --budget) budget=$2 && shift ;;
    --peer-cases) peer_cases=$2 && shift ;;
    --out) out=$2 && shift ;;
    --full) full=yes ;;
    --small) small=--small ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done
IFS=, read -ra model_list <<<"$models"
IFS=, read -ra peer_case_list <<<"$peer_cases"
for part in ${parts//,/ }; do
  [[ "$part" =~ ^(tests|selftest|sanitize|curves|ours|torch)$ ]] || die "no such part: $part"
done

programs=(wick wick_op_timings op_cases_test op_property_test decode_attention_test autograd_test)
if [ -z "$binaries" ]; then
  binaries=$root/build/release
  "$root/dev" deps
  [ -f "$binaries/build.ninja" ] || (cd "$root" && cmake --preset release)
  cmake --build "$binaries" --parallel --target wick_program "${programs[@]:1}"
fi
program() {
  local folder
  for folder in "" apps/wick/ bench/ tests/ tests/nn/; do
    [ -x "$binaries/$folder$1" ] && [ -f "$binaries/$folder$1" ] && echo "$binaries/$folder$1" && return
  done
  die "no program $1 in $binaries"
}
wants() { [[ ",$parts," == *",$1,"* ]]; }

mkdir -p "$out"
rm -f "$out"/{ours-ops,ours-models,peers}.jsonl "$out"/{run,results,curves}.json "$out"/*.log
failed=() left_out=()
# check <name> <command...>: its output goes to a log, the end of which is shown where it fails.
check() {
  local name=$1
  shift
  echo "== $name: $*"
  if "$@" >"$out/$name.log" 2>&1; then
    tail -n 3 "$out/$name.log"
  else
    failed+=("$name")
    tail -n 40 "$out/$name.log"
    echo "$name FAILED; all of it is in $out/$name.log"
  fi
}

wick=$(program wick)
described=$("$wick" devices | grep "^${device%%:*}" | head -n 1) || true
echo "$described"
"$wick" devices --json >"$out/devices.json"
# An absent device fails everything below; say why once, and first.
python3 - "$device" "$out/devices.json" <<'EOF' || exit 2
import json, sys
wanted, listed = sys.argv[1], json.load(open(sys.argv[2]))
names = {entry["device"] for entry in listed["devices"]}
if not names & {wanted, wanted + ":0"}:
    sys.exit(f"run.sh: {wanted} is not present: " + "; ".join(f"{a['device']}: {a['reason']}" for a in listed["absent"]))
EOF

if wants tests; then
  check op_cases "$(program op_cases_test)" --gtest_brief=1
  check op_property "$(program op_property_test)" --gtest_brief=1
  check decode_attention "$(program decode_attention_test)" --gtest_brief=1
  check autograd "$(program autograd_test)" --gtest_brief=1
fi
if wants selftest; then
  check selftest "$wick" selftest --fixtures "$root/tests/fixtures" --device "$device"
  [ "${device%%:*}" = cpu ] ||
    check selftest_bf16 "$wick" selftest --fixtures "$root/tests/fixtures" --device "$device" --compute-dtype bf16
fi

# The kernels with shared memory, atomics or asynchronous copies: what the sanitizer finds is there. Racecheck fails itself on
# kernels that wait for the copy engine, as products do, and gets the others.
rows='Forward.attention_bf16:Forward.softmax_f32:Gradient.rms_norm_f32:Forward.rms_norm_bf16'
rows+=':Forward.cross_entropy_f32:Gradient.embedding_f32:Forward.sum_f32:Forward.rope_bf16:Forward.clip_grad_norm__f32'
checked=$rows:Gradient.attention_f32:Forward.matmul_bf16:Forward.lora_linear_bf16:Gradient.lora_linear_f32:Forward.lora_linears_bf16
checked+=:Gradient.lora_linears_bf16:Forward.swiglu_mlp_bf16:Gradient.swiglu_mlp_bf16
if [ -n "$full" ]; then
  checked='Forward.*:Gradient.*'
  rows="$checked-*matmul*:*lora*:*swiglu_mlp*:*linear_cross_entropy*"
fi
if wants sanitize && [ "${device%%:*}" = cuda ]; then
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  if [ -x "$sanitizer" ]; then
    for tool in memcheck racecheck initcheck; do
      cases=$checked && [ "$tool" = racecheck ] && cases=$rows
      check "$tool" "$sanitizer" --tool "$tool" --error-exitcode 1 "$(program op_cases_test)" --gtest_brief=1 \
        --gtest_filter="$cases"
    done
    for tool in memcheck racecheck; do
      check "decode_$tool" "$sanitizer" --tool "$tool" --error-exitcode 1 "$(program decode_attention_test)" --gtest_brief=1 \
        --gtest_filter="*cuda_*"
    done
  else
    failed+=(sanitize) && echo "sanitize FAILED: there is no compute-sanitizer in PATH or /usr/local/cuda/bin"
  fi
elif wants sanitize; then
  echo "== sanitize: left out, it checks CUDA kernels and the device is $device"
  left_out+=(sanitize)
fi

# The demo's training for 200 steps: the same job on the CPU and on the GPU.
curve() {
  local name=$1
  shift
  local data=$root/examples/lexicon steps=200 && [ -n "$small" ] && steps=3
  check "curve-$name" "$wick" train --model "$data/base" --data "$data/devil/train.jsonl" \
    --output-dir "$out/curve-$name" --overwrite-output-dir --target-modules all-linear --r 16 --lora-alpha 32 \
    --lora-dropout 0.1 --packing --batch-size 4 --max-seq-length 256 --max-steps "$steps" --learning-rate 1e-3 \
    --lr-scheduler-type cosine --warmup-steps 10 --logging-steps 1 "$@"
}
if wants curves; then
  curve cpu-f32 --dtype f32
  curve f32 --device "$device" --dtype f32
  curve bf16 --device "$device" --dtype bf16 --compute-dtype bf16
  check curves python3 "$here/curves.py" "$out" "cpu f32=$out/curve-cpu-f32/metrics.jsonl" \
    "${device%%:*} f32=$out/curve-f32/metrics.jsonl" "${device%%:*} bf16=$out/curve-bf16/metrics.jsonl"
fi

# model_case <case> <flags...>: one line of `wick bench`, with the shape's name in it.
model_case() {
  local case=$1 shape=${1#*/} line
  shift
  echo "== $case: wick bench $*"
  if line=$("$wick" bench --device "$device" --json "$@" 2>"$out/bench.log"); then
    echo "{\"shape\": \"$shape\", ${line#\{}" | tee -a "$out/ours-models.jsonl"
  else
    failed+=("$case") && cat "$out/bench.log"
    echo "{\"case\": \"$case\", \"skipped\": \"wick bench failed\"}" >>"$out/ours-models.jsonl"
  fi
}
if wants ours; then
  echo "== ops"
  "$(program wick_op_timings)" --device "$device" $small 2>&1 | tee "$out/ours-ops.jsonl" || failed+=(ops)
  for model in "${model_list[@]}"; do
    batch=8 && [ "$model" = qwen2.5-7b ] && batch=4
    size=(--batch-size "$batch" --length 1024 --steps 8)
    [ -n "$small" ] && size=(--batch-size 1 --length 8 --steps 1)
    model_case "train/$model" --shape "$model" --parts train --rank 16 "${size[@]}"
  done
  last=${models##*,}
  size=(--length 512 --max-new-tokens 256) && [ -n "$small" ] && size=(--length 8 --max-new-tokens 4)
  model_case "decode/$last" --shape "$last" --parts generate "${size[@]}"
fi
if wants torch; then
  echo "== torch"
  status=0
  python3 "$here/peers.py" --models "${model_list[@]}" --budget "$budget" $small \
    --only ${peer_case_list[@]+"${peer_case_list[@]}"} | tee "$out/peers.jsonl" || status=$?
  # 3: no torch, or no GPU for it, which it has said.
  case "$status" in
    0) ;;
    3) left_out+=(torch) ;;
    *) failed+=(torch) ;;
  esac
fi

python3 - "$out/run.json" "$device" "$described" "$parts" "${failed[*]-}" "${left_out[*]-}" \
  "$(git -C "$root" describe --always --dirty 2>/dev/null || true)" <<'EOF'
import datetime, json, platform, subprocess, sys
path, device, described, parts, failed, left_out, commit = sys.argv[1:]
def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""
run = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit,
       "device": described or device, "driver": first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
       "host": f"{platform.system()} {platform.machine()}", "parts": parts.split(","), "failed": failed.split(), "left_out": left_out.split()}
json.dump({key: value for key, value in run.items() if value != ""}, open(path, "w"))
EOF
echo
python3 "$here/table.py" "$out"
[ "${#failed[@]}" -eq 0 ] || exit 1
