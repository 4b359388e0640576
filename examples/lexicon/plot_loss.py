#!/usr/bin/env python3
"""Draws training and held-out loss of runs that followed each other: plot_loss.py OUT.svg metrics.jsonl [metrics.jsonl …]"""

import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 320, 48, 40, 16, 16
SMOOTHING = 20  # steps


def read(paths):
    """Training and held-out loss as (step, loss), steps counted through all runs."""
    training, held_out, begin = [], [], 0
    for path in paths:
        records = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
        training += [(begin + r["step"], r["loss"]) for r in records if "loss" in r]
        held_out += [(begin + r["step"], r["eval_loss"]) for r in records if "eval_loss" in r]
        begin = max(step for step, _ in training)
    return training, held_out


def smooth(points):
    return [
        (points[i][0], sum(loss for _, loss in points[max(0, i - SMOOTHING + 1) : i + 1]) / min(i + 1, SMOOTHING))
        for i in range(0, len(points), SMOOTHING // 4)
    ]


def draw(training, held_out):
    last = training[-1][0]
    low, high = 2.0, 9.0

    def place(point):
        x = LEFT + (WIDTH - LEFT - RIGHT) * point[0] / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - min(point[1], high)) / (high - low)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for loss in range(int(low), int(high) + 1):
        x, y = place((0, loss)).split(",")
        parts.append(f'<path d="M{x} {y}H{WIDTH - RIGHT}" stroke="#ddd"/><text x="8" y="{float(y) + 4}">{loss}</text>')
    for step in range(0, last + 1, 500):
        x, _ = place((step, low)).split(",")
        parts.append(f'<text x="{x}" y="{HEIGHT - 18}" text-anchor="middle">{step}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">step</text>')
    for points, colour, name, row in ((smooth(training), "#1f77b4", "training loss", 0), (held_out, "#d62728", "held-out loss", 1)):
        line = " ".join(map(place, points))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<text x="{WIDTH - 130}" y="{TOP + 16 + 16 * row}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(draw(*read(sys.argv[2:])))
