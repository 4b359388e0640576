import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent


def case(name, status="COMPLETED", **more):
    return {"name": name, "status": "RUN", "result": status, **more}


class CountTests(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-count-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name)
        (self.root / "results").mkdir()
        (self.root / "started").touch()
        self.cases = []

    def ctest(self, name, status="run", inner="", output=""):
        attributes = f'name="{name}" status="{status}"'
        self.cases.append(f"<testcase {attributes}>{inner}<system-out>{output}</system-out></testcase>")

    def gtest(self, name, *cases, older=False):
        path = self.root / "results" / f"{name}.json"
        path.write_text(json.dumps({"tests": len(cases), "testsuites": [{"name": "S", "testsuite": list(cases)}]}))
        if older:
            os.utime(path, (1, 1))

    def count(self):
        (self.root / "junit.xml").write_text("<testsuite>" + "".join(self.cases) + "</testsuite>")
        return self.run_script()

    def run_script(self):
        command = [sys.executable, str(TOOLS / "count_tests.py"), "--junit", str(self.root / "junit.xml"),
                   "--results", str(self.root / "results"), "--started", str(self.root / "started")]  # fmt: skip
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout.splitlines()

    def test_cases_are_counted_and_not_binaries(self):
        self.ctest("ops")
        self.gtest("ops", case("a"), case("b"), case("c"))
        self.ctest("script")
        self.assertEqual(self.count(), (0, ["4 passed, 0 failed"]))

    def test_skipped_with_its_message(self):
        self.ctest("ops")
        self.gtest("ops", case("a"), case("b", "SKIPPED", skipped=[{"message": "a.cpp:3\nno device"}]))
        self.assertEqual(self.count(), (0, ["skipped  ops: S.b: no device", "1 passed, 0 failed, 1 skipped"]))

    def test_skipped_with_the_message_that_was_only_printed(self):
        output = "[ RUN      ] S.b\na.cpp:3: Skipped\nno &lt;device&gt;\n[  SKIPPED ] S.b (0 ms)\nmore\n"
        self.ctest("ops", output=output)
        self.gtest("ops", case("a"), case("b", "SKIPPED"))
        self.assertEqual(self.count()[1][0], "skipped  ops: S.b: no <device>")

    def test_disabled_case(self):
        self.ctest("ops")
        self.gtest("ops", case("a"), {"name": "DISABLED_b", "status": "NOTRUN", "result": "SUPPRESSED"})
        self.assertEqual(self.count()[1][-1], "1 passed, 0 failed, 1 skipped")

    def test_failed_case(self):
        self.ctest("ops", "fail", '<failure message=""/>')
        self.gtest("ops", case("a"), case("b", failures=[{"failure": "a.cpp:3\nit is 2"}]))
        self.assertEqual(self.count(), (1, ["FAILED   ops: S.b: it is 2", "1 passed, 1 failed"]))

    def test_crash_leaves_an_old_result_or_none(self):
        self.ctest("old", "fail", '<failure message=""/>', "[ RUN      ] S.a\n")
        self.gtest("old", case("a"), case("b"), older=True)
        self.ctest("none", "fail", '<failure message=""/>')
        status, lines = self.count()
        self.assertEqual((status, lines[-1]), (1, "0 passed, 2 failed"))
        self.assertIn("FAILED   old: ", lines[0])
        self.assertIn("[ RUN      ] S.a", lines[0])

    def test_failure_after_all_cases_passed(self):
        self.ctest("ops", "fail", '<failure message=""/>')
        self.gtest("ops", case("a"))
        self.assertEqual(self.count()[1][-1], "1 passed, 1 failed")

    def test_binary_without_cases_and_broken_result(self):
        self.ctest("ops")
        self.gtest("ops")
        self.ctest("broken")
        (self.root / "results/broken.json").write_text("{")
        self.assertEqual(self.count()[1][-1], "0 passed, 2 failed")

    def test_whole_tests_that_did_not_run(self):
        self.ctest("a", "notrun", '<skipped message="SKIP_RETURN_CODE=77"/>', "no network\n")
        self.ctest("b", "disabled", output="Disabled")
        self.ctest("c", "notrun", '<skipped message="Unable to find executable"/>')
        self.ctest("d")
        status, lines = self.count()
        self.assertEqual(status, 1)
        self.assertEqual(
            lines,
            ["skipped  a: no network", "skipped  b: disabled in CMake", "FAILED   c: Unable to find executable",
             "1 passed, 1 failed, 2 skipped"],
        )  # fmt: skip

    def test_nothing_ran(self):
        self.assertEqual(self.count(), (1, ["no test ran", "0 passed, 0 failed"]))
        (self.root / "junit.xml").unlink()
        status, lines = self.run_script()
        self.assertEqual((status, lines[-1]), (1, "0 passed, 1 failed"))


class SumParts(unittest.TestCase):
    def sum(self, *parts):
        with tempfile.TemporaryDirectory() as folder:
            for name, text, _ in parts:
                pathlib.Path(folder, f"{name}.log").write_text(text)
            command = [sys.executable, str(TOOLS / "sum_parts.py"), folder, *(f"{n}={s}" for n, _, s in parts)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout.splitlines()[-1]

    def test_sum(self):
        parts = [("lint", "lint passed\n", 0), ("test", "a\n3 passed, 0 failed, 1 skipped\n", 0)]
        self.assertEqual(self.sum(*parts, ("asan", "2 passed, 0 failed\n", 0)), (0, "5 passed, 0 failed, 1 skipped"))
        self.assertEqual(self.sum(*parts, ("asan", "2 passed, 1 failed\n", 1)), (1, "5 passed, 1 failed, 1 skipped"))

    def test_part_without_summary(self):
        good = ("test", "3 passed, 0 failed\n", 0)
        self.assertEqual(self.sum(("lint", "lint failed: a\n", 1), good), (1, "3 passed, 1 failed"))
        self.assertEqual(self.sum(("asan", "3 passed, 0 failed\nninja: error\n", 1), good), (1, "3 passed, 1 failed"))

    def test_nothing_ran(self):
        self.assertEqual(self.sum(("lint", "lint passed\n", 0)), (1, "0 passed, 0 failed"))


if __name__ == "__main__":
    unittest.main()
