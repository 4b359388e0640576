"""What the tests of the program share: running it, a tiny model, small data."""

import atexit
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
LEXICON = ROOT / "examples" / "lexicon"
PROGRAM = os.environ.get("WICK_PROGRAM", str(ROOT / "build" / "dev" / "apps" / "wick" / "wick"))
ENVIRONMENT = {**os.environ, "WICK_NUM_THREADS": "1"}
TIMEOUT_S = 120  # of a hung program; nothing here is timed

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 4096, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "hidden_act": "silu", "max_position_embeddings": 256, "rope_theta": 10000.0, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "initializer_range": 0.02, "bos_token_id": 0, "eos_token_id": 0,
    "torch_dtype": "bfloat16",
}

SHARED = pathlib.Path(tempfile.mkdtemp(prefix="wick-program-"))
atexit.register(shutil.rmtree, SHARED, ignore_errors=True)


def run(*arguments, stdin="", **options):
    """The finished program, output as text."""
    command = [PROGRAM, *map(str, arguments)]
    options = {"capture_output": True, "env": ENVIRONMENT, "timeout": TIMEOUT_S, "text": True, **options}
    return subprocess.run(command, input=stdin, check=False, **options)


def records():
    return [json.loads(line) for line in (LEXICON / "devil" / "train.jsonl").read_text("utf-8").splitlines()]


def write_lines(path, items):
    path.write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")


def seeds():
    """A folder with the description of a tiny model and a tokenizer, and a small data set in data/."""
    folder = SHARED / "seed"
    if folder.exists():
        return folder
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(LEXICON / "base" / name, folder / name)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "data").mkdir()
    lines = records()
    write_lines(folder / "data" / "train.jsonl", lines[:24])
    write_lines(folder / "data" / "valid.jsonl", lines[24:30])
    return folder


def tiny_model():
    """A model that the program itself made, with its tokenizer."""
    folder = SHARED / "model"
    if not folder.exists():
        result = run("train", "--init-from-config", seeds() / "config.json", "--fine-tune-type", "full",
                     "--data", seeds() / "data" / "train.jsonl", "--max-steps", 2, "--max-seq-length", 32,
                     "--output-dir", folder, "--lr", "1e-3")
        if result.returncode != 0:
            raise AssertionError(f"the tiny model could not be made: {result.stderr}")
    return folder


def chat_model():
    """As tiny_model(), with the tokens of ChatML, trained on conversations."""
    folder = SHARED / "chat-model"
    if folder.exists():
        return folder
    source = SHARED / "chat-seed"
    shutil.copytree(seeds(), source)
    config = json.loads((source / "config.json").read_text())
    tokenizer = json.loads((source / "tokenizer.json").read_text("utf-8"))
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for i, token in enumerate(("<|im_start|>", "<|im_end|>")):
        tokenizer["added_tokens"].append({"id": config["vocab_size"] + i, "content": token, **plain})
    config["vocab_size"] += 8
    (source / "config.json").write_text(json.dumps(config))
    (source / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    turns = [{"messages": [{"role": "user", "content": r["prompt"]}, {"role": "assistant", "content": r["completion"]}]}
             for r in records()[:12]]
    write_lines(source / "chats.jsonl", turns)
    result = run("train", "--init-from-config", source / "config.json", "--fine-tune-type", "full", "--data",
                 source / "chats.jsonl", "--chat-template", "chatml", "--max-steps", 2, "--max-seq-length", 48,
                 "--output-dir", folder, "--sample-prompt", "Love")
    if result.returncode != 0:
        raise AssertionError(f"the chat model could not be made: {result.stderr}")
    return folder


def tiny_adapter():
    folder = SHARED / "adapter"
    if not folder.exists():
        result = run("train", "--model", tiny_model(), "--data", seeds() / "data", "--max-steps", 2,
                     "--max-seq-length", 32, "--output-dir", folder, "--r", 2, "--lr", "1e-2")
        if result.returncode != 0:
            raise AssertionError(f"the tiny adapter could not be made: {result.stderr}")
    return folder


def read_safetensors(path):
    """Names with dtype, shape and bytes, by the rules of the format."""
    content = pathlib.Path(path).read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    header.pop("__metadata__", None)
    data = content[8 + size :]
    return {name: (info["dtype"], info["shape"], data[slice(*info["data_offsets"])]) for name, info in header.items()}


class ProgramTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-program-", ignore_cleanup_errors=True)
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def wick(self, *arguments, code=0, **options):
        result = run(*arguments, **options)
        if code is not None:
            self.assertEqual(result.returncode, code, f"{arguments}\n{result.stdout}\n{result.stderr}")
        return result

    def refused(self, code, *arguments, says=(), **options):
        """The program ends with `code`, and its message holds every word of `says`."""
        result = self.wick(*arguments, code=code, **options)
        self.assertIn("wick: ", result.stderr)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, result.stderr)
        return result

    def train(self, *arguments, **options):
        """A short LoRA run on the tiny model into self.folder/out."""
        return self.wick("train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir",
                         self.folder / "out", "--max-seq-length", 32, "--r", 2, *arguments, **options)

    def json_lines(self, result):
        return [json.loads(line) for line in result.stdout.splitlines()]
