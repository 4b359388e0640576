#!/usr/bin/env python3
"""Checks that every op of the catalogue is whole.

src/runtime/op_catalog.def has lines `WICK_OP(<id>, <kind>)` and `WICK_KERNEL(<id>, <ArgsType>)`. An
op has its source, its test cases, its reference and its declaration; a kernel has its args struct.
"""

import re

import cpp_outline
import lint_support

CATALOG = "src/runtime/op_catalog.def"
ENTRY = re.compile(r"^[ \t]*WICK_(OP|KERNEL)\s*\(([^)]*)\)", re.MULTILINE)
# Sources of src/ops/ that several ops share.
SHARED_SOURCES = {
    "binary.cpp", "checks.cpp", "layouts.cpp", "lora_operands.cpp", "losses.cpp", "norms.cpp", "products.cpp",
    "random_key.cpp", "reductions.cpp", "rope_frequencies.cpp", "softmaxes.cpp",
}  # fmt: skip
OP_FILES = ("src/ops/{}.cpp", "tests/cases/{}_cases.cpp", "tests/reference/{}_ref.hpp")


def read_catalog(path, report):
    """Two dictionaries, op -> line and kernel -> (args type, line)."""
    ops, kernels = {}, {}
    source = lint_support.Source.read(path)
    for match in ENTRY.finditer(source.without_directives()):
        line = source.line_of(match.start(1))
        words = [word.strip() for word in match.group(2).split(",")]
        entries = ops if match.group(1) == "OP" else kernels
        if len(words) < 2 or not all(words[:2]):
            report.add(path, line, f"WICK_{match.group(1)} takes an id and a second argument")
            continue
        if words[0] in entries:
            report.add(path, line, f"{words[0]} is there twice")
        entries[words[0]] = line if match.group(1) == "OP" else (words[1], line)
    return ops, kernels


def declared_functions(root):
    names = set()
    for path in lint_support.cpp_files(root, "include/wick/ops", suffixes=lint_support.HEADER_SUFFIXES):
        for function in cpp_outline.functions(lint_support.Source.read(path)):
            names.add(function.simple_name)
    return names


def defined_structs(root):
    names = set()
    for path in lint_support.cpp_files(root, "src/runtime/args", suffixes=lint_support.HEADER_SUFFIXES):
        code = lint_support.Source.read(path).code
        names.update(re.findall(r"\b(?:struct|class)\s+(\w+)\s*(?:final\s*)?(?::[^{;]*)?\{", code))
        names.update(re.findall(r"\busing\s+(\w+)\s*=", code))
    return names


def check(options, report):
    root = options.root
    catalog = root / CATALOG
    if not catalog.is_file():
        report.add(CATALOG, 1, "the catalogue is missing")
        return ""
    ops, kernels = read_catalog(catalog, report)
    functions, structs = declared_functions(root), defined_structs(root)
    for op, line in ops.items():
        for pattern in OP_FILES:
            if not (root / pattern.format(op)).is_file():
                report.add(catalog, line, f"{op} has no {pattern.format(op)}")
        if op not in functions:
            report.add(catalog, line, f"{op} is declared in no header of include/wick/ops/")
    for kernel, (args, line) in kernels.items():
        if args not in structs:
            report.add(catalog, line, f"{kernel}: {args} is defined in no header of src/runtime/args/")
    for path in lint_support.cpp_files(root, "src/ops", suffixes={".cpp"}):
        if path.stem not in ops and path.name not in SHARED_SOURCES:
            report.add(path, 1, "belongs to no op of the catalogue (nor to SHARED_SOURCES of tools/check_ops.py)")
    return f"{len(ops)} ops and {len(kernels)} kernels are whole"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
