#!/usr/bin/env python3
"""Writes a run of `./dev bench cpu` and one of `./dev bench growth` into docs/benchmarks.md: docs.py CPU.jsonl GROWTH.jsonl

The files and their charts lie in docs/benchmarks. What stands between `<!-- begin: cpu -->` and `<!-- end: cpu -->`, and
the same for growth, is replaced.
"""

import pathlib
import sys

import growth
import table

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/benchmarks.md"


def links(path, title):
    """The chart, and where the figures are, for a page beside the file's folder."""
    relative = f"{path.parent.name}/{path.stem}"
    return [f"![{title}]({relative}.svg)", "", f"Every figure is in [{relative}.jsonl]({relative}.jsonl)."]


def cpu_block(path):
    records = table.load(path)
    command = f"`./dev bench --budget {records[0]['budget_s']:g} --threads {','.join(map(str, records[0]['threads']))}`:"
    return [command, "", table.markdown(records), "", *links(path, "Share of the machine's limit")]


def growth_block(path):
    records = table.load(path)
    run = records[0]
    head = f"{run['date'][:10]}, commit {run['commit']}, {run['cpu']}, {run['processors']} processors. Tokens a second and share of the floor's speed; times where one case runs on many threads; ~: disturbed."
    found = [f"- {line}" for line in growth.findings(records)]
    return [head, "", *growth.table(records), *found, "", *links(path, "Speed by length, size and number of threads")]


def replaced(page, name, lines):
    """The page with these lines in the block; exits when it has no such block."""
    begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        sys.exit(f"{PAGE.name} has no block {name}")
    return before + begin + "\n".join(lines) + "\n" + end + after


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    cpu, grown = map(pathlib.Path, argv)
    page = replaced(PAGE.read_text("utf-8"), "cpu", cpu_block(cpu))
    PAGE.write_text(replaced(page, "growth", growth_block(grown)), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
