#!/usr/bin/env python3
"""Runs clang-tidy with .clang-tidy on the sources of src/ that build/dev/compile_commands.json names.

Files for nvcc (.cu) are left out: clang 19 reads CUDA's headers up to version 12.5, and the project is built with 13.
What passed is remembered in build/lint-cache by the content of the source, of what it includes, and
of .clang-tidy, so that a second run is quick.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess

import lint_cache
import lint_support

TOOL = os.environ.get("CLANG_TIDY", "clang-tidy-19")
FINDING = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):\d+: (?:error|warning): (?P<text>.*)$", re.MULTILINE)
# The database is written for g++; clang need not know each of its warnings.
EXTRA = ["--extra-arg=-Wno-unknown-warning-option"]


def commands(root, database):
    """{source relative to the root: compile command as (directory, arguments)} for src/."""
    found = {}
    for entry in json.loads(database.read_text()):
        path = pathlib.Path(entry["directory"], entry["file"])
        if path.suffix == ".cu" or not path.is_relative_to(root / "src") or not path.is_file():
            continue
        arguments = entry.get("arguments") or shlex.split(entry["command"])
        if pathlib.Path(arguments[0]).name in ("ccache", "sccache"):
            arguments = arguments[1:]
        found[path.relative_to(root).as_posix()] = (entry["directory"], arguments)
    return found


def dependencies(root, directory, arguments):
    """The project's files that a source includes, by its own compile command."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument in ("-o", "-MF", "-MT", "-MQ"):
            skip = not skip
            continue
        if argument not in ("-c", "-MD", "-MMD"):
            kept.append(argument)
    result = subprocess.run([*kept, "-MM"], cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        return None
    paths = [pathlib.Path(directory, d) for d in lint_cache.make_dependencies(result.stdout)]
    return [lint_cache.relative_to(root, os.path.normpath(p)) for p in paths]


def tidy(root, database, name, command):
    included = dependencies(root, *command)
    result = subprocess.run(
        [TOOL, "--quiet", "-p", str(database.parent), *EXTRA, str(root / name)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    findings = {(m["file"], int(m["line"]), m["text"]) for m in FINDING.finditer(result.stdout)}
    if result.returncode != 0 and not findings:
        findings = {(name, 1, (result.stdout + result.stderr).strip())}
    if included is None and not findings:
        findings = {(name, 1, "its compile command no longer works; configure again")}
    return sorted(findings), included or []


def check(options, report):
    root = options.root
    database = root / "build/dev/compile_commands.json"
    version = lint_cache.tool_version(TOOL)
    if version is None or not database.is_file():
        missing = f"{TOOL} is missing" if version is None else "it is missing; run ./dev build"
        report.add("build/dev/compile_commands.json", 1, missing)
        return ""
    sources = commands(root, database)
    if not sources:
        report.add(database, 1, "names no source of src/")
    config = (root / ".clang-tidy").read_text()
    jobs = {
        name: lint_cache.digest(version, config, directory, *arguments)
        for name, (directory, arguments) in sorted(sources.items())
    }
    cache = lint_cache.PassCache(root / "build/lint-cache/tidy.json", root)
    failed, ran = lint_cache.run_all(cache, jobs, lambda name: tidy(root, database, name, sources[name]))
    for file, line, text in sorted({finding for findings in failed.values() for finding in findings}):
        report.add(file, line, text)
    return f"clang-tidy finds nothing in {len(jobs)} sources ({ran} read now)"


if __name__ == "__main__":
    lint_support.run_check(__doc__, check)
