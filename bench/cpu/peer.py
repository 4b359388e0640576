#!/usr/bin/env python3
"""PyTorch or NumPy as an engine of the CPU benchmark: peer.py torch|numpy

Speaks the lines that main.cpp describes, and makes the same inputs.
"""

import json
import os
import statistics
import sys
import time

X, W, A, B, DY, GAIN, TOKENS, PROBE = 1, 2, 3, 4, 5, 6, 7, 100
WEIGHT_SCALE, LOGIT_SCALE, LORA_SCALE, EPS = 0.5, 4.0, 2.0, 1e-5
PROBES = 8


def hashed(index, seed):
    """input_value() of case.cpp; `index` is an array of 64-bit integers."""
    low = 0xFFFFFFFF
    h = (index * 2654435761 + seed * 2654435769) & low
    h = h ^ (h >> 15)
    h = (h * 2246822519) & low
    h = h ^ (h >> 13)
    return h >> 8


class Numpy:
    def __init__(self):
        import numpy

        self.np = numpy
        self.version = numpy.__version__

    def values(self, shape, seed, scale=1.0):
        count = 1
        for size in shape:
            count *= size
        mixed = hashed(self.np.arange(count, dtype=self.np.int64), seed)
        return ((mixed.astype(self.np.float32) / 8388608 - 1) * self.np.float32(scale)).reshape(shape)

    def prepare(self, op, dtype, sizes):
        """(call, results) or None; results() answers arrays of two dimensions."""
        if dtype != "f32" or op in ("lora_grad", "train", "decode"):
            return None
        if op in ("softmax", "rms_norm"):
            return self.rows(op, sizes)
        M, K, N = sizes[:3]
        x, w = self.values((M, K), X), self.values((N, K), W, WEIGHT_SCALE)
        if op == "matmul":
            return self.both(lambda: x @ w.T)
        r = sizes[3]
        a, b = self.values((r, K), A, WEIGHT_SCALE), self.values((N, r), B, WEIGHT_SCALE)
        scale = self.np.float32(LORA_SCALE)
        if op == "lora_delta":
            return self.both(lambda: (scale * (x @ a.T)) @ b.T)

        def linear():
            y = x @ w.T
            y += (scale * (x @ a.T)) @ b.T
            return y

        return self.both(linear)

    def rows(self, op, sizes):
        np = self.np
        x = self.values(sizes, X, LOGIT_SCALE if op == "softmax" else 1.0)
        gain = self.values(sizes[1:], GAIN)

        def softmax():
            y = np.exp(x - x.max(-1, keepdims=True))
            y /= y.sum(-1, keepdims=True)
            return y

        def rms_norm():
            y = x * (1 / np.sqrt(np.einsum("ij,ij->i", x, x)[:, None] / sizes[1] + np.float32(EPS)))
            y *= gain
            return y

        return self.both(softmax if op == "softmax" else rms_norm)

    @staticmethod
    def both(call):
        return call, lambda: [call()]

    def probes(self, result):
        result = result.astype(self.np.float64)
        factors = [self.values((result.shape[1],), PROBE + i).astype(self.np.float64) for i in range(PROBES)]
        return [float(value) for factor in factors for value in result @ factor]


class Torch:
    def __init__(self):
        import torch

        self.torch = torch
        self.version = torch.__version__
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())

    def values(self, shape, seed, scale=1.0, dtype="f32"):
        torch = self.torch
        count = 1
        for size in shape:
            count *= size
        mixed = hashed(torch.arange(count, dtype=torch.int64), seed)
        result = ((mixed.to(torch.float32) / 8388608 - 1) * scale).reshape(shape)
        return result.to(torch.bfloat16) if dtype == "bf16" else result

    def prepare(self, op, dtype, sizes):
        if op in ("train", "decode"):
            import torch_model

            return getattr(torch_model, op)(self, dtype, sizes)
        if op in ("softmax", "rms_norm"):
            return self.rows(op, dtype, sizes)
        M, K, N = sizes[:3]
        x, w = self.values((M, K), X, 1.0, dtype), self.values((N, K), W, WEIGHT_SCALE, dtype)
        if op == "matmul":
            return self.forward(lambda: x @ w.t())
        r = sizes[3]
        a, b = self.values((r, K), A, WEIGHT_SCALE, dtype), self.values((N, r), B, WEIGHT_SCALE, dtype)
        if op == "lora_delta":
            return self.forward(lambda: (x @ a.t()).mul_(LORA_SCALE) @ b.t())
        if op == "lora_linear":
            return self.forward(lambda: (x @ w.t()).addmm_(x @ a.t(), b.t(), alpha=LORA_SCALE))
        if op == "lora_grad":
            return self.gradients(x, w, a, b, self.values((M, N), DY, 1.0, dtype))
        return None

    def rows(self, op, dtype, sizes):
        torch = self.torch
        x = self.values(sizes, X, LOGIT_SCALE if op == "softmax" else 1.0, dtype)
        gain = self.values(sizes[1:], GAIN, 1.0, dtype)
        if op == "softmax":
            return self.forward(lambda: torch.softmax(x, -1))
        return self.forward(lambda: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * gain)

    def gradients(self, x, w, a, b, dy):
        leaves = [x.requires_grad_(), a.requires_grad_(), b.requires_grad_()]

        def step():
            y = x @ w.t() + LORA_SCALE * ((x @ a.t()) @ b.t())
            y.backward(dy)
            return y

        def clear():
            for leaf in leaves:
                leaf.grad = None

        def call():
            step()
            clear()

        def results():
            y = step()
            found = [y.detach(), *(leaf.grad for leaf in leaves)]
            clear()
            return found

        return call, results

    def forward(self, function):
        def call():
            with self.torch.no_grad():
                return function()

        return call, lambda: [call()]

    def probes(self, result):
        result = result.detach().double()
        factors = [self.values((result.shape[1],), PROBE + i).double() for i in range(PROBES)]
        return [value for factor in factors for value in (result @ factor).tolist()]


def timed(call, warm_ms, run_ms, least):
    clock = time.perf_counter_ns
    begin = clock()
    call()
    while clock() - begin < warm_ms * 1e6:
        call()
    samples = []
    begin = clock()
    while len(samples) < least or clock() - begin < run_ms * 1e6:
        before = clock()
        call()
        samples.append((clock() - before) / 1e3)
    return {"us": statistics.median(samples), "min_us": min(samples), "max_us": max(samples), "calls": len(samples)}


def answer(engine, works, words):
    command, numbers = words[0], words[1:]
    if command == "time":
        numbers, (warm_ms, run_ms, least) = numbers[:-3], map(float, numbers[-3:])
    elif command != "check":
        return {"error": f"unknown command: {command}"}
    key = tuple(numbers)
    if key not in works:
        works[key] = engine.prepare(numbers[0], numbers[1], tuple(map(int, numbers[2:])))
    if works[key] is None:
        return {"unsupported": True}
    call, results = works[key]
    if command == "time":
        return timed(call, warm_ms, run_ms, least)
    return {"probes": [engine.probes(result) for result in results()]}


def main():
    try:
        engine = {"torch": Torch, "numpy": Numpy}[sys.argv[1]]()
    except ImportError as error:
        print(json.dumps({"absent": str(error)}), flush=True)
        return 3
    print(json.dumps({"version": engine.version}), flush=True)
    works = {}
    for line in sys.stdin:
        words = line.split()
        if not words:
            continue
        try:
            result = answer(engine, works, words)
        except Exception as error:  # whatever a library throws belongs to this command alone
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
