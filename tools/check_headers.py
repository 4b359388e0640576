#!/usr/bin/env python3
"""Checks that each header of include/ and src/ compiles alone and has `#pragma once`.

The header for C programs must compile as C11 too, without any extension. Those of src/backends/cuda are compiled by
nvcc ($CUDACXX, in PATH or in /usr/local/cuda) and left out, with a note, where there is none.
Headers named *-inl.hpp are compiled once per instruction set by their sources and are left out.
What passed is remembered in build/lint-cache by content, so that a second run is quick.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile

import lint_cache
import lint_support

FLAGS = ["-std=c++20", "-fsyntax-only", "-Iinclude", "-Isrc"]
C_FLAGS = ["-std=c11", "-pedantic-errors", "-Wall", "-Wextra", "-Wstrict-prototypes", "-Werror", "-fsyntax-only"]
CUDA_FLAGS = ["-std=c++20", "--expt-relaxed-constexpr", "-x", "cu", "-ptx", "-Iinclude", "-Isrc", "-o", os.devnull]
CUDA_FOLDER = "src/backends/cuda/"
# As g++ writes it, `a.hpp:3:1: error: text`, or as nvcc does, `a.cuh(3): error: text`.
MESSAGE = re.compile(
    r"^(?P<file>[^:(\n]+)(?::(?P<line>\d+)(?::\d+)?|\((?P<cuda_line>\d+)\)): (?:fatal )?error: (?P<text>.*)$", re.MULTILINE
)


def compiler_command(language="c++"):
    if language == "cuda":
        return [*(shlex.split(os.environ.get("CUDACXX", "")) or [find_nvcc()]), *CUDA_FLAGS]
    return [*shlex.split(os.environ.get("CXX", "g++")), *(FLAGS if language == "c++" else C_FLAGS)]


def find_nvcc():
    """nvcc as CMake finds it."""
    return shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"


def compile_alone(root, header, language="c++"):
    """Compiles a file that includes nothing but the header; returns its errors and what it includes."""
    with tempfile.NamedTemporaryFile(suffix=".d") as rule:
        flags = ["-MMD", "-MF", rule.name, "-include", header]
        flags += ["/dev/null"] if language == "cuda" else ["-x", language, "/dev/null"]
        command = [*compiler_command(language), *flags]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        dependencies = lint_cache.make_dependencies(open(rule.name, encoding="utf-8").read())
    if result.returncode == 0:
        return [], [lint_cache.relative_to(root, d) for d in dependencies if d != "/dev/null"]
    said = result.stderr + result.stdout  # where nvcc writes
    errors = [(m["file"], int(m["line"] or m["cuda_line"]), m["text"]) for m in MESSAGE.finditer(said)]
    return errors or [(header, 1, said.strip())], []


def compile_header(root, header):
    """compile_alone() in every language that the header is for."""
    errors, dependencies = compile_alone(root, header, "cuda" if header.startswith(CUDA_FOLDER) else "c++")
    if header == lint_support.C_HEADER and not errors:
        errors, _ = compile_alone(root, header, "c")
    return errors, dependencies


def check(options, report):
    root = options.root
    version = lint_cache.tool_version(compiler_command()[0])
    if version is None:
        report.add("tools/check_headers.py", 1, f"the compiler {compiler_command()[0]} is missing")
        return ""
    cuda_version = lint_cache.tool_version(compiler_command("cuda")[0])
    jobs, left_out = {}, 0
    for path in lint_support.cpp_files(root, "include", "src", suffixes=lint_support.HEADER_SUFFIXES):
        if path.name.endswith("-inl.hpp"):
            continue
        name = path.relative_to(root).as_posix()
        if not re.search(r"^[ \t]*#[ \t]*pragma[ \t]+once\b", lint_support.Source.read(path).code, re.MULTILINE):
            report.add(name, 1, "has no `#pragma once`")
        if not name.startswith(CUDA_FOLDER):
            jobs[name] = lint_cache.digest(version, *compiler_command(), *compiler_command("c"))
        elif cuda_version is not None:
            jobs[name] = lint_cache.digest(version, cuda_version, *compiler_command("cuda"))
        else:
            left_out += 1
    if left_out:
        report.note(CUDA_FOLDER.rstrip("/"), 1, f"there is no nvcc: {left_out} headers were not compiled")
    cache = lint_cache.PassCache(root / "build/lint-cache/headers.json", root)
    failed, ran = lint_cache.run_all(cache, jobs, lambda name: compile_header(root, name))
    for name, errors in sorted(failed.items()):
        for file, line, text in errors[:3]:
            report.add(file, line, text if file == name else f"{text} (when {name} is compiled alone)")
    return f"{len(jobs)} headers compile alone ({ran} compiled now)"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
