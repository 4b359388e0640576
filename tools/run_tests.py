#!/usr/bin/env python3
"""Runs the unit tests of the tools, tools/tests/test_*.py, or those of another --folder.

With --gtest_output=json:PATH it writes the results as a GoogleTest binary does, so that they are
counted case by case. A word as argument runs only the tests whose name holds it.
"""

import argparse
import json
import pathlib
import sys
import time
import traceback
import unittest

TOOLS = pathlib.Path(__file__).resolve().parent


class Results(unittest.TextTestResult):
    """Keeps a record of each test as well."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.records = {}

    def startTest(self, test):
        super().startTest(test)
        self.records[test.id()] = {"test": test, "failures": [], "skipped": [], "began": time.time()}

    def stopTest(self, test):
        super().stopTest(test)
        self.records[test.id()]["seconds"] = time.time() - self.records[test.id()]["began"]

    def _fail(self, test, error):
        message = "".join(traceback.format_exception(*error)[-1:]).strip()
        fresh = {"test": test, "failures": [], "skipped": []}  # a module or class that cannot be set up
        self.records.setdefault(test.id(), fresh)["failures"].append({"failure": message, "type": ""})

    def addError(self, test, err):
        super().addError(test, err)
        self._fail(test, err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._fail(test, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        fresh = {"test": test, "failures": [], "skipped": []}
        self.records.setdefault(test.id(), fresh)["skipped"].append({"message": reason})


def as_gtest(records):
    """The records in the shape of GoogleTest's JSON output."""
    suites = {}
    for identity, record in records.items():
        suite, _, name = identity.rpartition(".")
        case = {
            "name": name,
            "status": "RUN",
            "result": "SKIPPED" if record["skipped"] else "COMPLETED",
            "time": f"{record.get('seconds', 0):.3f}s",
            "classname": suite,
        }
        for key in ("failures", "skipped"):
            if record[key]:
                case[key] = record[key]
        suites.setdefault(suite, []).append(case)
    documents = [
        {
            "name": suite,
            "tests": len(cases),
            "failures": sum("failures" in case for case in cases),
            "disabled": 0,
            "errors": 0,
            "testsuite": cases,
        }
        for suite, cases in suites.items()
    ]
    return {
        "tests": sum(d["tests"] for d in documents),
        "failures": sum(d["failures"] for d in documents),
        "disabled": 0,
        "errors": 0,
        "name": "tools",
        "testsuites": documents,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern", nargs="?", help="run only tests whose name holds this")
    parser.add_argument("--folder", type=pathlib.Path, default=TOOLS / "tests", help="where the tests are")
    parser.add_argument("--gtest_output", default="", metavar="json:PATH")
    options = parser.parse_args()
    folder = str(options.folder.resolve())
    sys.path[:0] = [str(TOOLS), folder]
    loader = unittest.TestLoader()
    if options.pattern:
        loader.testNamePatterns = [f"*{options.pattern}*"]
    suite = loader.discover(folder, top_level_dir=folder)
    results = unittest.TextTestRunner(verbosity=2, resultclass=Results).run(suite)
    kind, _, path = options.gtest_output.partition(":")
    if kind == "json" and path:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text(json.dumps(as_gtest(results.records), indent=1) + "\n")
    sys.exit(0 if results.wasSuccessful() and results.testsRun > 0 else 1)


if __name__ == "__main__":
    main()
