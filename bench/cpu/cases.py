"""The cases of the CPU benchmark: their sizes, their floors, and how closely results must agree."""

import dataclasses

LLAMA_SMALL = (256, 688, 4, 4, 4, 2048, 4, 256, 8)
# The fine-tuning of ./dev demo: examples/lexicon/base with its flags, but dropout, packing and weights in bf16.
LLAMA_DEMO = (192, 512, 8, 6, 2, 4096, 4, 256, 16)
LLAMA_DECODE = (768, 2048, 12, 12, 4, 32000, 1, 128, 8)
MODEL_SIZES = ("hidden", "intermediate", "layers", "heads", "key_heads", "vocabulary", "batch", "length", "rank")

# Sums of a row (see probes() in case.cpp) may differ by this part of their root mean square. bf16 rounds the result of
# an op once, and a model's activations again and again.
TOLERANCE = {"f32": 2e-4, "bf16": 1e-2}
MODEL_TOLERANCE = {"f32": 1e-3, "bf16": 0.1}
LOSS_TOLERANCE = {"f32": 1e-4, "bf16": 1e-2}


@dataclasses.dataclass(frozen=True)
class Case:
    op: str
    dtype: str
    sizes: tuple

    @property
    def name(self):
        return " ".join([self.op, self.dtype, *map(str, self.sizes)])

    @property
    def label(self):
        """For people."""
        if self.is_model:
            model = self.model
            shape = f"{model['layers']}x{model['hidden']}"
            tokens = f"{model['batch']}x{model['length']}" if self.op == "train" else f"after {model['length']}"
            return f"{self.op} {self.dtype} Llama {shape}, {tokens}, r {model['rank']}"
        sizes = "×".join(map(str, self.sizes[:3]))
        return f"{self.op} {self.dtype} {sizes}" + (f" r {self.sizes[3]}" if len(self.sizes) > 3 else "")

    @property
    def is_model(self):
        return self.op in ("train", "decode")

    @property
    def model(self):
        return dict(zip(MODEL_SIZES, self.sizes))

    @property
    def element(self):
        return 4 if self.dtype == "f32" else 2

    @property
    def tolerance(self):
        if self.op == "train":
            return LOSS_TOLERANCE[self.dtype]
        return (MODEL_TOLERANCE if self.is_model else TOLERANCE)[self.dtype]

    def work(self):
        """(FLOP, bytes that must be moved, whether they are mostly read): what no implementation can do without."""
        return WORK[self.op](self)


def weights_of(model):
    """Elements of all linear layers with the output head, and of the adapter on all but the head."""
    hidden, intermediate, rank = model["hidden"], model["intermediate"], model["rank"]
    keys = hidden * model["key_heads"] // model["heads"]
    shapes = [(hidden, hidden), (keys, hidden), (keys, hidden), (hidden, hidden),
              (intermediate, hidden), (intermediate, hidden), (hidden, intermediate)]  # fmt: skip
    linears = model["layers"] * sum(n * k for n, k in shapes)
    adapter = model["layers"] * sum(rank * (n + k) for n, k in shapes)
    return linears + hidden * model["vocabulary"], adapter


def matmul_work(case):
    M, K, N = case.sizes
    return 2 * M * K * N, case.element * (M * K + N * K + M * N), True


def lora_delta_work(case):
    M, K, N, r = case.sizes
    return 2 * M * r * (K + N), case.element * (M * K + M * N + r * (K + N)), True


def lora_linear_work(case):
    M, K, N, r = case.sizes
    return 2 * M * K * N + 2 * M * r * (K + N), case.element * (M * K + N * K + M * N + r * (K + N)), True


def lora_grad_work(case):
    """Forward; dy B, its product with A, and the gradients of A and B; the product of dy with W."""
    M, K, N, r = case.sizes
    flops = 4 * M * K * N + 6 * M * r * (K + N)
    return flops, case.element * (2 * M * K + 2 * N * K + 2 * M * N + 2 * r * (K + N)), True


def rows_work(case):
    """Read once, written once. The exponentials of a softmax are not counted."""
    rows, columns = case.sizes
    return 0, 2 * case.element * rows * columns, False


def train_work(case):
    """Forward and the gradient of the inputs for frozen weights, three products for the adapter's; causal attention."""
    model = case.model
    tokens = model["batch"] * model["length"]
    weights, adapter = weights_of(model)
    attention = 2 * model["length"] * model["hidden"] * model["layers"]
    return tokens * (4 * weights + 6 * adapter + 3 * attention), case.element * weights, True


def decode_work(case):
    """Every weight is read for a token; the adapter's are f32. Keys and values of the prompt as well."""
    model = case.model
    weights, adapter = weights_of(model)
    keys = model["hidden"] * model["key_heads"] // model["heads"]
    cache = 2 * model["layers"] * model["length"] * keys
    return 2 * model["batch"] * (weights + adapter), case.element * (weights + cache) + 4 * adapter, True


WORK = {"matmul": matmul_work, "lora_delta": lora_delta_work, "lora_linear": lora_linear_work,
        "lora_grad": lora_grad_work, "softmax": rows_work, "rms_norm": rows_work, "train": train_work,
        "decode": decode_work}  # fmt: skip

CASES = tuple(
    Case(op, dtype, sizes)
    for op, dtype, many in (
        ("lora_linear", "f32", [(128, 1024, 1024, 8), (128, 2048, 2048, 8), (512, 1024, 1024, 16)]),
        ("lora_delta", "f32", [(128, 512, 512, 8), (128, 1024, 1024, 8), (128, 2048, 2048, 8)]),
        ("lora_grad", "f32", [(512, 1024, 1024, 8), (512, 2048, 2048, 16)]),
        ("softmax", "f32", [(1024, 1024), (64, 32000), (8, 151936)]),
        ("rms_norm", "f32", [(1024, 1024), (512, 2048)]),
        ("matmul", "f32", [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024)]),
        ("matmul", "bf16", [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024)]),
        ("train", "f32", [LLAMA_SMALL, LLAMA_DEMO]),
        ("train", "bf16", [LLAMA_SMALL]),
        ("decode", "f32", [LLAMA_DECODE]),
        ("decode", "bf16", [LLAMA_DECODE]),
    )
    for sizes in many
)


def chosen(words):
    """The cases whose names begin with one of the words; all without words."""
    return [case for case in CASES if not words or any(case.name.startswith(word) for word in words)]
