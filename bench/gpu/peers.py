#!/usr/bin/env python3
"""Times what PyTorch and PEFT give for the cases that bench/gpu/run.sh times of Wick; prints a JSON object a line.

Every line has a "case" and a "peer": eager, compile (torch.compile) or graph (captured in a CUDA graph). Ops carry "us",
the median by CUDA events; training carries tokens_per_second, peak_memory_bytes and first_step_seconds, which holds the
compilation. A case that was not run has "skipped" with the reason: a package that is missing, memory, or the time
budget, which is looked at before a case begins.
"""

import argparse
import gc
import json
import statistics
import sys
import time

LINEAR_SHAPES = ((8192, 4096, 4096, 16), (8192, 4096, 14336, 16), (16384, 896, 4864, 16), (16384, 2048, 2048, 8))
MODELS = {  # hidden, intermediate, layers, heads, key heads, vocabulary, tied; batch, length
    "qwen2.5-0.5b": (896, 4864, 24, 14, 2, 151936, True, 8, 1024),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, 151936, True, 8, 1024),
    "qwen2.5-7b": (3584, 18944, 28, 28, 4, 152064, False, 4, 1024),
}
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TIMED_STEPS = 8
DECODE_PROMPT, DECODE_TOKENS = 512, 256


class Bench:
    """Prints results, and knows what is wanted and how much time is left."""

    def __init__(self, only, seconds, divisor):
        self.only = only
        self.end = time.monotonic() + seconds
        self.divisor = divisor

    def sized(self, size):
        return max(size // self.divisor, 8)

    def wants(self, case):
        return not self.only or any(case.startswith(prefix) for prefix in self.only)

    def run(self, case, peer, work):
        """Prints what `work() -> dict` measures."""
        if not self.wants(case):
            return
        import torch

        try:
            result = {"skipped": "the time budget is spent"} if time.monotonic() > self.end else work()
        except torch.cuda.OutOfMemoryError as error:
            result = {"skipped": str(error).splitlines()[0]}
        print(json.dumps({"case": case, "peer": peer, **result}), flush=True)
        gc.collect()
        torch.cuda.empty_cache()


def event_us(work, groups=9, group_us=20000):
    """The median time of a call over groups of calls, each group about group_us long."""
    import torch

    def group(calls):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) * 1000 / calls

    group(3)
    calls = min(max(int(group_us / group(1)), 1), 1000)
    return statistics.median(group(calls) for _ in range(groups))


def graph_us(work, calls=50):
    """The time of one call among many in a captured graph."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(calls):
            work()
    return event_us(graph.replay) / calls


def step_of(forward, leaves, dy):
    """A call that runs forward and backward and drops the gradients."""

    def step():
        forward().backward(dy)
        for leaf in leaves:
            leaf.grad = None

    return step


def normal(*shape, dtype):
    import torch

    return torch.randn(*shape, device="cuda", dtype=torch.float32).mul_(0.05).to(dtype)


def compiled(function):
    """For the one shape that it is called with: no kernels for any shape."""
    import torch

    return torch.compile(function, dynamic=False)


def time_machine(bench):
    import torch

    bf16 = torch.bfloat16
    x = normal(bench.sized(16384), bench.sized(4096), dtype=bf16)
    out = torch.empty_like(x)
    bench.run("machine/copy", "eager", lambda: {"us": event_us(lambda: out.copy_(x))})
    side = bench.sized(8192)
    a = normal(side, side, dtype=bf16)
    bench.run("machine/product", "eager", lambda: {"us": event_us(lambda: a @ a)})


def time_rows(bench):
    import torch
    import torch.nn.functional as F

    bf16 = torch.bfloat16
    x, dy = (normal(bench.sized(16384), bench.sized(4096), dtype=bf16) for _ in range(2))
    weight = torch.ones(x.shape[1], device="cuda", dtype=bf16)

    def softmax(value):
        return F.softmax(value, -1)

    def rms_norm(value, scale):
        return F.rms_norm(value, (value.shape[-1],), scale, 1e-6)

    for peer in ("eager", "compile"):
        f, g = (softmax, rms_norm) if peer == "eager" else (compiled(softmax), compiled(rms_norm))

        def forward(call, *arguments):
            with torch.no_grad():
                return {"us": event_us(lambda: call(*arguments))}

        def both(call):
            leaves = [x.detach().requires_grad_(), weight.detach().requires_grad_()]
            return {"us": event_us(step_of(lambda: call(*leaves), leaves, dy))}

        bench.run("softmax_f/bf16", peer, lambda: forward(f, x))
        bench.run("rms_norm_f/bf16", peer, lambda: forward(g, x, weight))
        bench.run("rms_norm_fb/bf16", peer, lambda: both(g))


def time_linear(bench, M, K, N, r):
    import torch
    import torch.nn.functional as F

    name = f"{M}x{K}x{N}_r{r}"
    if not any(bench.wants(f"{kind}/{name}") for kind in ("frozen_f", "frozen_fb", "lora_f", "lora_fb")):
        return
    torch.compiler.reset()
    bf16 = torch.bfloat16
    m, k, n = bench.sized(M), bench.sized(K), bench.sized(N)
    x, w, dy = normal(m, k, dtype=bf16), normal(n, k, dtype=bf16), normal(m, n, dtype=bf16)
    a, b = normal(r, k, dtype=bf16), normal(n, r, dtype=bf16)

    def frozen(value):
        return F.linear(value, w)

    def lora(value, down, up):
        return F.linear(value, w) + 2 * F.linear(F.linear(value, down), up)

    def measure(call, arguments, backward):
        if not backward:
            with torch.no_grad():
                return {"us": event_us(lambda: call(*arguments))}
        leaves = [argument.detach().requires_grad_() for argument in arguments]
        return {"us": event_us(step_of(lambda: call(*leaves), leaves, dy))}

    for backward in (False, True):
        suffix = "fb" if backward else "f"
        bench.run(f"frozen_{suffix}/{name}", "eager", lambda: measure(frozen, (x,), backward))
        bench.run(f"lora_{suffix}/{name}", "eager", lambda: measure(lora, (x, a, b), backward))
        bench.run(f"lora_{suffix}/{name}", "compile", lambda: measure(compiled(lora), (x, a, b), backward))


def time_small(bench):
    import torch
    import torch.nn.functional as F

    f32 = torch.float32
    x, weight = normal(128, 1024, dtype=f32), torch.ones(1024, device="cuda")
    with torch.no_grad():
        bench.run("graph/softmax_f32", "graph", lambda: {"us": graph_us(lambda: F.softmax(x, -1))})
        bench.run("graph/rms_norm_f32", "graph", lambda: {"us": graph_us(lambda: F.rms_norm(x, (1024,), weight, 1e-6))})
        for side in (512, 1024, 2048):
            value, down, up = normal(128, side, dtype=f32), normal(8, side, dtype=f32), normal(side, 8, dtype=f32)
            bench.run(f"graph/lora_delta_f32_{side}", "graph",
                      lambda: {"us": graph_us(lambda: F.linear(F.linear(value, down), up))})


def make_model(name, attention="sdpa"):
    """A model of this shape with random weights in bf16, on the GPU."""
    import torch
    import transformers

    hidden, intermediate, layers, heads, key_heads, vocabulary, tied, _, _ = MODELS[name]
    config = transformers.Qwen2Config(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=key_heads, vocab_size=vocabulary, tie_word_embeddings=tied, max_position_embeddings=131072,
        attn_implementation=attention)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            return transformers.Qwen2ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)


def train(name, compiles):
    import peft
    import torch

    batch, length = MODELS[name][-2:]
    torch.compiler.reset()
    torch.cuda.empty_cache()
    model = peft.get_peft_model(make_model(name), peft.LoraConfig(r=16, lora_alpha=32, target_modules=LINEARS))
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(0, MODELS[name][5], (batch, length), device="cuda")
    call = torch.compile(model, dynamic=False) if compiles else model
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()

    def step():
        begin = time.perf_counter()
        call(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    first = step()
    for _ in range(2):
        step()
    seconds = statistics.median(step() for _ in range(TIMED_STEPS))
    return {"tokens_per_second": batch * length / seconds, "step_seconds": seconds, "first_step_seconds": first,
            "peak_memory_bytes": torch.cuda.max_memory_allocated()}


def decode(name):
    import torch

    torch.cuda.empty_cache()
    model = make_model(name).eval()
    ids = torch.randint(0, MODELS[name][5], (1, DECODE_PROMPT), device="cuda")

    def seconds_of(count):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        with torch.no_grad():
            model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count,
                           do_sample=False, pad_token_id=0)
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds_of(2)
    prefill = seconds_of(1)
    return {"tokens_per_second": (DECODE_TOKENS - 1) / (seconds_of(DECODE_TOKENS) - prefill)}


def missing_packages():
    missing = []
    for name in ("transformers", "peft"):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    return missing


def time_models(bench, names):
    missing = missing_packages()

    def or_missing(work):
        return (lambda: {"skipped": "python3 has no " + ", ".join(missing)}) if missing else work

    for name in names:
        for peer in ("eager", "compile"):
            bench.run(f"train/{name}", peer, or_missing(lambda: train(name, peer == "compile")))
    bench.run("decode/qwen2.5-7b", "eager", or_missing(lambda: decode("qwen2.5-7b")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="run only cases whose names begin so, for example train lora_f")
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--budget", type=float, default=300, help="seconds after which no case begins")
    parser.add_argument("--small", action="store_true", help="divide the sizes of ops by 64")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("peers.py: python3 has no torch", file=sys.stderr)
        return 3
    if not torch.cuda.is_available():
        print("peers.py: torch sees no GPU", file=sys.stderr)
        return 3
    torch.manual_seed(0)
    bench = Bench(options.only, options.budget, 64 if options.small else 1)
    time_machine(bench)
    time_rows(bench)
    for shape in LINEAR_SHAPES:
        time_linear(bench, *shape)
    time_small(bench)
    time_models(bench, options.models)
    return 0


if __name__ == "__main__":
    sys.exit(main())
