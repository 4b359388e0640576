#!/usr/bin/env python3
"""Checks that clang-format would change nothing; with --fix, lets it change what it would."""

import os
import re
import subprocess

import lint_cache
import lint_support

TOOL = os.environ.get("CLANG_FORMAT", "clang-format-19")
FOLDERS = ("include/", "src/", "softmetal/", "apps/", "tests/", "bench/", "examples/")
SUFFIXES = lint_support.CPP_SUFFIXES - {".def"}
FINDING = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: error: (?P<text>.*)$", re.MULTILINE)


def check(options, report):
    root = options.root
    if lint_cache.tool_version(TOOL) is None:
        report.add("tools/check_format.py", 1, f"{TOOL} is missing")
        return ""
    names = [path.relative_to(root).as_posix() for path in lint_support.repo_files(root) if path.suffix in SUFFIXES]
    names = [name for name in names if name.startswith(FOLDERS)]
    if not names:
        return "there is nothing to format"
    mode = ["-i"] if options.fix else ["--dry-run", "-Werror"]
    result = subprocess.run(
        [TOOL, "--style=file", *mode, *names], cwd=root, capture_output=True, text=True, check=False
    )
    seen = set()
    for match in FINDING.finditer(result.stderr):
        if match["file"] not in seen:
            seen.add(match["file"])
            report.add(match["file"], int(match["line"]), "not as clang-format writes it; tools/check_format.py --fix")
    if result.returncode != 0 and not seen:
        report.add(".clang-format", 1, result.stderr.strip())
    return f"{len(names)} files are {'now ' if options.fix else ''}as clang-format writes them"


def options_of_this_check(arguments):
    arguments.add_argument("--fix", action="store_true", help="write the files instead of reporting")


if __name__ == "__main__":
    lint_support.run_check(__doc__, check, options_of_this_check)
