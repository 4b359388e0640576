import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "bench/gpu/curves.py"


class GpuCurves(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-gpu-curves-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def metrics(self, name, losses):
        path = self.folder / f"{name}.jsonl"
        records = [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)] + [{"step": 1, "eval_loss": 9.0}]
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
        return f"{name}={path}"

    def run_script(self, *named):
        command = [sys.executable, str(SCRIPT), str(self.folder), *named]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_worst_step_of_each_curve(self):
        result = self.run_script(
            self.metrics("cpu", [4.0, 2.0, 1.0]), self.metrics("f32", [4.0, 2.0, 1.0]), self.metrics("bf16", [4.1, 2.1, 1.0])
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("f32: at most 0.0e+00 of cpu's loss away, at step 1", result.stdout)
        self.assertIn("bf16: at most 5.0e-02 of cpu's loss away, at step 2", result.stdout)
        written = json.loads((self.folder / "curves.json").read_text("utf-8"))
        self.assertEqual(written["losses"]["bf16"], [4.1, 2.1, 1.0])
        drawing = (self.folder / "curves.svg").read_text("utf-8")
        self.assertEqual(drawing.count("<polyline"), 3)

    def test_missing_steps_are_an_error(self):
        result = self.run_script(self.metrics("cpu", [4.0, 2.0]), self.metrics("f32", [4.0]))
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("f32 has 1 steps, cpu has 2", result.stderr)


if __name__ == "__main__":
    unittest.main()
