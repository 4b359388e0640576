#!/usr/bin/env python3
"""Draws a run of the CPU benchmark as bars: share_chart.py RUN.jsonl OUT.svg

A bar is the share of the machine's limit that an engine reaches; the dashed line is the limit.
"""

import html
import pathlib
import sys

import table

WIDTH, LABELS, ROW, GAP, TOP = 760, 270, 13, 8, 44
COLOURS = {"ours": "#c2410c", "onednn": "#475569", "openblas": "#64748b", "llama.cpp": "#7c8ba1", "torch": "#94a3b8", "numpy": "#cbd5e1"}


def words(x, y, content, anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{html.escape(content)}</text>'


def bars(records):
    """(label, [(engine, share)]) of every case with a floor."""
    for (threads, _), found in table.by_case(records).items():
        shares = [(name, record["share"]) for name, record in found.items() if record.get("share")]
        if shares:
            shares.sort(key=lambda pair: pair[0] != "ours")
            yield f"{next(iter(found.values()))['label']}, {threads}T", shares


def draw(records):
    drawn = list(bars(records))
    run = records[0]
    longest = max([1.0, *(share for _, shares in drawn for _, share in shares)])
    scale = (WIDTH - LABELS - 110) / longest
    parts = [words(8, 18, f"share of the machine's limit; {run['cpu']}, commit {run['commit']}, {run['date'][:10]}")]
    y = TOP
    for label, shares in drawn:
        parts.append(words(LABELS - 8, y + ROW - 3, label, "end"))
        for name, share in shares:
            width = share * scale
            colour = COLOURS.get(name, "#94a3b8")
            parts.append(f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{ROW - 2}" fill="{colour}"/>')
            parts.append(words(LABELS + width + 4, y + ROW - 3, f"{name} {100 * share:.0f} %"))
            y += ROW
        y += GAP
    limit = LABELS + scale
    parts.append(f'<path d="M{limit:.1f} {TOP - 10}V{y}" stroke="#000" stroke-dasharray="3 3"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 8}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    pathlib.Path(argv[1]).write_text(draw(table.load(argv[0])), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
