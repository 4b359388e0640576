#!/usr/bin/env python3
"""Checks that the public headers say what their functions promise.

Each function of include/wick/ops/ has its own `///` comment with every field of an op's contract. In
the other public headers each function has at least a `///` sentence; members that follow each other
without an empty line may share the one above the first of them.
"""

import re

import cpp_outline
import lint_support

FIELDS = ("Shapes:", "Dtypes:", "Errors:", "Gradient:", "Source:")
FIELD = re.compile(r"^(?P<name>[A-Z][a-z]+:)\s*(?P<text>.*)$")


def doc_lines(lines, first_line):
    """The `///` lines directly above a line (1-based), without their slashes."""
    found, i = [], first_line - 2
    while i >= 0 and lines[i].strip().startswith("///"):
        found.insert(0, lines[i].strip()[3:].strip())
        i -= 1
    return found


def missing_fields(doc):
    """The contract's fields that a comment lacks, and those that it has without any text."""
    texts, current = {}, None
    for line in doc:
        match = FIELD.match(line)
        if match and match.group("name") in FIELDS:
            current = match.group("name")
            texts[current] = match.group("text")
        elif current:
            texts[current] += line
    absent = [f for f in FIELDS if f not in texts]
    empty = [f for f in FIELDS if f in texts and not texts[f].strip()]
    return absent, empty


def needs_no_doc(function):
    """Default constructors, destructors, what the compiler writes or forbids, and details.

    A member defined outside of its class has its comment where it is declared.
    """
    name = function.simple_name
    is_constructor = function.in_class and function.name.split("::")[-2:] == [name, name]
    return (
        function.access != "public"
        or name.startswith("~")
        or is_constructor and re.search(r"\(\s*\)", function.head) is not None
        or re.search(r"=\s*(?:default|delete)\s*$", function.head) is not None
        or any("detail" in name for name in function.namespaces)
        or not function.in_class and "::" in function.name
    )


def has_sentence(lines, function, previous):
    """Whether a function has a comment above, at its end, or shares that of the member before it."""
    if any(re.search(r"\w{2}", line) for line in doc_lines(lines, function.line)):
        return True
    if "///<" in lines[function.end_line - 1]:
        return True
    return (
        previous is not None
        and previous[1]
        and function.in_class
        and previous[0].in_class
        and function.line == previous[0].end_line + 1
    )


def check_op_header(path, source, report):
    lines = source.text.split("\n")
    count = 0
    for function in cpp_outline.functions(source):
        if needs_no_doc(function) or function.in_class:
            continue
        count += 1
        doc = doc_lines(lines, function.line)
        if not doc:
            report.add(path, function.line, f"{function.name} has no contract (a /// comment directly above)")
            continue
        absent, empty = missing_fields(doc)
        if FIELD.match(doc[0]) and FIELD.match(doc[0]).group("name") in FIELDS:
            report.add(path, function.line, f"{function.name}: the contract begins with a sentence")
        for field in absent:
            report.add(path, function.line, f"{function.name}: the contract lacks `{field}`")
        for field in empty:
            report.add(path, function.line, f"{function.name}: `{field}` in the contract is empty")
    return count


def check_other_header(path, source, report, members_only=False):
    lines = source.text.split("\n")
    count, previous = 0, None
    for function in cpp_outline.functions(source):
        if members_only and not function.in_class:
            continue
        if needs_no_doc(function):
            previous = (function, previous is not None and previous[1])
            continue
        count += 1
        good = has_sentence(lines, function, previous)
        if not good:
            report.add(path, function.line, f"{function.name} has no /// comment")
        previous = (function, good)
    return count


def check(options, report):
    count = 0
    ops = options.root / "include/wick/ops"
    for path in lint_support.cpp_files(options.root, "include/wick", suffixes=lint_support.HEADER_SUFFIXES):
        source = lint_support.Source.read(path)
        is_op = path.is_relative_to(ops)
        if is_op:
            count += check_op_header(path, source, report)
        count += check_other_header(path, source, report, members_only=is_op)
    return f"{count} public functions say what they promise"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
