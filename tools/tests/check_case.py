"""A test case that lays out a small tree and runs one of the checks on it."""

import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent.parent


class CheckCase(unittest.TestCase):
    script = ""  # the check's file name

    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-check-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name).resolve()

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"))
        return file

    def run_check(self, *arguments):
        command = [sys.executable, str(TOOLS / self.script), "--root", str(self.root), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return result.returncode, result.stdout + result.stderr

    def assert_clean(self, *fragments):
        status, output = self.run_check()
        self.assertEqual(status, 0, output)
        lines = [line for line in output.splitlines() if ": note: " not in line]
        self.assertEqual(len(lines), 1, output)
        self.assertTrue(lines[0].startswith("OK: "), output)
        for fragment in fragments:
            self.assertIn(fragment, output)

    def assert_violation(self, *fragments, count=1):
        """The check fails with `count` violations; one line holds each fragment."""
        status, output = self.run_check()
        self.assertEqual(status, 1, output)
        self.assertNotIn("Traceback", output)
        for fragment in fragments:
            self.assertIn(fragment, output)
        self.assertIn(f"\n{count} violation(s)\n", "\n" + output, output)
