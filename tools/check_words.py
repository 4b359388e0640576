#!/usr/bin/env python3
"""Checks that no file holds leftovers: notes without an owner, homes of somebody's machine, silent NOLINTs."""

import re

import lint_support

RULES = (
    (re.compile(r"\bTODO\b(?!\([a-z][\w.-]*\): \S)"), "write `TODO(name): condition for its removal`, or none"),
    (re.compile(r"\bFIXME\b"), "FIXME: mend it, or write an issue"),
    (re.compile(r"\bXXX\b"), "XXX: say what is meant"),
    (re.compile(r"(?<![\w.})\]-])/(?:home|root)/"), "an absolute path of somebody's home"),
)
CPP_RULE = (
    re.compile(r"\bNOLINT(?!END)(?:NEXTLINE|BEGIN)?\b(?!\([^)]+\): \S)"),
    "write `NOLINT(check): reason`",
)
SKIPPED = ("LICENSE", "tools/check_words.py", "tests/fixtures/")


def check(options, report):
    count = 0
    for path in lint_support.repo_files(options.root):
        relative = path.relative_to(options.root).as_posix()
        content = path.read_bytes()
        if relative.startswith(SKIPPED) or b"\0" in content[:8192]:
            continue
        count += 1
        rules = (*RULES, CPP_RULE) if path.suffix in lint_support.CPP_SUFFIXES else RULES
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            for pattern, message in rules:
                if pattern.search(line):
                    report.add(relative, number, message)
    return f"{count} files hold no leftovers"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
