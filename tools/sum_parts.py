#!/usr/bin/env python3
"""Adds the `N passed, N failed` lines of several logs; the last line it prints is their sum.

Parts are `name=status` of <logs>/<name>.log. A part without such a line counts as one failure where
its status is not 0, and as nothing where it is.
"""

import argparse
import pathlib
import re
import sys

SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$")


def counts_of(log):
    """The last summary line of a log as three numbers; None where the log does not end with one."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    match = SUMMARY.match(lines[-1]) if lines else None
    return [int(number or 0) for number in match.groups()] if match else None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", type=pathlib.Path)
    parser.add_argument("parts", nargs="+")
    options = parser.parse_args()
    total, bad = [0, 0, 0], False
    for part in options.parts:
        name, _, status = part.rpartition("=")
        counts = counts_of(options.logs / f"{name}.log")
        succeeded = status == "0"
        bad = bad or not succeeded
        if counts is None:
            counts = [0, 0 if succeeded else 1, 0]
            print(f"{name}: {'passed' if succeeded else 'FAILED'}")
        else:
            if not succeeded and counts[1] == 0:
                counts[1] = 1
            print(f"{name}: {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped")
        total = [a + b for a, b in zip(total, counts)]
    passed, failed, skipped = total
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if bad or failed or passed == 0 else 0)


if __name__ == "__main__":
    main()
