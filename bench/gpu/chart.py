#!/usr/bin/env python3
"""Draws results.json of bench/gpu/run.sh as bars: chart.py results.json OUT.svg

A bar is a speed over that of the fastest peer in the same case; longer is faster.
"""

import json
import pathlib
import sys

WIDTH, LABELS, ROW, GAP = 760, 250, 14, 8
COLOURS = {"ours": "#c2410c", "eager": "#94a3b8", "compile": "#475569", "graph": "#475569"}


def speed(entry):
    return entry["tokens_per_second"] if "tokens_per_second" in entry else 1e6 / entry["us"]


def text(x, y, words, anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'


def bars(cases):
    """(case, [(who, speed over the fastest peer's)]) of every case that has peers and is not a limit of the machine."""
    for case, measured in cases.items():
        peers = {who: speed(entry) for who, entry in measured["peers"].items() if "skipped" not in entry}
        if not peers or case.startswith(("machine/", "frozen_")) or "skipped" in measured["ours"]:
            continue
        best = max(peers.values())
        yield case, [("ours", speed(measured["ours"]) / best)] + [(who, value / best) for who, value in peers.items()]


def draw(results):
    drawn = list(bars(results["cases"]))
    longest = min(4.0, max(ratio for _, rows in drawn for _, ratio in rows))
    scale = (WIDTH - LABELS - 60) / longest
    y, parts = 36, [text(8, 20, f"speed over the fastest peer; {results['run']['device'].split(';')[0]}")]
    for case, rows in drawn:
        parts.append(text(LABELS - 8, y + ROW - 3, case, "end"))
        for who, ratio in rows:
            width = min(ratio, longest) * scale
            parts.append(f'<rect x="{LABELS}" y="{y}" width="{width:.1f}" height="{ROW - 2}" fill="{COLOURS[who]}"/>')
            parts.append(text(LABELS + width + 4, y + ROW - 3, f"{who} {ratio:.2f}"))
            y += ROW
        y += GAP
    one = LABELS + scale
    parts.append(f'<path d="M{one:.1f} 30V{y}" stroke="#000" stroke-dasharray="3 3"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{y + 8}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def main():
    source, target = (pathlib.Path(argument) for argument in sys.argv[1:3])
    target.write_text(draw(json.loads(source.read_text("utf-8"))), "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main()
