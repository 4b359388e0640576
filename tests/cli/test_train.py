"""`wick train` from the command line to the files it leaves."""

import json
import shutil
import xml.etree.ElementTree

from program import FIXTURES, ProgramTest, read_safetensors, seeds, tiny_adapter, tiny_model


class TrainTest(ProgramTest):
    def out(self, *parts):
        return self.folder.joinpath("out", *parts)

    def test_lora_leaves_what_peft_reads(self):
        self.train("--max-steps", 3, "--target-modules", "q_proj,v_proj", "--lora-alpha", 4, "--lr", "1e-2")
        config = json.loads(self.out("adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"]), ("LORA", 2, 4))
        self.assertEqual(sorted(config["target_modules"]), ["q_proj", "v_proj"])
        tensors = read_safetensors(self.out("adapter_model.safetensors"))
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
        self.assertEqual(tensors[name][:2], ("F32", [2, 32]))
        self.assertEqual(len(tensors), 8)
        self.assertTrue(any(any(data) for key, (_, _, data) in tensors.items() if "lora_B" in key))

    def test_what_it_prints(self):
        result = self.train("--max-steps", 25, "--eval-steps", 10, "--save-steps", 10, "--sample-prompt", "Love:",
                            "--sample-tokens", 4)
        text = result.stderr
        self.assertRegex(text, r"memory forecast: weights .* = ")
        self.assertRegex(text, r"step 10/25  loss \d+\.\d{4}  lr \S+  \d+ tokens/s  peak \S+ MiB  .* left\n")
        self.assertNotIn("step 11/25  loss", text)
        self.assertRegex(text, r"step 20/25  held-out loss \d")
        self.assertRegex(text, r"tensors at their peak +[\d.]+ [KMG]iB \(forecast [\d.]+ [KMG]iB\)")
        self.assertIn(f"saved {self.out('checkpoint-20')}", text)
        self.assertIn("before: ", text)
        self.assertIn(f"wick generate --model {tiny_model()} --adapter {self.out()} --prompt Love:", text)
        self.assertEqual(result.stdout, "")
        self.assertNotIn("\r", text)

    def test_json_lines(self):
        lines = self.json_lines(self.train("--max-steps", 3, "--sample-prompt", "Love:", "--json"))
        steps = [line for line in lines if "loss" in line and "step" in line]
        self.assertEqual([line["step"] for line in steps], [1, 2, 3])
        end = lines[-1]
        self.assertEqual((end["event"], end["end"], end["steps"]), ("end", "finished", 3))
        self.assertGreater(end["peak_tensor_bytes"], 0)
        self.assertEqual(end["samples"][0]["prompt"], "Love:")
        written = [json.loads(line) for line in self.out("metrics.jsonl").read_text().splitlines()]
        self.assertEqual(written, lines[:-1])
        for key in ("learning_rate", "grad_norm", "tokens_per_second", "num_tokens", "peak_memory_bytes", "seconds"):
            self.assertIn(key, written[0])

    def test_the_report_is_a_page_of_its_own(self):
        self.train("--max-steps", 4, "--sample-prompt", "<Love & war>", "--sample-tokens", 3)
        text = self.out("report.html").read_text("utf-8")
        page = xml.etree.ElementTree.fromstring(text.replace("<!DOCTYPE html>", "", 1))
        self.assertEqual(len(page.findall(".//svg")), 5)
        self.assertEqual(page.find(".//table[@class='samples']/tbody/tr/th").text, "<Love & war>")
        self.assertNotIn("http", text)
        self.assertIn("wick train --model", page.find(".//table[@class='settings']/tbody/tr/td").text)

    def test_a_finished_run_is_not_overwritten(self):
        self.train("--max-steps", 1)
        before = self.out("adapter_model.safetensors").read_bytes()
        self.refused(2, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", self.out(),
                     "--max-steps", 2, says=["holds another run", "--overwrite-output-dir", "--resume"])
        self.assertEqual(self.out("adapter_model.safetensors").read_bytes(), before)
        (self.out("notes.txt")).write_text("mine")
        self.train("--max-steps", 2, "--overwrite-output-dir", "--lr", "1e-2")
        self.assertNotEqual(self.out("adapter_model.safetensors").read_bytes(), before)
        self.assertFalse(self.out("checkpoint-1").exists())
        self.assertEqual(self.out("notes.txt").read_text(), "mine")

    def test_overwriting_waits_until_the_new_run_can_begin(self):
        self.train("--max-steps", 1)
        before = self.out("adapter_model.safetensors").read_bytes()
        bad = self.folder / "bad.jsonl"
        bad.write_text('{"text": 1}\n')
        self.refused(4, "train", "--model", tiny_model(), "--data", bad, "--output-dir", self.out(),
                     "--overwrite-output-dir", says="bad.jsonl")
        self.assertEqual(self.out("adapter_model.safetensors").read_bytes(), before)

    def test_a_refused_run_leaves_nothing_behind(self):
        self.refused(3, "train", "--model", self.folder / "absent", "--data", seeds() / "data", "--output-dir",
                     self.out(), says="absent")
        self.train("--max-steps", 1)

    def test_resumed_is_unbroken(self):
        whole = self.folder / "whole"
        flags = ("--max-steps", 6, "--save-steps", 2, "--lora-dropout", "0.1", "--lr", "1e-2")
        self.wick("train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", whole,
                  "--max-seq-length", 32, "--r", 2, *flags)
        self.train(*flags)
        for step in (4, 6):
            shutil.rmtree(self.out(f"checkpoint-{step}"))
        self.out("adapter_model.safetensors").unlink()
        with open(self.out("metrics.jsonl"), "a") as metrics:
            metrics.write('{"step": 7, "lo')  # what a kill leaves
        result = self.train(*flags, "--resume")
        self.assertIn("at step 2", result.stderr)
        self.assertEqual(self.out("adapter_model.safetensors").read_bytes(),
                         (whole / "adapter_model.safetensors").read_bytes())
        steps = [[(line["step"], line["loss"]) for line in map(json.loads, path.read_text().splitlines())
                  if "loss" in line] for path in (self.out("metrics.jsonl"), whole / "metrics.jsonl")]
        self.assertEqual(*steps)
        seconds = [json.loads(line)["seconds"] for line in self.out("metrics.jsonl").read_text().splitlines()
                   if "seconds" in line]
        self.assertEqual(seconds, sorted(seconds))
        self.assertIn("step 1\n", self.out("report.html").read_text("utf-8"))

    def test_resume_from_a_named_checkpoint_and_from_none(self):
        self.refused(2, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", self.out(),
                     "--resume", says="no checkpoint")
        self.train("--max-steps", 4, "--save-steps", 2)
        result = self.train("--max-steps", 4, "--save-steps", 2, "--resume-from-checkpoint", self.out("checkpoint-2"))
        self.assertIn("at step 2", result.stderr)
        self.refused(2, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", self.out(),
                     "--resume", "--overwrite-output-dir", says="--overwrite-output-dir")

    def test_a_new_model_is_a_whole_model(self):
        model = tiny_model()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
            self.assertTrue((model / name).is_file(), name)
        self.assertEqual((model / "tokenizer.json").read_bytes(), (seeds() / "tokenizer.json").read_bytes())
        config = json.loads((model / "config.json").read_text())
        self.assertEqual(config.get("dtype", config.get("torch_dtype")), "float32")
        self.wick("generate", "--model", model, "--prompt", "x", "-n", 1)

    def test_full_fine_tuning_gives_a_whole_model(self):
        self.wick("train", "--model", tiny_model(), "--fine-tune-type", "full", "--data", seeds() / "data",
                  "--output-dir", self.out(), "--max-seq-length", 32, "--max-steps", 1, "--save-dtype", "bf16")
        kinds = {dtype for dtype, _, _ in read_safetensors(self.out("model.safetensors")).values()}
        self.assertEqual(kinds, {"BF16"})
        self.wick("generate", "--model", self.out(), "--prompt", "x", "-n", 1)

    def test_a_tokenizer_from_elsewhere_travels_with_a_full_model(self):
        self.wick("train", "--init-from-config", seeds() / "config.json", "--fine-tune-type", "full", "--data",
                  seeds() / "data", "--tokenizer", tiny_model() / "tokenizer.json", "--max-seq-length", 32,
                  "--max-steps", 1, "--output-dir", self.out())
        self.assertTrue(self.out("tokenizer.json").is_file())

    def test_it_goes_on_from_an_adapter(self):
        before = read_safetensors(tiny_adapter() / "adapter_model.safetensors")
        self.wick("train", "--model", tiny_model(), "--adapter", tiny_adapter(), "--data", seeds() / "data",
                  "--max-seq-length", 32, "--max-steps", 1, "--lr", 0, "--output-dir", self.out())
        self.assertEqual(read_safetensors(self.out("adapter_model.safetensors")), before)

    def test_the_best_evaluation_is_the_result(self):
        lines = self.json_lines(self.train("--max-steps", 12, "--eval-steps", 3, "--lr", "0.5", "--json",
                                           "--load-best-model-at-end", "--early-stopping-patience", 2))
        evals = {line["step"]: line["eval_loss"] for line in lines if "eval_loss" in line}
        best = min(evals.values())
        self.assertEqual(lines[-1]["best_eval_loss"], best)
        result = self.wick("eval", "--model", tiny_model(), "--adapter", self.out(), "--data", seeds() / "data",
                           "--max-seq-length", 32, "--json")
        self.assertAlmostEqual(self.json_lines(result)[0]["loss"], best, delta=1e-5)

    def test_early_stopping_says_so(self):
        lines = self.json_lines(self.train("--max-steps", 30, "--eval-steps", 1, "--lr", "5", "--json",
                                           "--lr-scheduler-type", "constant", "--early-stopping-patience", 1))
        self.assertEqual(lines[-1]["end"], "stopped early")
        self.assertLess(lines[-1]["steps"], 30)

    def test_last_layers_only(self):
        self.train("--max-steps", 1, "--num-layers", 1)
        names = read_safetensors(self.out("adapter_model.safetensors"))
        self.assertTrue(names)
        self.assertTrue(all(".layers.1." in name for name in names))

    def test_a_regular_expression_may_have_commas(self):
        self.train("--max-steps", 1, "--target-modules", r".*layers\.[0]{1,2}\.self_attn\.(q|o)_proj")
        names = read_safetensors(self.out("adapter_model.safetensors"))
        self.assertEqual(len(names), 4)

    def test_packing_accumulation_and_recomputing_run(self):
        self.train("--max-steps", 2, "--packing", "--gradient_accumulation_steps", 2, "--gradient-checkpointing",
                   "--use-rslora", "--use-dora", "--init-lora-weights", "gaussian", "--memory-budget", "1GiB")

    def test_what_is_computed_again_changes_memory_alone(self):
        config = self.folder / "job.yaml"
        ways = {(): "(norms and SwiGLU computed again", ("--gradient-checkpointing", "selective"): "(norms and SwiGLU",
                ("--gradient-checkpointing", "none"): " MiB\n", ("--grad-checkpoint=none",): " MiB\n",
                ("--gradient-checkpointing",): "(2 layers computed again", ("--grad-checkpoint", "full"): "(2 layers",
                ("--config", config): "(2 layers", ("--memory-budget", "1GiB"): " MiB\n"}
        config.write_text("gradient_checkpointing: true\n", encoding="utf-8")
        results = set()
        for flags, said in ways.items():
            told = self.train("--max-steps", 1, "--overwrite-output-dir", *flags).stderr
            forecast = next(line for line in told.splitlines(keepends=True) if "memory forecast" in line)
            self.assertIn(said, forecast, flags)
            results.add(self.out("adapter_model.safetensors").read_bytes())
        self.assertEqual(len(results), 1)
        self.refused(2, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", self.out(),
                     "--gradient-checkpointing=some", says='"some" is not one of auto, none, selective, full')

    def test_activations_in_bf16(self):
        losses = []
        for dtype in ("f32", "bf16"):
            lines = self.json_lines(self.train("--max-steps", 3, "--json", "--compute-dtype", dtype, "--logging-steps", 1,
                                               "--overwrite-output-dir"))
            losses.append([line["loss"] for line in lines if "loss" in line])
        self.assertNotEqual(*losses)
        for half, whole in zip(*losses):
            self.assertAlmostEqual(half, whole, delta=0.01 * whole)
        before = self.out("adapter_model.safetensors").read_bytes()
        self.refused(2, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", self.out(),
                     "--max-seq-length", 32, "--r", 2, "--max-steps", 3, "--resume", says="compute_dtype was")
        self.assertEqual(self.out("adapter_model.safetensors").read_bytes(), before)
        self.assertIn("computed in bf16", self.train("--max-steps", 3, "--compute-dtype", "bf16", "--resume").stderr)

    def test_full_fine_tuning_in_bf16_keeps_f32_weights(self):
        self.wick("train", "--model", tiny_model(), "--fine-tune-type", "full", "--data", seeds() / "data",
                  "--output-dir", self.out(), "--max-seq-length", 32, "--max-steps", 1, "--compute-dtype", "bf16")
        kinds = {dtype for dtype, _, _ in read_safetensors(self.out("model.safetensors")).values()}
        self.assertEqual(kinds, {"F32"})

    def test_a_fixture_trains_without_its_own_tokenizer(self):
        self.refused(3, "train", "--model", FIXTURES / "models" / "qwen2-tied", "--data", seeds() / "data",
                     "--output-dir", self.out(), says="tokenizer.json")
        self.refused(2, "train", "--model", FIXTURES / "models" / "qwen2-tied", "--tokenizer", seeds(), "--data",
                     seeds() / "data", "--output-dir", self.out(), says="4096")


class RefusedFlagsTest(ProgramTest):
    """Contradictions are seen before anything is read or written."""

    def check(self, *flags, says):
        result = self.wick("train", "--data", seeds() / "data", "--output-dir", self.folder / "out", *flags, code=2)
        self.assertIn(says, result.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_flags_that_do_not_go_together(self):
        model = ("--model", tiny_model())
        config = ("--init-from-config", seeds() / "config.json")
        for says, flags in (
            ("--model and --init-from-config", ()),
            ("--model and --init-from-config", model + config),
            ("--fine-tune-type full", config),
            ("--r", model + ("--fine-tune-type", "full", "--r", "4")),
            ("--lora-alpha", model + ("--adapter", "x", "--lora-alpha", "4")),
            ("--adapter", model + ("--fine-tune-type", "full", "--adapter", "x")),
            ("--save-dtype", model + ("--save-dtype", "bf16")),
            ("f32", model + ("--fine-tune-type", "full", "--dtype", "bf16")),
            ("dtype", model + ("--dtype", "int4")),
            ("dtype", model + ("--compute-dtype", "int4")),
            ("--num-layers", model + ("--num-layers", "1", "--layers-to-transform", "0")),
            ("--logging-steps", model + ("--logging-steps", "0")),
            ("--batch-size", model + ("--batch-size", "0")),
            ("--r", model + ("--r", "0")),
            ("--lora-dropout", model + ("--lora-dropout", "1")),
            ("size", model + ("--memory-budget", "lots")),
            ("schedule", model + ("--lr-scheduler-type", "sawtooth")),
            ("--learning-rate", model + ("--learning-rate", "fast")),
            ("--fine-tune-type", model + ("--fine-tune-type", "half")),
            ("--mask-prompt", model + ("--mask-prompt", "--loss-mask", "all")),
        ):
            with self.subTest(says=says, flags=flags):
                self.check(*flags, says=says)

    def test_evaluation_needs_data(self):
        for flag in (("--eval-steps", "1"), ("--load-best-model-at-end",), ("--early-stopping-patience", "1")):
            result = self.wick("train", "--model", tiny_model(), "--data", seeds() / "data" / "train.jsonl",
                               "--output-dir", self.folder / "out", *flag, code=2)
            self.assertIn("held-out", result.stderr)

    def test_the_model_is_not_its_own_output(self):
        self.refused(2, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", tiny_model(),
                     "--overwrite-output-dir", "--fine-tune-type", "full", says="another folder")
        self.assertTrue((tiny_model() / "model.safetensors").is_file())

    def test_a_budget_that_is_too_small(self):
        self.refused(5, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir",
                     self.folder / "out", "--memory-budget", "10KiB", says="budget")

    def test_a_loss_that_is_no_number_is_a_failure(self):
        model = self.folder / "nan"
        shutil.copytree(tiny_model(), model)
        path = model / "model.safetensors"
        content = bytearray(path.read_bytes())
        content[-4:] = b"\x00\x00\xc0\x7f"
        path.write_bytes(content)
        result = self.wick("train", "--model", model, "--data", seeds() / "data", "--output-dir", self.folder / "out",
                           "--max-seq-length", 32, "--max-steps", 2, code=1)
        self.assertIn("model.norm.weight holds NaN", result.stderr)
        self.assertIn("checkpoint", result.stderr)
