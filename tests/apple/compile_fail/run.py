#!/usr/bin/env python3
"""Checks that mistakes with messages do not compile, each for its own reason."""

import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
REASONS = {
    1: ("the SDK has no such selector",),
    2: ("a selector has as many colons",),
    3: ("the SDK has this selector with another prototype",),
    4: ("Owned<> must be written",),
    5: ("Owned<> must be written",),
    6: ("the SDK has this selector with another prototype",),
    7: ("no match for call", "no matching function"),
    8: ("the SDK has no such selector",),
    9: ("use of deleted function", "deleted member function"),
    10: ("no match for call", "no matching function"),
}


def compiles(options, case):
    command = [options.compiler, "-std=c++20", "-fsyntax-only", f"-DWICK_CASE={case}"]
    command += [f"-I{options.root}/include", f"-I{options.root}/src", str(HERE / "messages.cpp")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.returncode == 0, result.stderr


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--root", required=True)
    options = parser.parse_args()
    failed = 0
    right, said = compiles(options, 0)
    if not right:
        print(f"the case without a mistake does not compile:\n{said}")
        failed += 1
    for case, reasons in REASONS.items():
        compiled, said = compiles(options, case)
        if compiled:
            print(f"case {case} compiles")
            failed += 1
        elif not any(reason in said for reason in reasons):
            print(f"case {case} fails for another reason than {reasons}:\n{said}")
            failed += 1
    print(f"{len(REASONS) + 1 - failed} of {len(REASONS) + 1} cases are as they must be")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
