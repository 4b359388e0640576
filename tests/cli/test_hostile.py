"""Broken, hostile and missing files: a clear message with file and place, the documented exit code, nothing lost."""

import json
import os
import resource
import shutil
import signal
import struct

from program import FIXTURES, ProgramTest, run, seeds, tiny_adapter, tiny_model

DEEP = "[" * 10000 + "]" * 10000


class BrokenModelTest(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = self.folder / "model"
        shutil.copytree(tiny_model(), self.model, ignore=shutil.ignore_patterns("checkpoint-*"))
        self.weights = self.model / "model.safetensors"

    def generate(self, code, says):
        self.refused(code, "generate", "--model", self.model, "--prompt", "x", "-n", 1, says=says)

    def rewrite_header(self, change):
        content = self.weights.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        text = json.dumps(change(header) or header).encode()
        self.weights.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])

    def test_truncated_weights(self):
        content = self.weights.read_bytes()
        for keep in (0, 4, 8, 100, len(content) // 2, len(content) - 1):
            with self.subTest(keep):
                self.weights.write_bytes(content[:keep])
                self.generate(4, "model.safetensors")

    def test_a_flipped_bit_in_the_header_is_never_a_crash(self):
        content = self.weights.read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        for at in [0, 3, 7, *range(8, 8 + size, max(1, size // 25))]:
            with self.subTest(at):
                broken = bytearray(content)
                broken[at] ^= 0x10
                self.weights.write_bytes(broken)
                result = run("inspect", self.model)
                self.assertIn(result.returncode, (0, 4), result.stderr)
                if result.returncode:
                    self.assertIn("model.safetensors", result.stderr)

    def test_sizes_that_nobody_has(self):
        def huge_shape(header):
            header["model.norm.weight"]["shape"] = [2**60, 2**60]

        def huge_end(header):
            header["model.norm.weight"]["data_offsets"][1] = 2**60

        def negative(header):
            header["model.norm.weight"]["shape"] = [-32]

        for change in (huge_shape, huge_end, negative):
            with self.subTest(change.__name__):
                shutil.copy(tiny_model() / "model.safetensors", self.weights)
                self.rewrite_header(change)
                self.generate(4, ["model.safetensors", "model.norm.weight"])
        self.weights.write_bytes(struct.pack("<Q", 2**60) + b"{}")
        self.generate(4, "model.safetensors")

    def test_a_missing_and_an_extra_tensor(self):
        def rename(header):
            header["model.norm.wight"] = header.pop("model.norm.weight")

        self.rewrite_header(rename)
        self.generate(2, "model.norm.weight")

    def test_a_broken_config(self):
        path = self.model / "config.json"
        good = json.loads(path.read_text())
        for text, code, says in (
            ("{", 4, "byte"),
            (DEEP, 4, "config.json"),
            ('{"a": ' + DEEP + "}", 4, "config.json"),
            (json.dumps({**good, "hidden_size": "wide"}), 4, "hidden_size"),
            (json.dumps({**good, "hidden_size": 2**60}), None, "config.json"),
            (json.dumps({**good, "num_hidden_layers": -1}), 4, "num_hidden_layers"),
            (json.dumps({**good, "model_type": "mamba"}), 4, "mamba"),
            (json.dumps({k: v for k, v in good.items() if k != "vocab_size"}), 4, "vocab_size"),
        ):
            with self.subTest(text[:60]):
                path.write_text(text)
                result = self.wick("generate", "--model", self.model, "--prompt", "x", code=None) if code is None else \
                    self.refused(code, "generate", "--model", self.model, "--prompt", "x", says=says)
                self.assertGreater(result.returncode, 0)
                self.assertIn("wick: ", result.stderr)
        path.unlink()
        self.generate(3, "config.json")

    def test_a_broken_tokenizer(self):
        path = self.model / "tokenizer.json"
        good = json.loads(path.read_text("utf-8"))
        for text, says in (
            ("", "tokenizer.json"),
            (DEEP, "tokenizer.json"),
            (json.dumps({k: v for k, v in good.items() if k != "model"}), "model"),
            (json.dumps({**good, "model": None}), "model"),
            (json.dumps({**good, "model": {"type": "Telepathy"}}), "Telepathy"),
            (json.dumps({**good, "pre_tokenizer": {"type": "Psychic"}}), "Psychic"),
        ):
            with self.subTest(text[:40]):
                path.write_text(text, "utf-8")
                self.refused(4, "tokenize", "--model", self.model, "--text", "x", says=says)
                self.generate(4, says)

    def test_folders_and_files_in_each_others_place(self):
        for command in (("generate", "--prompt", "x"), ("eval", "--data", seeds() / "data"), ("chat",),
                        ("merge", "--adapter", "x", "--output", self.folder / "y"), ("bench",), ("embed", "-t", "x"),
                        ("train", "--data", seeds() / "data", "--output-dir", self.folder / "out")):
            with self.subTest(command[0]):
                self.refused(3, *command, "--model", self.weights, says=["model.safetensors", "folder"])
                self.refused(3, *command, "--model", self.folder / "absent", says=["absent", "does not exist"])
        self.weights.unlink()
        self.weights.mkdir()
        self.generate(3, "model.safetensors")
        (self.model / "tokenizer.json").unlink()
        (self.model / "tokenizer.json").mkdir()
        self.generate(3, "tokenizer.json")

    def test_a_pickle_is_named(self):
        self.weights.rename(self.model / "pytorch_model.bin")
        self.generate(3, "pytorch_model.bin")


class BrokenAdapterTest(ProgramTest):
    def test_an_adapter_for_another_model(self):
        adapter = FIXTURES / "models" / "qwen2-tied" / "adapters" / "lora"
        result = self.wick("generate", "--model", tiny_model(), "--adapter", adapter, "--prompt", "x", code=None)
        self.assertIn(result.returncode, (2, 4))
        self.assertIn("adapter_model.safetensors", result.stderr)
        self.assertIn("lora_A", result.stderr)

    def test_broken_files(self):
        adapter = self.folder / "adapter"
        shutil.copytree(tiny_adapter(), adapter)
        config = json.loads((adapter / "adapter_config.json").read_text())
        for text, says in ((DEEP, "adapter_config.json"), (json.dumps({**config, "r": "two"}), "r"),
                           (json.dumps({**config, "peft_type": "IA3"}), "IA3"),
                           (json.dumps({**config, "use_qalora": True}), "use_qalora")):
            with self.subTest(text[:40]):
                (adapter / "adapter_config.json").write_text(text)
                self.refused(4, "generate", "--model", tiny_model(), "--adapter", adapter, "--prompt", "x", says=says)
        (adapter / "adapter_config.json").write_text(json.dumps(config))
        weights = (adapter / "adapter_model.safetensors").read_bytes()
        (adapter / "adapter_model.safetensors").write_bytes(weights[:-10])
        self.refused(4, "merge", "--model", tiny_model(), "--adapter", adapter, "--output", self.folder / "merged",
                     says="adapter_model.safetensors")
        self.assertFalse((self.folder / "merged").exists())
        self.refused(3, "generate", "--model", tiny_model(), "--adapter", self.folder / "absent", "--prompt", "x",
                     says="absent")

    def test_a_weight_that_is_no_number(self):
        self.refused(2, "generate", "--model", tiny_model(), "--adapter", f"{tiny_adapter()}=much", "--prompt", "x",
                     says="much")


class BrokenDataTest(ProgramTest):
    def data(self, text, name="data.jsonl"):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def train(self, path, code, says):
        self.refused(code, "train", "--model", tiny_model(), "--data", path, "--output-dir", self.folder / "out",
                     "--max-seq-length", 32, says=says)
        self.assertFalse((self.folder / "out" / "metrics.jsonl").exists())

    def test_one_bad_line_among_many(self):
        line = '{"text": "a wick burns"}\n'
        for bad in ('{"text": 7}\n', '{"text"\n', "\n", '{"prompt": "x"}\n', b'{"text": "\xff"}\n'.decode("latin-1")):
            with self.subTest(bad):
                text = (line * 2000).encode() + bad.encode("latin-1") + (line * 100).encode()
                self.train(self.data(text), 4, ["data.jsonl", "2001"])

    def test_one_bad_line_in_a_million(self):
        def little_memory():
            resource.setrlimit(resource.RLIMIT_AS, (512 << 20, 512 << 20))

        path = self.folder / "data.jsonl"
        with open(path, "w") as file:
            file.writelines(f'{{"text":"wick {i}"}}\n' for i in range(1, 987_654))
            file.write('{"text":"wick"\n')
            file.writelines(f'{{"text":"wick {i}"}}\n' for i in range(987_655, 1_000_001))
        self.refused(4, "train", "--model", tiny_model(), "--data", path, "--output-dir", self.folder / "out",
                     "--max-seq-length", 32, preexec_fn=little_memory, says=["data.jsonl:987654: ", "byte", "}"])
        self.assertEqual(list((self.folder / "out").iterdir()), [])

    def test_nothing_to_learn_from(self):
        self.train(self.data(""), 4, "data.jsonl")
        self.train(self.data("", "data.txt"), 4, "data.txt")
        self.train(self.folder / "absent.jsonl", 3, "absent.jsonl")
        (self.folder / "nothing").mkdir()
        self.train(self.folder / "nothing", 3, "nothing")

    def test_deep_json(self):
        self.train(self.data('{"text": ' + DEEP + "}\n"), 4, ["data.jsonl", "1"])

    def test_messages_without_a_template(self):
        text = '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}\n'
        self.train(self.data(text), 2, "template")

    def test_held_out_data_counts_too(self):
        self.refused(4, "train", "--model", tiny_model(), "--data", seeds() / "data", "--eval-data",
                     self.data('{"text": 1}\n'), "--output-dir", self.folder / "out", says="data.jsonl")
        self.refused(4, "eval", "--model", tiny_model(), "--data", self.data('{"text": 1}\n'), says="data.jsonl")


class NoRoomTest(ProgramTest):
    def test_an_output_folder_that_cannot_be(self):
        (self.folder / "file").write_text("I am a file")
        for output in (self.folder / "file", self.folder / "file" / "out"):
            with self.subTest(output):
                self.refused(3, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", output,
                             says="file")
                self.refused(3 if output.name == "out" else 2, "merge", "--model", tiny_model(), "--adapter",
                             tiny_adapter(), "--output", output, says="file")
        self.assertEqual((self.folder / "file").read_text(), "I am a file")
        self.refused(3, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", "/proc/none",
                     says="/proc/none")

    def test_a_disk_that_is_full(self):
        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        for command in (("train", "--model", tiny_model(), "--data", seeds() / "data", "--max-steps", 1,
                         "--max-seq-length", 32, "--r", 16, "--target-modules", "all-linear", "--output-dir",
                         self.folder / "out"),
                        ("merge", "--model", tiny_model(), "--adapter", tiny_adapter(), "--output",
                         self.folder / "merged")):
            with self.subTest(command[0]):
                self.refused(3, *command, preexec_fn=little_room, says=["File too large", ".safetensors"])
        self.assertFalse((self.folder / "merged").exists())
        left = [path.name for path in (self.folder / "out").rglob("*") if path.is_file()]
        self.assertEqual(left, ["metrics.jsonl"])

    def test_a_full_disk_keeps_the_checkpoint_before(self):
        def little_room():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        out = self.folder / "out"
        flags = ("train", "--model", tiny_model(), "--data", seeds() / "data", "--max-seq-length", 32, "--r", 16,
                 "--target-modules", "all-linear", "--output-dir", out, "--max-steps", 2, "--save-steps", 1)
        self.wick(*flags)
        shutil.rmtree(out / "checkpoint-2")
        before = (out / "checkpoint-1" / "adapter_model.safetensors").read_bytes()
        self.refused(3, *flags, "--resume", preexec_fn=little_room, says="File too large")
        self.assertEqual((out / "checkpoint-1" / "adapter_model.safetensors").read_bytes(), before)
        self.assertFalse((out / "checkpoint-2").exists())
        self.wick(*flags, "--resume")
        self.assertTrue((out / "checkpoint-2").is_dir())


class StandardOutputTest(ProgramTest):
    COMMANDS = (("devices",), ("--help",), ("--version",), ("train", "--help"))

    def commands(self):
        return (*self.COMMANDS, ("inspect", tiny_model()), ("tokenize", "--model", seeds(), "--text", "a wick"),
                ("generate", "--model", tiny_model(), "--prompt", "x", "-n", 2),
                ("generate", "--model", tiny_model(), "--prompt", "x", "-n", 2, "--json"))

    def test_a_full_one(self):
        for command in self.commands():
            with self.subTest(command), open("/dev/full", "w") as full:
                result = self.wick(*command, code=3, capture_output=False, stdout=full, stderr=-1)
                self.assertIn("standard output", result.stderr)

    def test_a_closed_one(self):
        for command in self.commands():
            with self.subTest(command):
                result = self.wick(*command, code=3, preexec_fn=lambda: os.close(1))
                self.assertIn("standard output", result.stderr)

    def test_a_pipe_that_nobody_reads(self):
        for command in self.commands():
            with self.subTest(command):
                reading, writing = os.pipe()
                os.close(reading)
                # Python itself ignores the signal; a shell's child does not.
                result = self.wick(*command, code=3, capture_output=False, stdout=writing, stderr=-1,
                                   preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL))
                os.close(writing)
                self.assertIn("standard output", result.stderr)

    def test_training_needs_no_standard_error(self):
        result = self.train("--max-steps", 1, preexec_fn=lambda: os.close(2))
        self.assertEqual(result.stderr, "")
        self.assertTrue((self.folder / "out" / "adapter_model.safetensors").is_file())

    def test_files_are_not_taken_for_closed_streams(self):
        self.train("--max-steps", 1, preexec_fn=lambda: [os.close(n) for n in (0, 1, 2)])
        for line in (self.folder / "out" / "metrics.jsonl").read_text().splitlines():
            json.loads(line)
