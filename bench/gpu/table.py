#!/usr/bin/env python3
"""Joins what bench/gpu/run.sh measured: prints one table and writes results.json.

usage: table.py <folder>

The folder holds run.json (what ran where), and where those parts ran ours-ops.jsonl, ours-models.jsonl and peers.jsonl. The
ratio is the speed of Wick over that of the fastest peer; the share is that of the floor's speed that Wick reaches.
"""

import json
import pathlib
import sys


def lines_of(path):
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.startswith("{")]


def models(entry):
    """The rows of one `wick bench --json`."""
    if "train_tokens_per_second" in entry:
        yield f"train/{entry['shape']}", {
            "tokens_per_second": entry["train_tokens_per_second"],
            "floor_tokens_per_second": entry["train_limit_tokens_per_second"],
            "step_seconds": entry["step_seconds"],
            "first_step_seconds": entry["first_step_seconds"],
            "peak_memory_bytes": entry["peak_memory_bytes"],
        }
    if "generate_tokens_per_second" in entry:
        yield f"decode/{entry['shape']}", {
            "tokens_per_second": entry["generate_tokens_per_second"],
            "floor_tokens_per_second": entry["generate_limit_tokens_per_second"],
            "peak_memory_bytes": entry["peak_memory_bytes"],
        }


def join(folder):
    """{case: {"ours": {…}, "peers": {name: {…}}}} in the order of measuring."""
    cases = {}

    def row(case):
        return cases.setdefault(case, {"ours": None, "peers": {}})

    for entry in lines_of(folder / "ours-ops.jsonl"):
        row(entry.pop("case"))["ours"] = entry
    for entry in lines_of(folder / "ours-models.jsonl"):
        if "skipped" in entry:
            row(entry["case"])["ours"] = {"skipped": entry["skipped"]}
            continue
        for case, values in models(entry):
            row(case)["ours"] = values
    for entry in lines_of(folder / "peers.jsonl"):
        row(entry.pop("case"))["peers"][entry.pop("peer")] = entry
    return cases


def value_of(result):
    """(number, whether more is better), or None for what was not measured."""
    if not result:
        return None
    if "us" in result:
        return result["us"], False
    if "tokens_per_second" in result:
        return result["tokens_per_second"], True
    return None


def speed(result):
    value = value_of(result)
    if value is None:
        return None
    return value[0] if value[1] else 1 / value[0]


def number(value):
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else f"{value:.1f}"


def cell(result):
    value = value_of(result)
    if value is None:
        return "-" if not result else "skipped"
    memory = result.get("peak_memory_bytes")
    return number(value[0]) + (f" {memory / 2**30:.1f}GiB" if memory else "")


def table_row(case, entry):
    ours = entry["ours"] or {}
    floor = ours.get("floor_us", ours.get("floor_tokens_per_second"))
    fastest = max((s for s in map(speed, entry["peers"].values()) if s), default=None)
    mine = speed(ours)
    ratio = f"{mine / fastest:.2f}x" if mine and fastest else "-"
    share = "-"
    if mine and floor:
        share = f"{100 * (floor / ours['us'] if 'us' in ours else ours['tokens_per_second'] / floor):.0f} %"
    peers = "; ".join(f"{name} {cell(result)}" for name, result in entry["peers"].items()) or "-"
    unit = "tok/s" if "/" in case and case.split("/")[0] in ("train", "decode") else "us"
    return [case, unit, number(floor) if floor else "-", cell(ours), share, peers, ratio]


def adapter_costs(cases):
    """What the adapter costs over the frozen layer, of Wick and of the fastest peer, in percent."""
    for case, entry in cases.items():
        kind, _, shape = case.partition("/")
        frozen = cases.get(f"{kind.replace('lora', 'frozen')}/{shape}")
        if not kind.startswith("lora_") or frozen is None:
            continue
        costs = {}
        if "us" in (entry["ours"] or {}) and "us" in (frozen["ours"] or {}):
            costs["ours"] = 100 * (entry["ours"]["us"] / frozen["ours"]["us"] - 1)
        lora = [peer["us"] for peer in entry["peers"].values() if "us" in peer]
        plain = [peer["us"] for peer in frozen["peers"].values() if "us" in peer]
        if lora and plain:
            costs["peers"] = 100 * (min(lora) / min(plain) - 1)
        if costs:
            yield case, costs


def print_table(rows):
    header = ["case", "unit", "floor", "ours", "of floor", "peers", "ours/best peer"]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def main():
    folder = pathlib.Path(sys.argv[1])
    run = json.loads((folder / "run.json").read_text("utf-8"))
    cases = join(folder)
    costs = dict(adapter_costs(cases))
    for key, value in run.items():
        print(f"{key}: {(', '.join(value) or 'nothing') if isinstance(value, list) else value}")
    if cases:
        print()
        print_table([table_row(case, entry) for case, entry in cases.items()])
    for case, cost in costs.items():
        print(f"{case}: the adapter costs " + ", ".join(f"{who} {value:+.0f} %" for who, value in cost.items()))
    for case, entry in cases.items():
        for who, result in [("ours", entry["ours"] or {}), *entry["peers"].items()]:
            if "skipped" in result:
                print(f"{case}, {who}: skipped, {result['skipped']}")
    results = {"run": run, "cases": cases, "adapter_cost_percent": costs}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
