#!/usr/bin/env python3
"""Prints a run of the CPU benchmark as a table: table.py [--markdown] RUN.jsonl"""

import json
import pathlib
import sys


def load(path):
    """The records of a run. Exits with the reason when the file is not one."""
    try:
        records = [json.loads(line) for line in pathlib.Path(path).read_text("utf-8").splitlines()]
        if records[0]["kind"] == "run":
            return records
        reason = "it does not begin with a record of the run"
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = error
    sys.exit(f"{path} is no run of the CPU benchmark: {reason}")


def number(us):
    if us is None:
        return "-"
    if us >= 100_000:
        return f"{us / 1000:,.0f} ms"
    if us >= 10_000:
        return f"{us / 1000:.1f} ms"
    return f"{us:,.0f}" if us >= 100 else f"{us:.1f}"


def by_case(records):
    """{(threads, case): {engine: record}} in the order of the file."""
    cases = {}
    for record in records:
        if record["kind"] == "case":
            cases.setdefault((record["threads"], record["case"]), {})[record["engine"]] = record
    return cases


def cell(record):
    if record is None:
        return "-"
    if "refused" in record:
        return "REFUSED"
    if "us" not in record:
        return "not timed"
    low, high = record["interval_us"]
    spread = 100 * max(high - record["us"], record["us"] - low) / record["us"]
    share = f", {100 * record['share']:.0f} %" if record.get("share") else ""
    reach = f" ±{spread:.0f} %" if len(record["rounds_us"]) > 1 else ""  # one round says nothing of it
    return f"{number(record['us'])}{reach}{share}" + ("" if record["clean"] else " ~")


def rows(records):
    engines = list(dict.fromkeys(r["engine"] for r in records if r["kind"] == "case"))
    engines.sort(key=lambda name: name != "ours")
    yield ["case, µs", "threads", "floor", *engines, "ours / best peer"]
    for (threads, _), found in by_case(records).items():
        any_record = next(iter(found.values()))
        peers = [r["us"] for name, r in found.items() if name != "ours" and "us" in r]
        ours = found.get("ours", {}).get("us")
        ratio = f"{min(peers) / ours:.2f}x" if peers and ours else "-"
        floor = f"{number(any_record['floor_us'])} {any_record['bound']}".strip()
        yield [any_record["label"], str(threads), floor, *(cell(found.get(name)) for name in engines), ratio]


def header(records):
    run = records[0]
    yield f"{run['date']}, commit {run['commit']}, {run['compiler']}, {run['cpu']}"
    yield "engines: " + "; ".join(f"{name} {version}" for name, version in run["engines"].items())
    yield "absent: " + "; ".join(f"{name} ({why})" for name, why in run["absent"].items())
    for machine in records:
        if machine["kind"] == "machine":
            peaks = ", ".join(f"{dtype} {rate / 1e9:,.0f} GFLOP/s ({machine['instructions'][dtype]})"
                              for dtype, rate in sorted(machine["peak_flops"].items()))  # fmt: skip
            rates = [entry for entry in machine["bandwidth"] if entry["kind"] != "copy_nt"]
            moved = ", ".join(f"{entry['kind']} of {entry['footprint'] / 2**20:.3g} MiB {entry['bytes_per_second'] / 1e9:.0f}"
                              for entry in rates if entry["footprint"] in (min(e["footprint"] for e in rates),
                                                                           max(e["footprint"] for e in rates)))  # fmt: skip
            yield f"{machine['threads']} threads: peak {peaks}; GB/s: {moved}"


def footer(records):
    for record in records:
        if "refused" in record:
            yield f"refused: {record['label']}, {record['engine']}, {record['threads']} threads: {record['refused']}"
        if "peak_memory_bytes" in record and "refused" not in record:
            yield (f"memory: {record['label']}, {record['engine']}, {record['threads']} threads: "
                   f"{record['peak_memory_bytes'] / 2**20:,.0f} MiB at most")  # fmt: skip


def legend(records):
    """How to read the figures, and whether to trust them."""
    timed = [record for record in records if "us" in record]
    least = min((record["coverage"] for record in timed if len(record["rounds_us"]) > 1), default=0)
    reach = f", ± how far its interval of at least {100 * least:.0f} % reaches" if least else ""
    yield (f"µs: median of the rounds{reach}, share of the floor's speed; ~: disturbed in every round. A ratio above 1 means "
           "that Wick is faster.")  # fmt: skip
    dirty = sum(not record["clean"] for record in timed)
    if dirty > len(timed) / 10:
        yield f"The machine was busy: {dirty} of {len(timed)} figures had no undisturbed round. Do not quote this run."


def text(records):
    lines = list(rows(records))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    body = ["  ".join(part.ljust(width) for part, width in zip(line, widths)).rstrip() for line in lines]
    return "\n".join([*header(records), "", *body, "", *footer(records), *legend(records)])


def markdown(records):
    lines = [f"| {' | '.join(line)} |" for line in rows(records)]
    lines.insert(1, "|" + "---|" * len(next(iter(rows(records)))))
    notes = [f"- {note}" for note in (*footer(records), *legend(records))]
    return "\n".join([*(line + "  " for line in header(records)), "", *lines, "", *notes])


def main(argv):
    wants_markdown = argv[:1] == ["--markdown"]
    files = argv[1:] if wants_markdown else argv
    if len(files) != 1:
        sys.exit(__doc__)
    print((markdown if wants_markdown else text)(load(files[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
