#!/usr/bin/env python3
"""Checks that each header of include/ and src/ compiles alone and has `#pragma once`.

The header for C programs must compile as C11 too, without any extension.
Headers named *-inl.hpp are compiled once per instruction set by their sources and are left out.
What passed is remembered in build/lint-cache by content, so that a second run is quick.
"""

import os
import re
import shlex
import subprocess
import tempfile

import lint_cache
import lint_support

FLAGS = ["-std=c++20", "-fsyntax-only", "-Iinclude", "-Isrc"]
C_FLAGS = ["-std=c11", "-pedantic-errors", "-Wall", "-Wextra", "-Wstrict-prototypes", "-Werror", "-fsyntax-only"]
MESSAGE = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+)(?::\d+)?: (?:fatal )?error: (?P<text>.*)$", re.MULTILINE)


def compiler_command(language="c++"):
    return [*shlex.split(os.environ.get("CXX", "g++")), *(FLAGS if language == "c++" else C_FLAGS)]


def compile_alone(root, header, language="c++"):
    """Compiles a file that includes nothing but the header; returns its errors and what it includes."""
    with tempfile.NamedTemporaryFile(suffix=".d") as rule:
        flags = ["-MMD", "-MF", rule.name, "-include", header, "-x", language, "/dev/null"]
        command = [*compiler_command(language), *flags]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        dependencies = lint_cache.make_dependencies(open(rule.name, encoding="utf-8").read())
    if result.returncode == 0:
        return [], [lint_cache.relative_to(root, d) for d in dependencies if d != "/dev/null"]
    errors = [(m["file"], int(m["line"]), m["text"]) for m in MESSAGE.finditer(result.stderr)]
    return errors or [(header, 1, result.stderr.strip())], []


def compile_header(root, header):
    """compile_alone() in every language that the header is for."""
    errors, dependencies = compile_alone(root, header)
    if header == lint_support.C_HEADER and not errors:
        errors, _ = compile_alone(root, header, "c")
    return errors, dependencies


def check(options, report):
    root = options.root
    version = lint_cache.tool_version(compiler_command()[0])
    if version is None:
        report.add("tools/check_headers.py", 1, f"the compiler {compiler_command()[0]} is missing")
        return ""
    jobs = {}
    for path in lint_support.cpp_files(root, "include", "src", suffixes=lint_support.HEADER_SUFFIXES):
        if path.name.endswith("-inl.hpp"):
            continue
        name = path.relative_to(root).as_posix()
        if not re.search(r"^[ \t]*#[ \t]*pragma[ \t]+once\b", lint_support.Source.read(path).code, re.MULTILINE):
            report.add(name, 1, "has no `#pragma once`")
        jobs[name] = lint_cache.digest(version, *compiler_command(), *compiler_command("c"))
    cache = lint_cache.PassCache(root / "build/lint-cache/headers.json", root)
    failed, ran = lint_cache.run_all(cache, jobs, lambda name: compile_header(root, name))
    for name, errors in sorted(failed.items()):
        for file, line, text in errors[:3]:
            report.add(file, line, text if file == name else f"{text} (when {name} is compiled alone)")
    return f"{len(jobs)} headers compile alone ({ran} compiled now)"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
