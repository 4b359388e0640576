#!/usr/bin/env python3
"""Keeps README.md true: runs its commands on a small model, and finds its snippets, and those of the pages that have any,
in the programs that a test runs."""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"(?:<!-- from: (?P<path>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```\n", re.DOTALL)
# Commands that this test cannot run itself: where they are run, and by which line.
RUN_ELSEWHERE = {
    "./dev demo": (".ci/run", "./dev demo"),
    "./dev test": (".ci/run", "./dev test"),
    "cmake --preset release": ("dev", 'cmake --preset "$1"'),
    "cmake --build --preset release": (".ci/run", "./dev test release"),
    "cmake --install build/release --prefix ~/.local": ("tests/install/run.sh", "cmake --install"),
}
RECORDS = 24
PAGES = ("docs/generation.md",)


def commands(text):
    """The commands of a shell block, without comments."""
    for line in text.splitlines():
        for command in line.split(" #")[0].split("&&"):
            if command.strip() and not command.strip().startswith("#"):
                yield command.strip()


def make_folder(folder):
    """What the commands speak of: my-model and my-data."""
    lexicon = ROOT / "examples/lexicon"
    shutil.copytree(lexicon / "base", folder / "my-model")
    (folder / "my-data").mkdir()
    for source, target in (("train", "train"), ("test", "valid")):
        lines = (lexicon / f"devil/{source}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"my-data/{target}.jsonl").write_text("".join(lines[:RECORDS]))


def run(command, wick, folder):
    print("$", command, flush=True)
    words = [str(wick), *[word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)][1:]]
    subprocess.run(words, cwd=folder, check=True)


def check_elsewhere(command):
    if command not in RUN_ELSEWHERE:
        raise SystemExit(f"README.md: nothing runs the command {command!r}")
    path, text = RUN_ELSEWHERE[command]
    if text not in (ROOT / path).read_text():
        raise SystemExit(f"README.md: {command!r} is no longer run by {path}")


def check_snippet(page, block):
    if block["path"] is None:
        raise SystemExit(f"{page}: no test runs this snippet; name its file in a comment:\n{block['text']}")
    program = (ROOT / block["path"]).read_text()
    there = any(textwrap.indent(block["text"], margin) in program for margin in ("", "  "))
    if not block["text"].strip() or not there:
        raise SystemExit(f"{page}: {block['path']} does not have this snippet:\n{block['text']}")


def check_pages():
    """How many snippets the pages have; all of them are true."""
    count = 0
    for page in PAGES:
        blocks = list(BLOCK.finditer((ROOT / page).read_text()))
        if not blocks:
            raise SystemExit(f"{page}: has no snippets")
        for block in blocks:
            check_snippet(page, block)
        count += len(blocks)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wick", type=pathlib.Path, required=True, help="the program")
    wick = parser.parse_args().wick.resolve()
    page = (ROOT / "README.md").read_text()
    blocks = list(BLOCK.finditer(page))
    ran = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_folder(folder)
        for block in blocks:
            if block["language"] != "sh":
                check_snippet("README.md", block)
                continue
            for command in commands(block["text"]):
                if command.startswith("wick "):
                    run(command, wick, folder)
                    ran += 1
                else:
                    check_elsewhere(command)
    if ran < 5 or len(blocks) < 6:
        raise SystemExit(f"README.md: only {ran} commands and {len(blocks)} blocks were found")
    print(f"{ran} commands ran, {len(blocks) + check_pages()} blocks are true")
    return 0


if __name__ == "__main__":
    sys.exit(main())
