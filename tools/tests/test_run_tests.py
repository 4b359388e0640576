import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent
SAMPLE = """
import unittest


class Sample(unittest.TestCase):
    def test_good(self):
        pass

    def test_bad(self):
        self.assertEqual(1, 2)

    def test_parts(self):
        for i in range(2):
            with self.subTest(i=i):
                self.assertEqual(i, 0)

    @unittest.skip("no device")
    def test_left_out(self):
        pass
"""


class RunTests(unittest.TestCase):
    def run_tests(self, sample, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "tests").mkdir()
            shutil.copy(TOOLS / "run_tests.py", root)
            (root / "tests/test_sample.py").write_text(sample)
            output = root / "results/tools.json"
            command = [sys.executable, str(root / "run_tests.py"), f"--gtest_output=json:{output}", *arguments]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            return result.returncode, json.loads(output.read_text())

    def test_results_look_like_those_of_googletest(self):
        status, document = self.run_tests(SAMPLE)
        self.assertEqual(status, 1)
        self.assertEqual((document["tests"], document["failures"], document["disabled"]), (4, 2, 0))
        cases = {c["name"]: c for c in document["testsuites"][0]["testsuite"]}
        self.assertEqual(document["testsuites"][0]["name"], "test_sample.Sample")
        self.assertIn("1 != 2", cases["test_bad"]["failures"][0]["failure"])
        self.assertIn("failures", cases["test_parts"])
        self.assertNotIn("failures", cases["test_good"])
        self.assertEqual(cases["test_left_out"]["result"], "SKIPPED")
        self.assertEqual(cases["test_left_out"]["skipped"], [{"message": "no device"}])

    def test_pattern_and_verdict(self):
        status, document = self.run_tests(SAMPLE, "good")
        self.assertEqual((status, document["tests"]), (0, 1))
        self.assertEqual(self.run_tests(SAMPLE, "none_such")[0], 1)

    def test_module_that_cannot_be_imported(self):
        status, document = self.run_tests("import no_such_module\n")
        self.assertEqual(status, 1)
        self.assertEqual(document["failures"], 1)


if __name__ == "__main__":
    unittest.main()
