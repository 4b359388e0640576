"""Every command once: what it prints, as text and as JSON."""

import json
import shutil
import struct

from program import (
    CONFIG, ENVIRONMENT, FIXTURES, LEXICON, ProgramTest, chat_model, read_safetensors, seeds, tiny_adapter, tiny_model,
)

COMMANDS = ("train", "generate", "chat", "eval", "embed", "merge", "inspect", "tokenize", "devices", "bench", "tune",
            "selftest")


class HelpTest(ProgramTest):
    def test_every_command_teaches(self):
        overview = self.wick("--help").stdout
        for command in COMMANDS:
            with self.subTest(command):
                self.assertIn(f"  {command} ", overview)
                text = self.wick(command, "--help").stdout
                self.assertRegex(text, r"Examples?:\n  wick " + command)
                self.assertIn("--config", text)

    def test_without_a_command_it_says_what_there_is(self):
        self.assertIn("selftest", self.wick(code=2).stderr)

    def test_version(self):
        self.assertRegex(self.wick("--version").stdout, r"^wick \d+\.\d+\.\d+\n$")

    def test_exit_codes_are_in_the_help(self):
        self.assertIn("130 interrupted", self.wick("--help").stdout)

    def test_an_unknown_flag_is_answered_with_the_nearest(self):
        self.refused(2, "train", "--data", "x", "--learning-rat", "1", says="--learning-rate")

    def test_an_unknown_command_is_refused(self):
        self.refused(2, "trian")


class GenerateTest(ProgramTest):
    def test_text_is_streamed(self):
        result = self.wick("generate", "--model", tiny_model(), "--prompt", "Love:", "-n", 5)
        self.assertTrue(result.stdout.endswith("\n"))
        again = self.wick("generate", "--model", tiny_model(), "--prompt", "Love:", "-n", 5, "--json")
        self.assertEqual(self.json_lines(again)[0]["text"] + "\n", result.stdout)

    def test_streamed_text_is_utf8_at_any_temperature(self):
        for seed in range(4):
            result = self.wick("generate", "--model", tiny_model(), "--prompt", "é", "--temp", 3, "--seed", seed,
                               "-n", 60, "--ignore-eos", text=False, stdin=b"")
            result.stdout.decode("utf-8")

    def test_json_of_several_prompts(self):
        result = self.wick("generate", "--model", tiny_model(), "-p", "One", "-p", "Two words", "-n", 3, "--json",
                           "--ignore-eos")
        first, second = self.json_lines(result)
        self.assertEqual((first["prompt"], second["prompt"]), ("One", "Two words"))
        self.assertEqual(first["finish_reason"], "length")
        self.assertEqual(len(second["ids"]), 3)
        self.assertGreater(second["num_prompt_tokens"], 0)

    def test_prompts_from_a_file_and_from_standard_input(self):
        path = self.folder / "prompts.txt"
        path.write_text("One\n\nTwo\n")
        result = self.wick("generate", "--model", tiny_model(), "--prompt-file", path, "-n", 2, "--json")
        self.assertEqual([r["prompt"] for r in self.json_lines(result)], ["One", "Two"])
        result = self.wick("generate", "--model", tiny_model(), "--prompt", "-", "-n", 2, "--json", stdin="Three")
        self.assertEqual(self.json_lines(result)[0]["prompt"], "Three")

    def test_an_adapter_changes_the_text_and_its_weight_counts(self):
        def text(*flags):
            result = self.wick("generate", "--model", tiny_model(), "--prompt", "Love:", "-n", 12, "--ignore-eos",
                               "--json", *flags)
            return self.json_lines(result)[0]["ids"]

        self.assertEqual(text(), text("--adapter", f"{tiny_adapter()}=0"))
        self.assertEqual(text("--adapter", tiny_adapter()), text("--adapter-path", f"{tiny_adapter()}=1"))

    def test_chat_format_of_a_named_template_needs_its_tokens(self):
        self.refused(2, "generate", "--model", tiny_model(), "--chat", "--chat-template", "chatml", "--prompt", "Hi",
                     says="chatml")
        self.refused(2, "generate", "--model", tiny_model(), "--chat", "--chat-template", "nobody", "--prompt", "Hi",
                     says="chatml")

    def test_a_tokenizer_from_elsewhere(self):
        model = self.folder / "bare"
        shutil.copytree(tiny_model(), model)
        (model / "tokenizer.json").unlink()
        self.refused(3, "generate", "--model", model, "--prompt", "x", says="tokenizer.json")
        self.wick("generate", "--model", model, "--tokenizer", seeds(), "--prompt", "x", "-n", 1)

    def test_stats_go_to_standard_error(self):
        result = self.wick("generate", "--model", tiny_model(), "--prompt", "Love:", "-n", 3, "--stats")
        self.assertIn("tokens/s", result.stderr)

    def test_a_prompt_is_needed(self):
        self.refused(2, "generate", "--model", tiny_model(), says="--prompt")

    def test_sampling_out_of_range(self):
        self.refused(2, "generate", "--model", tiny_model(), "--prompt", "x", "--top-p", "-1", says="top_p")


class ChatTest(ProgramTest):
    def chat(self, stdin, *flags, **options):
        return self.wick("chat", "--model", chat_model(), "--chat-template", "chatml", "-n", 4, "--ignore-eos", *flags,
                         stdin=stdin, **options)

    def test_one_reply_for_every_line_up_to_exit(self):
        self.assertEqual(self.chat("/exit\nHello\n").stdout, "")
        self.assertTrue(self.chat("Hello\n", "--temp", 2, "--seed", 1).stdout.strip())
        one = self.chat("Hello\n").stdout
        self.assertEqual(self.chat("\nHello\n/reset\nHello\n").stdout, one + one)

    def test_the_conversation_is_remembered(self):
        first, second = self.chat("Hello\nHello\n", "--temp", "0").stdout, self.chat("Hello\n").stdout
        self.assertTrue(first.startswith(second))

    def test_the_same_as_generate(self):
        result = self.wick("generate", "--model", chat_model(), "--chat", "--chat-template", "chatml", "-n", 4,
                           "--ignore-eos", "--prompt", "Hello")
        self.assertEqual(result.stdout, self.chat("Hello\n").stdout)

    def test_without_a_template_it_is_refused(self):
        self.refused(2, "chat", "--model", tiny_model(), says="template")


class EvalTest(ProgramTest):
    def test_loss_and_perplexity(self):
        result = self.wick("eval", "--model", tiny_model(), "--data", seeds() / "data", "--json")
        (report,) = self.json_lines(result)
        self.assertAlmostEqual(2.718281828459045 ** report["loss"], report["perplexity"], delta=1)
        self.assertEqual(report["num_samples"], 6)
        text = self.wick("eval", "--model", tiny_model(), "--data", seeds() / "data" / "valid.jsonl").stdout
        self.assertIn(f"loss {report['loss']:.6f}", text)

    def test_the_mask_counts(self):
        def targets(*flags):
            result = self.wick("eval", "--model", tiny_model(), "--data", seeds() / "data", "--json", *flags)
            return self.json_lines(result)[0]["num_targets"]

        self.assertGreater(targets("--loss-mask", "all"), targets())

    def test_the_loss_does_not_depend_on_the_batch(self):
        losses = [self.json_lines(self.wick("eval", "--model", tiny_model(), "--data", seeds() / "data", "--json",
                                            "--batch-size", size))[0]["loss"] for size in (1, 3)]
        self.assertAlmostEqual(*losses, delta=1e-5)

    def test_perplexity_of_the_demo_in_16_bits(self):
        """The demo's model on its held-out text; docs/numerics.md has the figures."""
        def perplexity(dtype):
            result = self.wick("eval", "--model", LEXICON / "base", "--data", LEXICON / "devil" / "test.jsonl", "--json",
                               "--compute-dtype", dtype)
            (report,) = self.json_lines(result)
            self.assertEqual((report["num_samples"], report["num_targets"]), (60, 2405))
            return report["perplexity"]

        exact = perplexity("f32")
        self.assertAlmostEqual(exact, 106.532, delta=0.01)
        for dtype, share in (("bf16", 0.002), ("f16", 0.0005)):
            got = perplexity(dtype)
            self.assertNotEqual(got, exact)
            self.assertAlmostEqual(got, exact, delta=share * exact)

    def test_activations_of_16_bits(self):
        def loss(dtype):
            result = self.wick("eval", "--model", tiny_model(), "--data", seeds() / "data", "--json", "--compute-dtype",
                               dtype)
            return self.json_lines(result)[0]["loss"]

        exact = loss("auto")
        self.assertEqual(loss("f32"), exact)
        for dtype, delta in (("bf16", 0.02), ("f16", 0.002)):
            self.assertNotEqual(loss(dtype), exact)
            self.assertAlmostEqual(loss(dtype), exact, delta=delta)
            text = self.wick("generate", "--model", tiny_model(), "-p", "x", "-n", 3, "--compute-dtype", dtype)
            self.assertTrue(text.stdout)

    def test_an_unknown_compute_dtype_is_refused(self):
        self.refused(2, "eval", "--model", tiny_model(), "--data", seeds() / "data", "--compute-dtype", "i32",
                     says="auto, f32, bf16, f16")


class EmbedTest(ProgramTest):
    def test_json_lines(self):
        model = self.folder / "bert"
        shutil.copytree(FIXTURES / "models" / "bert-mean", model)
        tokenizer = self.folder / "tokenizer.json"
        words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "wick": 4, "burns": 5}
        tokenizer.write_text(json.dumps({
            "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": None, "decoder": None,
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": words}}))
        result = self.wick("embed", "--model", model, "--tokenizer", tokenizer, "-t", "a wick", "-t", "a wick burns",
                           "--batch-size", 2)
        first, second = self.json_lines(result)
        self.assertEqual(first["text"], "a wick")
        self.assertAlmostEqual(sum(x * x for x in first["embedding"]), 1, delta=1e-4)
        self.assertNotEqual(first["embedding"], second["embedding"])
        alone = self.wick("embed", "--model", model, "--tokenizer", tokenizer, "--text", "a wick")
        for got, expected in zip(self.json_lines(alone)[0]["embedding"], first["embedding"]):
            self.assertAlmostEqual(got, expected, delta=1e-5)

    def test_a_decoder_is_refused(self):
        self.refused(2, "embed", "--model", tiny_model(), says="--text")
        result = self.wick("embed", "--model", tiny_model(), "--text", "x", code=None)
        self.assertIn(result.returncode, (2, 4))


class MergeTest(ProgramTest):
    def test_the_merged_model_says_what_the_adapter_says(self):
        merged = self.folder / "merged"
        result = self.wick("merge", "--model", tiny_model(), "--adapter", tiny_adapter(), "--output", merged)
        self.assertIn("merged", result.stdout)
        self.assertTrue((merged / "tokenizer.json").is_file())
        both = [self.json_lines(self.wick("generate", "-p", "Love:", "-n", 8, "--ignore-eos", "--json", *flags))[0]["ids"]
                for flags in (("--model", merged), ("--model", tiny_model(), "--adapter", tiny_adapter()))]
        self.assertEqual(*both)

    def test_dtype_and_shards(self):
        merged = self.folder / "merged"
        self.wick("merge", "--model", tiny_model(), "--adapter", tiny_adapter(), "--output", merged,
                  "--output-dtype", "bf16", "--max-shard-size", "64KiB")
        files = sorted(path.name for path in merged.glob("*.safetensors"))
        self.assertGreater(len(files), 1)
        kinds = {dtype for name in files for dtype, _, _ in read_safetensors(merged / name).values()}
        self.assertEqual(kinds, {"BF16"})
        self.wick("generate", "--model", merged, "-p", "x", "-n", 1)

    def test_nothing_is_overwritten(self):
        (self.folder / "full").mkdir()
        (self.folder / "full" / "letter").write_text("dear")
        self.refused(2, "merge", "--model", tiny_model(), "--adapter", tiny_adapter(), "--output",
                     self.folder / "full", says="not an empty folder")
        self.refused(2, "merge", "--model", tiny_model(), "--output", self.folder / "x", says="--adapter")


class InspectTest(ProgramTest):
    def document(self, *arguments):
        return json.loads(self.wick("inspect", *arguments, "--json").stdout)

    def test_a_model(self):
        model = self.document(FIXTURES / "models" / "qwen2-tied")
        self.assertEqual((model["kind"], model["model_type"], model["vocab_size"]), ("model", "qwen2", 320))
        self.assertNotIn("tensors", model)
        self.assertIn("model_type: qwen2", self.wick("inspect", FIXTURES / "models" / "qwen2-tied").stdout)

    def test_a_sharded_model_with_its_tensors(self):
        folder = FIXTURES / "models" / "llama-sharded-bf16"
        model = self.document(folder, "--tensors")
        self.assertEqual(len(model["tensors"]), model["num_tensors"])
        self.assertGreater(len({tensor["file"] for tensor in model["tensors"]}), 1)
        self.assertEqual(sum(tensor["num_bytes"] for tensor in model["tensors"]), model["num_bytes"])

    def test_an_adapter(self):
        adapter = self.document(FIXTURES / "models" / "qwen2-tied" / "adapters" / "dora")
        self.assertEqual((adapter["kind"], adapter["use_dora"]), ("adapter", True))
        text = self.wick("inspect", FIXTURES / "models" / "qwen2-tied" / "adapters" / "dora", "--tensors").stdout
        self.assertIn("lora_magnitude_vector", text)

    def test_a_checkpoint(self):
        checkpoint = self.document(tiny_adapter() / "checkpoint-2")
        self.assertEqual((checkpoint["kind"], checkpoint["global_step"]), ("checkpoint", 2))
        self.assertEqual(checkpoint["trained"]["r"], 2)

    def test_a_file(self):
        file = self.document(FIXTURES / "models" / "qwen2-tied" / "model.safetensors")
        self.assertEqual(file["kind"], "safetensors")
        self.assertIn("model.norm.weight", [tensor["name"] for tensor in file["tensors"]])

    def test_what_is_nothing_of_this(self):
        self.refused(3, "inspect", self.folder, says="config.json")
        self.refused(3, "inspect", self.folder / "absent", says="absent")
        self.refused(4, "inspect", seeds() / "config.json", says="config.json")


class TokenizeTest(ProgramTest):
    def test_there_and_back(self):
        result = self.wick("tokenize", "--model", seeds(), "--text", "a wick burns", "--json")
        (line,) = self.json_lines(result)
        self.assertEqual(len(line["ids"]), len(line["tokens"]))
        count = self.wick("tokenize", "--model", seeds(), "--count", stdin="a wick burns").stdout
        self.assertEqual(int(count), len(line["ids"]))
        decoded = self.wick("tokenize", "--model", seeds(), "--decode", ",".join(map(str, line["ids"]))).stdout
        self.assertEqual(decoded.strip(), "a wick burns")
        table = self.wick("tokenize", "--tokenizer", seeds() / "tokenizer.json", "-t", "a wick burns").stdout
        self.assertEqual(len(table.splitlines()), len(line["ids"]))

    def test_bad_text_and_bad_ids(self):
        result = self.wick("tokenize", "--model", seeds(), stdin=b"a\xff", text=False, code=2)
        self.assertIn(b"byte 1", result.stderr)
        self.refused(2, "tokenize", "--model", seeds(), "--decode", "99999999")


class DevicesAndBenchTest(ProgramTest):
    def test_devices(self):
        listed = json.loads(self.wick("devices", "--json").stdout)
        cpu, *gpus = listed["devices"]
        self.assertEqual((cpu["device"], cpu["threads"]), ("cpu", 1))
        lines = self.wick("devices").stdout.splitlines()
        self.assertEqual(len(lines), len(listed["devices"]) + len(listed["absent"]))
        for gpu in gpus:
            self.assertRegex(gpu["device"], r"^(cuda:\d+|mps)$")
            softmax = f"; softmax by {', '.join(gpu['softmax'])}" if "softmax" in gpu else ""
            self.assertIn(f"{gpu['device']}: {gpu['description']}; products by {', '.join(gpu['products'])}{softmax}",
                          lines)
        for absent in listed["absent"]:
            self.assertIn(f"{absent['device']}: {absent['reason']}", lines)
        # Each kind of device is here, or there is a reason.
        named = {entry["device"].partition(":")[0] for entry in listed["devices"] + listed["absent"]}
        self.assertEqual(named, {"cpu", "cuda", "mps"})

    def test_bench_compares_with_what_the_machine_can_do(self):
        flags = ("bench", "--model", tiny_model(), "--batch-size", 1, "--length", 8, "--steps", 1, "-n", 2)
        (report,) = self.json_lines(self.wick(*flags, "--json"))
        for kind in ("train", "prompt", "generate"):
            self.assertGreater(report[f"{kind}_tokens_per_second"], 0)
            self.assertGreater(report[f"{kind}_limit_tokens_per_second"], 0)
        text = self.wick(*flags).stdout
        self.assertRegex(text, r"LoRA training +[\d.]+ tokens/s, \d+ % of the [\d.]+ that products allow")

    def test_bench_of_a_shape_needs_no_checkpoint(self):
        config = self.folder / "config.json"
        config.write_text(json.dumps(CONFIG))
        flags = ("bench", "--shape", config, "--batch-size", 1, "--length", 8, "--steps", 1, "-n", 2, "--json")
        (report,) = self.json_lines(self.wick(*flags, "--parts", "train", "--rank", 3))
        self.assertGreater(report["train_tokens_per_second"], 0)
        self.assertGreater(report["first_step_seconds"], 0)
        self.assertGreater(report["step_seconds"], 0)
        self.assertNotIn("generate_tokens_per_second", report)
        (report,) = self.json_lines(self.wick(*flags, "--parts", "generate", "--dtype", "f32"))
        self.assertGreater(report["generate_tokens_per_second"], 0)
        self.assertNotIn("train_tokens_per_second", report)

    def test_bench_takes_a_model_or_a_shape(self):
        self.refused(2, "bench", says="--model or --shape")
        self.refused(2, "bench", "--model", tiny_model(), "--shape", "qwen2.5-0.5b", says="--model or --shape")
        self.refused(2, "bench", "--shape", "qwen9", says=("qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b", '"qwen9"'))
        self.refused(2, "bench", "--shape", "qwen2.5-0.5b", "--adapter", "x", says="--adapter needs --model")
        self.refused(2, "bench", "--shape", "qwen2.5-0.5b", "--parts", "sleep", says="sleep")

    def test_tune_stores_the_fastest_ways(self):
        config = self.folder / "config.json"
        config.write_text(json.dumps({**CONFIG, "vocab_size": 64}))
        environment = {**ENVIRONMENT, "XDG_CACHE_HOME": str(self.folder / "cache")}
        flags = ("tune", "--device", "mps", "--shape", config, "--dtype", "f32", "--batch-size", 1, "--length", 8,
                 "--rank", 2, "--rounds", 1)
        if "mps" not in {entry["device"] for entry in json.loads(self.wick("devices", "--json").stdout)["devices"]}:
            self.refused(2, *flags, says="mps is not present", env=environment)
            return
        lines = self.json_lines(self.wick(*flags, "--json", env=environment))
        self.assertEqual({line["kernel"] for line in lines}, {"matmul", "lora_linear", "lora_linear_backward"})
        for line in lines:
            self.assertIn(line["chosen"], line["seconds"])
            self.assertIn(line["otherwise"], line["seconds"])
            self.assertGreater(min(line["seconds"].values()), 0)
        stored = json.loads((self.folder / "cache" / "wick" / "mps-ways.json").read_text())
        changed = [line for line in lines if line["chosen"] != line["otherwise"]]
        self.assertEqual(len(stored["machines"][0]["ways"]), len(changed))
        text = self.wick(*flags, env=environment).stdout
        self.assertRegex(text.splitlines()[-1], r"^\d+ shapes measured, \d+ go another way from now on: ")

    def test_tune_refuses_what_it_cannot_measure(self):
        self.refused(2, "tune", says="--model or --shape")
        self.refused(2, "tune", "--model", tiny_model(), "--device", "cpu", "--length", 255,
                     says="--length must be at most 254")
        self.refused(2, "tune", "--model", tiny_model(), "--device", "cpu", "--rank", 0, says="at least 1")
        self.refused(4, "tune", "--model", tiny_model(), "--device", "cpu", "--length", 8, says="cpu has no ways")

    def test_an_absent_device_is_refused(self):
        listed = json.loads(self.wick("devices", "--json").stdout)
        gpus = sum(entry["device"].startswith("cuda:") for entry in listed["devices"])
        print(f"this machine has {gpus} GPUs for cuda")
        # The first one that is not there: `cuda` itself where there is none.
        result = self.wick("generate", "--model", tiny_model(), "-p", "x", "--device", f"cuda:{gpus}", code=2)
        self.assertIn(f"cuda:{gpus} is not present; present are cpu", result.stderr)
        for entry in listed["absent"]:
            self.assertIn(f"{entry['device']}: {entry['reason']}", result.stderr)

    def test_a_gpu_computes_what_the_cpu_does(self):
        listed = json.loads(self.wick("devices", "--json").stdout)
        here = any(entry["device"] == "cuda:0" for entry in listed["devices"])
        print("cuda:0 is " + ("here" if here else "absent"))
        flags = ("generate", "--model", tiny_model(), "-p", "the old house", "-n", 8, "--temperature", 0, "--json")
        (cpu,) = self.json_lines(self.wick(*flags))
        result = self.wick(*flags, "--device", "cuda", "--compute-dtype", "f32", code=0 if here else 2)
        if here:
            (gpu,) = self.json_lines(result)
            self.assertEqual(gpu["text"], cpu["text"])
        else:
            (reason,) = [entry["reason"] for entry in listed["absent"] if entry["device"].startswith("cuda")]
            self.assertIn(reason, result.stderr)


class SelftestTest(ProgramTest):
    def fixtures(self):
        folder = self.folder / "fixtures"
        shutil.copytree(FIXTURES / "models" / "llama3-rope-scaled", folder / "models" / "llama3-rope-scaled")
        shutil.copytree(FIXTURES / "tokenizers" / "gpt2", folder / "tokenizers" / "gpt2")
        return folder

    def test_the_fixtures_hold(self):
        result = self.wick("selftest", "--fixtures", FIXTURES)
        self.assertRegex(result.stdout.splitlines()[-1], r"^\d+ comparisons, 0 do not hold$")
        self.assertIn("logits", result.stdout)

    def has_metal(self):
        listed = json.loads(self.wick("devices", "--json").stdout)
        return "mps" in {entry["device"] for entry in listed["devices"]}

    def test_metal_is_checked_and_timed(self):
        if not self.has_metal():
            self.refused(2, "selftest", "--device", "mps", says="mps is not present")
            return
        path = self.folder / "metal.json"
        text = self.wick("selftest", "--device", "mps", "--max-size", 32, "--report", path).stdout
        self.assertRegex(text, r"\n\d+ methods are as Wick sends them, 0 of another type, \d+ that ")
        for op in ("matmul +\\[32,32\\] x \\[32,32\\]", "lora_linear .* r 32 ", "softmax", "rms_norm"):
            self.assertRegex(text, rf"\nok +{op} ")
        self.assertNotIn("r 64", text)
        self.assertIn("left out by --max-size 32: matmul 64, matmul 128", text)
        report = json.loads(path.read_text())
        self.assertGreater(report["methods"]["same"], 250)
        self.assertEqual(report["methods"]["other"], [])
        self.assertEqual(len(report["speed"]["timings"]), 1 + 4 + 1 + 1)
        for timing in report["speed"]["timings"]:
            self.assertTrue(timing["holds"])
            self.assertGreater(min(timing["each_s"], timing["batched_s"], timing["naive_s"]), 0)
        self.assertIn("rms_norm 1024", report["speed"]["left_out"])
        lines = self.json_lines(self.wick("selftest", "--device", "mps", "--max-size", 32, "--parts", "methods", "--json"))
        self.assertEqual([list(line) for line in lines], [["methods"]])

    def test_parts_that_do_not_fit_are_refused(self):
        self.refused(2, "selftest", says="--fixtures is needed")
        self.refused(2, "selftest", "--parts", "speed", says="parts of --device mps")
        self.refused(2, "selftest", "--parts", "lunch", says="lunch")
        self.refused(2, "selftest", "--fixtures", FIXTURES, "--report", "x", says="--report is written by --device mps")
        if self.has_metal():
            self.refused(2, "selftest", "--device", "mps", "--fixtures", FIXTURES, "--parts", "methods",
                         says="--fixtures needs fixtures in --parts")
            self.refused(2, "selftest", "--device", "mps", "--max-size", -1, says="--max-size")

    def test_json(self):
        lines = self.json_lines(self.wick("selftest", "--fixtures", self.fixtures(), "--json"))
        self.assertGreater(len(lines), 50)
        self.assertTrue(all(line["holds"] and line["error"] <= line["limit"] for line in lines))
        self.assertEqual({line["subject"] for line in lines},
                         {"llama3-rope-scaled", "llama3-rope-scaled/lora", "llama3-rope-scaled/lora-all", "tokenizers/gpt2"})

    def flip(self, name, place):
        """Changes one number of an expected tensor by a third."""
        folder = self.fixtures()
        path = folder / "models" / "llama3-rope-scaled" / place / "expected.safetensors"
        content = bytearray(path.read_bytes())
        (size,) = struct.unpack("<Q", content[:8])
        info = json.loads(content[8 : 8 + size])[name]
        at = 8 + size + info["data_offsets"][0]
        form = {"F32": "<f", "F64": "<d"}[info["dtype"]]
        (value,) = struct.unpack_from(form, content, at)
        struct.pack_into(form, content, at, value * 4 / 3 + 0.1)
        path.write_bytes(content)
        return folder

    def test_activations_of_16_bits_hold_within_their_limits(self):
        for dtype in ("bf16", "f16"):
            result = self.wick("selftest", "--fixtures", FIXTURES, "--compute-dtype", dtype)
            self.assertIn("0 do not hold", result.stdout)

    def test_one_wrong_number_is_seen(self):
        for name, place, quantity in (("logits", ".", "logits"), ("loss", ".", "loss"),
                                      ("train.losses", "adapters/lora", "loss of step 1"),
                                      ("grad.model.norm.weight", ".", "gradient of model.norm.weight")):
            with self.subTest(name):
                folder = self.flip(name, place)
                result = self.wick("selftest", "--fixtures", folder, code=1)
                bad = [line for line in result.stdout.splitlines() if line.startswith("BAD")]
                self.assertTrue(any(quantity in line for line in bad), result.stdout)
                self.assertNotIn(" 0 do not hold", result.stdout.splitlines()[-1])
                shutil.rmtree(folder)

    def test_a_wrong_text_is_seen(self):
        folder = self.fixtures()
        path = folder / "tokenizers" / "gpt2" / "expected.jsonl"
        lines = path.read_text("utf-8").splitlines()
        record = json.loads(lines[3])
        record["ids"] = record["ids"][:-1] + [record["ids"][-1] + 1] if record["ids"] else [1]
        lines[3] = json.dumps(record)
        path.write_text("\n".join(lines) + "\n", "utf-8")
        result = self.wick("selftest", "--fixtures", folder, code=1)
        self.assertRegex(result.stdout, r"BAD +tokenizers/gpt2 +texts encoded differently")

    def test_a_broken_model_does_not_hide_the_others(self):
        folder = self.fixtures()
        (folder / "models" / "llama3-rope-scaled" / "config.json").write_text("{")
        result = self.wick("selftest", "--fixtures", folder, code=1)
        self.assertRegex(result.stdout, r"BAD +llama3-rope-scaled .*config.json")
        self.assertRegex(result.stdout, r"ok +tokenizers/gpt2")

    def test_an_empty_folder_is_refused(self):
        self.refused(3, "selftest", "--fixtures", self.folder, says="models/")
