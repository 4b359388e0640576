"""The Llama of ours_model.cpp in PyTorch: a LoRA training step, and one decoded token. Attention is composed of ops,
since PyTorch 1.13 has no fused one for the CPU."""

import math

from cases import MODEL_SIZES

TOKENS, MODEL_SCALE, LORA_SCALE, LEARNING_RATE, CHECKED_STEPS, EPS = 7, 0.05, 2.0, 1e-3, 4, 1e-5
LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")  # fmt: skip


def seed_of(name):
    value = 2166136261
    for byte in name.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value & 0xFFFFF


class Llama:
    def __init__(self, peer, dtype, sizes, scale_of_b):
        self.torch = peer.torch
        self.peer = peer
        self.size = dict(zip(MODEL_SIZES, sizes))
        self.dtype = self.torch.bfloat16 if dtype == "bf16" else self.torch.float32
        self.head = self.size["hidden"] // self.size["heads"]
        hidden, vocabulary = self.size["hidden"], self.size["vocabulary"]
        self.embedding = self.weight("model.embed_tokens.weight", vocabulary, hidden)
        self.output = self.weight("lm_head.weight", vocabulary, hidden)
        self.norm = self.gain()
        self.layers = [self.layer(f"model.layers.{i}.", scale_of_b) for i in range(self.size["layers"])]
        self.adapter = [tensor for layer in self.layers for name in LINEARS for tensor in layer[name][1:]]
        self.rotary = self.make_rotary()

    def weight(self, name, *shape):
        return self.peer.values(shape, seed_of(name), MODEL_SCALE).to(self.dtype)

    def gain(self):
        return self.torch.ones(self.size["hidden"], dtype=self.dtype)

    def layer(self, prefix, scale_of_b):
        hidden, intermediate, rank = self.size["hidden"], self.size["intermediate"], self.size["rank"]
        keys = self.head * self.size["key_heads"]
        shapes = [(hidden, hidden), (keys, hidden), (keys, hidden), (hidden, hidden),
                  (intermediate, hidden), (intermediate, hidden), (hidden, intermediate)]  # fmt: skip
        layer = {name: self.gain() for name in ("input_layernorm", "post_attention_layernorm")}
        for name, (n, k) in zip(LINEARS, shapes):
            path = prefix + name
            a = self.peer.values((rank, k), seed_of(path + ".lora_A"), MODEL_SCALE)
            b = self.peer.values((n, rank), seed_of(path + ".lora_B"), scale_of_b)
            layer[name] = (self.weight(path + ".weight", n, k), a, b)
        return layer

    def make_rotary(self):
        torch = self.torch
        half = torch.arange(0, self.head, 2, dtype=torch.float32) / self.head
        angles = torch.arange(self.size["length"] + 1, dtype=torch.float32)[:, None] / 10000.0**half
        angles = torch.cat([angles, angles], -1)[:, None]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    def linear(self, x, parts):
        weight, a, b = parts
        low = x if x.dtype == a.dtype else x.float()
        delta = (LORA_SCALE * ((low @ a.t()) @ b.t())).to(x.dtype)
        return x @ weight.t() + delta

    def rms_norm(self, x, gain):
        wide = x.float()
        return (wide * self.torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS)).to(x.dtype) * gain

    def rotate(self, x, first):
        cos, sin = (part[first : first + x.shape[1]] for part in self.rotary)
        low, high = x.chunk(2, -1)
        return x * cos + self.torch.cat([-high, low], -1) * sin

    def attend(self, q, k, v, is_causal):
        """q [B,T,H,D]; k and v [B,S,Hkv,D]."""
        repeats = self.size["heads"] // self.size["key_heads"]
        if repeats > 1:
            k, v = k.repeat_interleave(repeats, 2), v.repeat_interleave(repeats, 2)
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        scores = (q @ k.transpose(2, 3)) / math.sqrt(self.head)
        if is_causal:
            length = scores.shape[-1]
            hidden = self.torch.ones(length, length, dtype=self.torch.bool).triu_(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        weights = self.torch.softmax(scores.float(), -1).to(v.dtype)
        return (weights @ v).transpose(1, 2).flatten(2)

    def hidden(self, ids, cache=None, first=0):
        """`cache` holds (k, v) for each layer, with room; None attends within ids alone."""
        x = self.embedding[ids]
        heads = lambda part: part.unflatten(-1, (-1, self.head))  # noqa: E731
        for number, layer in enumerate(self.layers):
            h = self.rms_norm(x, layer["input_layernorm"])
            q, k, v = (heads(self.linear(h, layer[name])) for name in LINEARS[:3])
            q, k = self.rotate(q, first), self.rotate(k, first)
            if cache is not None:
                end = first + ids.shape[1]
                cache[number][0][:, first:end] = k
                cache[number][1][:, first:end] = v
                k, v = (part[:, :end] for part in cache[number])
            x = x + self.linear(self.attend(q, k, v, ids.shape[1] > 1), layer[LINEARS[3]])
            h = self.rms_norm(x, layer["post_attention_layernorm"])
            gated = self.torch.nn.functional.silu(self.linear(h, layer[LINEARS[4]])) * self.linear(h, layer[LINEARS[5]])
            x = x + self.linear(gated, layer[LINEARS[6]])
        return self.rms_norm(x, self.norm)

    def tokens(self):
        batch, length, vocabulary = (self.size[name] for name in ("batch", "length", "vocabulary"))
        return ((self.peer.values((batch, length), TOKENS) + 1) / 2 * vocabulary).long()


def train(peer, dtype, sizes):
    torch = peer.torch
    llama = Llama(peer, dtype, sizes, 0.0)
    for tensor in llama.adapter:
        tensor.requires_grad_()
    optimizer = torch.optim.AdamW(llama.adapter, lr=LEARNING_RATE, weight_decay=0.0, foreach=True)
    ids = llama.tokens()

    def step():
        optimizer.zero_grad(set_to_none=True)
        logits = (llama.hidden(ids)[:, :-1] @ llama.output.t()).float()
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        return loss

    return step, lambda: [torch.tensor([[step().item()] for _ in range(CHECKED_STEPS)])]


def decode(peer, dtype, sizes):
    torch = peer.torch
    llama = Llama(peer, dtype, sizes, MODEL_SCALE)
    ids = llama.tokens()
    batch, length = ids.shape
    shape = (batch, length + 1, llama.size["key_heads"], llama.head)
    cache = [(torch.zeros(shape, dtype=llama.dtype), torch.zeros(shape, dtype=llama.dtype)) for _ in llama.layers]
    with torch.no_grad():
        llama.hidden(ids, cache)

    def call():
        with torch.no_grad():
            return (llama.hidden(ids[:, :1], cache, length) @ llama.output.t()).float()[:, 0]

    return call, lambda: [call()]
