#!/usr/bin/env python3
"""Lays the losses of the same job on several devices beside each other:

    curves.py OUT NAME=metrics.jsonl NAME=metrics.jsonl [NAME=...]

The first is the reference. Writes OUT/curves.json and OUT/curves.svg, prints how far each of the others is from the
reference at its worst step, and fails where steps are missing.
"""

import json
import pathlib
import sys

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 48, 16, 16, 36
COLOURS = ["#94a3b8", "#c2410c", "#1d4ed8", "#15803d"]
# The reference is drawn widest, so that it shows below curves that lie on it.
WIDTHS = [6, 3, 1, 1]


def losses(path):
    records = [json.loads(line) for line in pathlib.Path(path).read_text("utf-8").splitlines()]
    return [record["loss"] for record in records if "loss" in record]


def distance(reference, other):
    """The largest difference relative to the reference, and its step."""
    relative = [abs(a - b) / abs(a) for a, b in zip(reference, other)]
    worst = max(range(len(relative)), key=relative.__getitem__)
    return relative[worst], worst + 1


def compare(curves):
    """{name: {"relative": x, "step": n}} of every curve but the first."""
    (first, reference), *others = curves.items()
    compared = {}
    for name, values in others:
        if len(values) != len(reference) or not values:
            raise ValueError(f"{name} has {len(values)} steps, {first} has {len(reference)}")
        relative, step = distance(reference, values)
        compared[name] = {"relative": relative, "step": step}
    return compared


def draw(curves):
    every = [value for values in curves.values() for value in values]
    low, high, steps = min(every), max(every), max(map(len, curves.values()))

    def place(step, loss):
        x = LEFT + (WIDTH - LEFT - RIGHT) * (step - 1) / max(steps - 1, 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / max(high - low, 1e-9)
        return f"{x:.1f},{y:.1f}"

    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    parts = [head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for row, (name, values) in enumerate(curves.items()):
        line = " ".join(place(step, loss) for step, loss in enumerate(values, 1))
        style = f'stroke="{COLOURS[row % 4]}" stroke-width="{WIDTHS[row % 4]}"'
        parts.append(f'<polyline points="{line}" fill="none" {style}/>')
        parts.append(f'<text x="{WIDTH - 130}" y="{TOP + 16 * (row + 1)}" fill="{COLOURS[row % 4]}">{name}</text>')
    for loss, y in ((high, TOP + 10), (low, HEIGHT - BOTTOM)):
        parts.append(f'<text x="4" y="{y}">{loss:.2f}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}">loss at steps 1 to {steps}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    out, named = pathlib.Path(sys.argv[1]), [argument.partition("=") for argument in sys.argv[2:]]
    curves = {name: losses(path) for name, _, path in named}
    compared = compare(curves)
    for name, found in compared.items():
        print(f"{name}: at most {found['relative']:.1e} of {named[0][0]}'s loss away, at step {found['step']}")
    (out / "curves.json").write_text(json.dumps({"losses": curves, "compared": compared}) + "\n", "utf-8")
    (out / "curves.svg").write_text(draw(curves), "utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main()
