import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench/cpu"))
import docs
import engines
import growth
import growth_chart

# Answers as wick_cpu_bench does; "probes" of `check` may depend on the number of threads.
FAKE = """
import json, os, sys
threads = int(os.environ["WICK_NUM_THREADS"])
print(json.dumps({"version": "1"}), flush=True)
for line in sys.stdin:
    words = line.split()
    answer = {"peak": {"flops": 1e12, "instructions": "fake"}, "bandwidth": {"bytes": 1e11}, "check": {"probes": %s},
              "time": {"us": 5.0, "min_us": 4.0, "max_us": 6.0, "calls": 3}}
    print(json.dumps(answer[words[0]]), flush=True)
"""


def record(series, us, **more):
    return {"kind": "point", "series": series, "case": "c", "label": "a case", "op": "train", "dtype": "f32", "threads": 2,
            "tokens": 256, "parameters": 2_000_000, "length": 256, "us": us, "share": 1 / us, "disturbed": False,
            "tokens_per_second": 1e6 / us, **more}  # fmt: skip


RUN = {"kind": "run", "date": "2026-01-02T00:00:00", "commit": "abc", "cpu": "a CPU", "processors": 2}


class Points(unittest.TestCase):
    def test_what_each_series_has(self):
        lengths = growth.points(["length"], 2)
        self.assertEqual({p.case.model["length"] for p in lengths}, {256, 512, 1024, 2048, 4096, 8192, 16384})
        self.assertEqual({(p.threads, p.case.dtype, p.case.model["batch"]) for p in lengths},
                         {(t, d, 1) for t in (1, 2) for d in ("f32", "bf16")})  # fmt: skip
        sizes = sorted({p.parameters for p in growth.points(["size"], 1)})
        self.assertLess(sizes[0], 2e6)
        self.assertGreater(sizes[-1], 9e8)
        self.assertEqual({p.threads for p in growth.points(["threads"], 6)}, {*growth.MANY_THREADS, 6})
        self.assertEqual(len({(p.case.name, p.threads) for p in growth.points(["threads"], 2)}),
                         len(growth.points(["threads"], 2)))  # fmt: skip

    def test_cases_are_chosen_by_name(self):
        found = growth.points(["size", "length"], 1, ("decode bf16 2048", "train f32 128"))
        self.assertEqual({p.case.name.split()[:3][0] + p.case.dtype for p in found}, {"decodebf16", "trainf32"})

    def test_memory_counts_the_weights(self):
        largest = max(growth.points(["size"], 1), key=lambda p: p.memory)
        self.assertGreater(largest.memory, 4 * largest.parameters)
        self.assertLess(largest.memory, 7 * largest.parameters)


class Runs(unittest.TestCase):
    def measured(self, *flags, probes="[[1.0]]", memory=1 << 40):
        """(status, the records, what was printed) of a run on one and two of two processors."""
        with tempfile.TemporaryDirectory(prefix="wick-growth-") as folder:
            out = pathlib.Path(folder) / "run.jsonl"
            program = pathlib.Path(folder) / "program"
            program.touch()
            printed = io.StringIO()
            with mock.patch.object(engines, "command_of", lambda *_: [sys.executable, "-c", FAKE % probes]), \
                    mock.patch.object(engines, "processors", lambda: [0, 0]), \
                    mock.patch.object(growth, "available_memory", lambda: memory), \
                    mock.patch.object(growth, "CHUNK_MS", 1), contextlib.redirect_stdout(printed), \
                    contextlib.redirect_stderr(io.StringIO()):  # fmt: skip
                status = growth.main(["--program", str(program), "--out", str(out), *flags])
            xml.etree.ElementTree.parse(out.with_suffix(".svg"))
            records = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
        return status, [r for r in records if r["kind"] == "point"], printed.getvalue()

    def test_each_point_has_its_speed(self):
        # Several threads answer the same, as they must.
        status, found, printed = self.measured("--series", "threads", "--budget", "200", "--only", "softmax,lora_linear")
        self.assertEqual(status, 0, printed)
        self.assertEqual(len(found), 2 * len(growth.MANY_THREADS))
        self.assertEqual({r["us"] for r in found}, {5.0})
        self.assertTrue(any(r.get("checked") for r in found))
        self.assertIn("| 64 | 0.01 ms", printed)

    def test_the_budget_and_the_memory_leave_points_out(self):
        status, found, printed = self.measured("--series", "size", "--budget", "0.001")
        self.assertEqual((status, {"left_out" in r for r in found}), (0, {True}))
        self.assertIn("of the budget are left", printed)
        status, found, _ = self.measured("--series", "size", "--budget", "1000", memory=1 << 20)
        self.assertEqual((status, {"left_out" in r for r in found}), (0, {True}))
        self.assertRegex(found[-1]["left_out"], r"it takes about [\d.]+ GiB, and 0.0 are free")

    def test_other_results_on_other_threads_are_refused(self):
        status, found, printed = self.measured("--series", "threads", "--budget", "200", "--only", "softmax", probes="[[1.0 / threads]]")
        self.assertEqual(status, 1)
        self.assertIn("its results are not those of fewer threads", printed)
        self.assertIn("us", next(r for r in found if r["threads"] == 1))

    def test_bad_flags_are_refused(self):
        for flags in (["--series", "width"], ["--budget", "0"], ["--only", "nothing"]):
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                growth.arguments(flags)


class Outputs(unittest.TestCase):
    def test_cliffs_and_slow_threads_are_found(self):
        records = [RUN, record("length", 2), record("length", 2.5, length=512), record("length", 9, length=1024),
                   record("threads", 5.0), record("threads", 6.0, threads=8), record("threads", 10.0, threads=64),
                   record("threads", 99.0, threads=32, disturbed=True)]  # fmt: skip
        found = list(growth.findings(records))
        self.assertEqual(found.pop(0), "1 of 7 points were disturbed; nothing is concluded from those")
        self.assertEqual([line.split(":")[0] for line in found], ["cliff", "slow"])
        self.assertIn("has 11 % of its floor's speed, the point before 40 %", found[0])
        self.assertIn("2.0 times as long on 64 threads as on 2", found[1])

    def test_table_and_chart(self):
        records = [RUN, record("length", 2000), record("length", 4000, length=512, disturbed=True),
                   {**record("size", 3), "left_out": "it takes"}]  # fmt: skip
        del records[-1]["us"]
        lines = list(growth.table(records))
        self.assertEqual(lines[0], "| length | train f32, 2 T |")
        self.assertIn("| 512 | 250, 0 % ~ |", lines)
        self.assertFalse(any(line.startswith("| parameters") for line in lines))
        drawn = growth_chart.draw(records, growth.lines_of(records))
        xml.etree.ElementTree.fromstring(drawn)
        self.assertIn("train f32, 2 T", drawn)
        self.assertEqual(growth_chart.ticks(3, 60), [5, 10, 20, 50])


class Docs(unittest.TestCase):
    def test_a_block_is_replaced(self):
        page = "a\n<!-- begin: cpu -->\nold\n<!-- end: cpu -->\nz\n"
        self.assertEqual(docs.replaced(page, "cpu", ["new", ""]), page.replace("old", "new\n"))
        with self.assertRaisesRegex(SystemExit, "has no block growth"):
            docs.replaced(page, "growth", [])

    def test_the_page_has_both_blocks(self):
        page = docs.PAGE.read_text("utf-8")
        for name in ("cpu", "growth"):
            self.assertIn("mark", docs.replaced(page, name, ["mark"]))

    def test_blocks_hold_table_and_chart(self):
        with tempfile.TemporaryDirectory(prefix="wick-docs-") as folder:
            path = pathlib.Path(folder) / "g.jsonl"
            path.write_text("\n".join(json.dumps(r) for r in (RUN, record("length", 2000))), "utf-8")
            text = "\n".join(docs.growth_block(path))
        self.assertIn("| 256 | 500, 0 % |", text)
        self.assertIn(f"({path.parent.name}/g.svg)", text)


if __name__ == "__main__":
    unittest.main()
