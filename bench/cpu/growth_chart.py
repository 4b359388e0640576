"""Draws a run of `./dev bench growth`: one panel for each series, both axes logarithmic."""

import html
import math

WIDTH, PANEL, LEFT, RIGHT, TOP = 800, 230, 70, 250, 40
COLOURS = ("#c2410c", "#0f766e", "#1d4ed8", "#a16207", "#7e22ce", "#475569", "#be123c", "#4d7c0f")
PANELS = (("length", "length", "tokens/s", "tokens of a row"), ("size", "parameters", "tokens/s", "parameters"),
          ("threads", "threads", "times as long as on the fastest number of threads", "threads"))  # fmt: skip


def words(x, y, content, anchor="start", colour="#000"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{html.escape(content)}</text>'


def short(value):
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"


def heights(series, line):
    """What y says of each record of a line."""
    if series != "threads":
        return [record["tokens_per_second"] for record in line]
    least = min(record["us"] for record in line)
    return [record["us"] / least for record in line]


class Scale:
    """A logarithmic axis from places `low` to `high` on the page."""

    def __init__(self, values, low, high):
        self.least, self.most = math.log(min(values)), math.log(max(values))
        self.low, self.high = low, high

    def __call__(self, value):
        span = (self.most - self.least) or 1
        return self.low + (self.high - self.low) * (math.log(value) - self.least) / span


def panel(top, title, axis, lines):
    """The parts of one panel; `lines` is [(name, [(x, y)])]."""
    xs = [x for _, line in lines for x, _ in line]
    ys = [y for _, line in lines for _, y in line]
    across = Scale(xs, LEFT, WIDTH - RIGHT)
    up = Scale(ys, top + PANEL - 40, top + 20)
    parts = [words(8, top + 6, title), words((LEFT + WIDTH - RIGHT) / 2, top + PANEL - 8, axis, "middle")]
    for x in sorted(set(xs)):
        parts.append(words(across(x), top + PANEL - 24, short(x), "middle"))
    for y in ticks(min(ys), max(ys)):
        parts.append(f'<path d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}" stroke="#e2e8f0"/>')
        parts.append(words(LEFT - 6, up(y) + 4, short(y), "end"))
    for number, (name, line) in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in line)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.5" fill="{colour}"/>' for x, y in line]
        parts.append(words(WIDTH - RIGHT + 14, top + 24 + 15 * number, name, colour=colour))
    return parts


def ticks(least, most):
    """1, 2 and 5 times the powers of ten that lie between."""
    found = []
    power = math.floor(math.log10(least))
    while 10.0**power <= most:
        found += [step * 10.0**power for step in (1, 2, 5) if least <= step * 10.0**power <= most]
        power += 1
    return found


def draw(records, lines):
    run = records[0]
    parts = [words(8, 18, f"{run['cpu']}, commit {run['commit']}, {run['date'][:10]}")]
    top = TOP
    for series, key, what, axis in PANELS:
        mine = []
        for (kind, name, dtype, threads), line in lines.items():
            if kind == series and line:
                label = name if threads is None else f"{name} {dtype}, {threads} T"
                mine.append((label, [(r[key], y) for r, y in zip(line, heights(series, line))]))
        if mine:
            parts += panel(top, what, axis, mine)
            top += PANEL
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 8}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{top + 8}" fill="#fff"/>', *parts, "</svg>"]) + "\n"
