import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "bench/gpu/table.py"


class GpuTable(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-gpu-table-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.write("run.json", {"date": "2026-01-02", "device": "cuda:0: a GPU", "failed": []})

    def write(self, name, *objects):
        (self.folder / name).write_text("".join(json.dumps(o) + "\n" for o in objects), "utf-8")

    def table(self):
        command = [sys.executable, str(SCRIPT), str(self.folder)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = result.stdout.splitlines()
        rows = {line.split()[0]: line for line in lines if "/" in line.split(" ")[0]}
        return lines, rows, json.loads((self.folder / "results.json").read_text("utf-8"))

    def test_ops_beside_the_fastest_peer(self):
        self.write("ours-ops.jsonl", {"case": "softmax_f/bf16", "us": 80.0, "floor_us": 60.0})
        self.write("peers.jsonl", {"case": "softmax_f/bf16", "peer": "eager", "us": 240.0},
                   {"case": "softmax_f/bf16", "peer": "compile", "us": 200.0})  # fmt: skip
        _, rows, results = self.table()
        self.assertEqual(rows["softmax_f/bf16"].split(maxsplit=4)[1:4], ["us", "60.0", "80.0"])
        self.assertIn("75 %", rows["softmax_f/bf16"])
        self.assertIn("eager 240.0; compile 200.0", rows["softmax_f/bf16"])
        self.assertTrue(rows["softmax_f/bf16"].endswith("2.50x"))
        self.assertEqual(results["cases"]["softmax_f/bf16"]["ours"]["us"], 80.0)
        self.assertEqual(results["run"]["date"], "2026-01-02")

    def test_models_by_tokens_a_second(self):
        self.write("ours-models.jsonl",
                   {"shape": "q", "train_tokens_per_second": 150000.0, "train_limit_tokens_per_second": 300000.0,
                    "step_seconds": 0.05, "first_step_seconds": 1.0, "peak_memory_bytes": 2**33},
                   {"shape": "q", "generate_tokens_per_second": 200.0, "generate_limit_tokens_per_second": 250.0,
                    "peak_memory_bytes": 2**33})  # fmt: skip
        self.write("peers.jsonl", {"case": "train/q", "peer": "compile", "tokens_per_second": 75000.0})
        _, rows, _ = self.table()
        self.assertIn("150 000 8.0GiB", rows["train/q"])
        self.assertIn("50 %", rows["train/q"])
        self.assertTrue(rows["train/q"].endswith("2.00x"))
        self.assertIn("80 %", rows["decode/q"])
        self.assertTrue(rows["decode/q"].endswith("-"))

    def test_cost_of_the_adapter(self):
        self.write("ours-ops.jsonl", {"case": "frozen_f/8x8", "us": 100.0, "floor_us": 90.0},
                   {"case": "lora_f/8x8", "us": 105.0, "floor_us": 90.0})  # fmt: skip
        self.write("peers.jsonl", {"case": "frozen_f/8x8", "peer": "eager", "us": 100.0},
                   {"case": "lora_f/8x8", "peer": "eager", "us": 150.0},
                   {"case": "lora_f/8x8", "peer": "compile", "us": 138.0})  # fmt: skip
        lines, _, results = self.table()
        self.assertIn("lora_f/8x8: the adapter costs ours +5 %, peers +38 %", lines)
        self.assertAlmostEqual(results["adapter_cost_percent"]["lora_f/8x8"]["peers"], 38)

    def test_what_was_not_measured_is_said(self):
        self.write("ours-models.jsonl", {"case": "train/q", "skipped": "wick bench failed"})
        self.write("peers.jsonl", {"case": "train/q", "peer": "eager", "skipped": "python3 has no peft"})
        lines, rows, _ = self.table()
        self.assertIn("skipped", rows["train/q"])
        self.assertIn("train/q, ours: skipped, wick bench failed", lines)
        self.assertIn("train/q, eager: skipped, python3 has no peft", lines)

    def test_nothing_but_tests_ran(self):
        lines, rows, results = self.table()
        self.assertEqual((rows, results["cases"]), ({}, {}))
        self.assertIn("device: cuda:0: a GPU", lines)


if __name__ == "__main__":
    unittest.main()
