#!/usr/bin/env python3
"""Checks the sizes of files and functions.

Files: a note above 400 lines, an error above 800 (1,000 for tests and kernels). Functions: an error
above 60 lines. Exceptions are in tools/size_exceptions.txt, `path[:function]  reason`, one a line;
an exception that is no longer needed is an error too.
"""

import dataclasses
import re

import cpp_outline
import lint_support

SOFT_FILE_LINES = 400
HARD_FILE_LINES = 800
HARD_TEST_OR_KERNEL_LINES = 1000
HARD_FUNCTION_LINES = 60
FOLDERS = ("include", "src", "softmetal", "apps", "tests", "bench", "examples", "tools")
SUFFIXES = lint_support.CPP_SUFFIXES | {".py", ".sh", ".cmake"}
EXCEPTIONS = "tools/size_exceptions.txt"


@dataclasses.dataclass
class SizeException:
    line: int
    used: bool = False


def read_exceptions(root, report):
    exceptions = {}
    path = root / EXCEPTIONS
    if not path.is_file():
        return exceptions
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        what, _, reason = line.strip().partition(" ")
        if not reason.strip():
            report.add(path, number, f"the exception for {what} gives no reason")
        if what in exceptions:
            report.add(path, number, f"the exception for {what} is there twice")
        exceptions[what] = SizeException(number)
    return exceptions


def excused(exceptions, what):
    if what not in exceptions:
        return False
    exceptions[what].used = True
    return True


def hard_limit(relative):
    if relative.startswith(("tests/", "src/backends/")):
        return HARD_TEST_OR_KERNEL_LINES
    return HARD_FILE_LINES


def check_file(relative, text, exceptions, report):
    lines = len(text.splitlines())
    hard = hard_limit(relative)
    if lines > hard:
        if not excused(exceptions, relative):
            report.add(relative, 1, f"{lines} lines; at most {hard} are allowed")
    elif lines > SOFT_FILE_LINES:
        report.note(relative, 1, f"{lines} lines; {SOFT_FILE_LINES} is what a reader holds in mind")


def check_functions(relative, source, exceptions, report):
    for function in cpp_outline.functions(source):
        lines = function.end_line - function.line + 1
        if not function.is_definition or lines <= HARD_FUNCTION_LINES:
            continue
        name = re.sub(r"\s", "", function.name)
        if not excused(exceptions, f"{relative}:{name}"):
            report.add(relative, function.line, f"{name} has {lines} lines; at most {HARD_FUNCTION_LINES} are allowed")


def check(options, report):
    exceptions = read_exceptions(options.root, report)
    files = [
        path
        for path in lint_support.repo_files(options.root)
        if path.suffix in SUFFIXES and path.relative_to(options.root).as_posix().startswith(FOLDERS)
    ]
    for path in files:
        relative = path.relative_to(options.root).as_posix()
        source = lint_support.Source.read(path) if path.suffix in lint_support.CPP_SUFFIXES else None
        check_file(relative, source.text if source else path.read_text(errors="replace"), exceptions, report)
        if source:
            check_functions(relative, source, exceptions, report)
    for what, exception in exceptions.items():
        if not exception.used:
            report.add(EXCEPTIONS, exception.line, f"{what} needs no exception (any more)")
    return f"{len(files)} files and their functions are small enough"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
