#!/usr/bin/env python3
"""Counts what ctest ran, with the cases inside of each GoogleTest binary, and ends with one line:

    N passed, N failed[, N skipped]

A test whose result file <results>/<name>.json is of this run counts as its cases; any other test,
one that crashed among them, counts as one. Exits 1 if anything failed or nothing ran.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys
import xml.etree.ElementTree


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: list = dataclasses.field(default_factory=list)  # (name, reason)
    skipped: list = dataclasses.field(default_factory=list)  # (name, reason)

    def line(self):
        text = f"{self.passed} passed, {len(self.failed)} failed"
        return text + (f", {len(self.skipped)} skipped" if self.skipped else "")


def reason_of(text):
    """The lines of a message that say something, as one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # GoogleTest puts `file:line` or `file:line: Skipped` first.
    lines = [line for line in lines if not re.fullmatch(r"\S+:\d+(?:: (?:Skipped|Failure))?", line)]
    return " / ".join(lines[:3])[:300] or "no reason given"


def printed_by_case(output, full_name):
    """What a GoogleTest binary printed while a case ran; releases before 1.13 keep it out of the file."""
    _, _, rest = output.partition(f"[ RUN      ] {full_name}\n")
    return rest.partition(f"[  SKIPPED ] {full_name}")[0]


def count_cases(name, path, output, counts):
    """Adds the cases of a result file; returns how many it has and how many of them failed."""
    total = failed = 0
    for suite in json.loads(path.read_text()).get("testsuites", []):
        for case in suite.get("testsuite", []):
            case_name = f"{suite['name']}.{case['name']}"
            full = f"{name}: {case_name}"
            total += 1
            if case.get("failures"):
                failed += 1
                counts.failed.append((full, reason_of(case["failures"][0].get("failure", ""))))
            elif case.get("result") == "SKIPPED":
                messages = [s.get("message", "") for s in case.get("skipped", [])]
                counts.skipped.append((full, reason_of("".join(messages) or printed_by_case(output, case_name))))
            elif case.get("status") == "NOTRUN" or case.get("result") == "SUPPRESSED":
                counts.skipped.append((full, "disabled in the source"))
            else:
                counts.passed += 1
    return total, failed


def count_whole(name, case, counts):
    """Adds a test that has no cases of its own, by what ctest says of it."""
    status = case.get("status", "fail")
    skipped, failure = case.find("skipped"), case.find("failure")
    if status == "run" and failure is None and skipped is None:
        counts.passed += 1
    elif status in ("notrun", "disabled") and (skipped is not None or status == "disabled"):
        reason = skipped.get("message", "") if skipped is not None else "disabled in CMake"
        # A test that ctest could not start is no test that somebody chose to skip.
        if "SKIP" in reason or status == "disabled":
            counts.skipped.append((name, last_line(case) if skipped is not None else reason))
        else:
            counts.failed.append((name, reason_of(reason)))
    else:
        counts.failed.append((name, f"ctest says {status}; it printed last: {last_line(case)}"))


def last_line(case):
    lines = [line.strip() for line in (case.findtext("system-out") or "").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing"


def ctest_failed(case):
    return case.get("status") not in ("run", "disabled") or case.find("failure") is not None


def count(junit, results, started):
    counts = Counts()
    for case in xml.etree.ElementTree.parse(junit).getroot().iter("testcase"):
        name = case.get("name", "?")
        path = results / f"{name}.json"
        if not path.is_file() or path.stat().st_mtime_ns < started:
            count_whole(name, case, counts)
            continue
        try:
            total, failed = count_cases(name, path, case.findtext("system-out") or "", counts)
        except (ValueError, KeyError) as error:
            counts.failed.append((name, f"its result file cannot be read: {error}"))
            continue
        skipped_whole = case.find("skipped") is not None
        if total == 0 and not skipped_whole:
            counts.failed.append((name, "it ran no case"))
        elif failed == 0 and ctest_failed(case) and not skipped_whole:
            counts.failed.append((name, "it ended with a failure although all its cases passed"))
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--junit", type=pathlib.Path, required=True, help="what ctest --output-junit wrote")
    parser.add_argument("--results", type=pathlib.Path, required=True, help="folder of <ctest name>.json")
    parser.add_argument("--started", type=pathlib.Path, required=True, help="a file touched before the run")
    options = parser.parse_args()
    try:
        counts = count(options.junit, options.results, options.started.stat().st_mtime_ns)
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        counts = Counts(failed=[("ctest", f"it wrote no results: {error}")])
    for name, reason in counts.skipped:
        print(f"skipped  {name}: {reason}")
    for name, reason in counts.failed:
        print(f"FAILED   {name}: {reason}")
    ran = counts.passed + len(counts.failed)
    if ran == 0:
        print("no test ran")
    print(counts.line())
    sys.exit(1 if counts.failed or ran == 0 else 0)


if __name__ == "__main__":
    main()
