#!/usr/bin/env python3
"""Says which cases became faster or slower from one run of the CPU benchmark to another: compare.py A.jsonl B.jsonl

Two medians differ when their intervals do not touch; all others cannot be told apart by these runs. The intervals say
what rounds of one run varied by: two runs on a machine whose speed changed in between differ too, so the peers and the
machine's own limits are compared as well.
"""

import sys

import stats
import table


def pairs(before, after):
    """(case, engine, record, record) of what both runs timed."""
    old, new = table.by_case(before), table.by_case(after)
    for key, found in new.items():
        for engine, record in found.items():
            earlier = old.get(key, {}).get(engine)
            if earlier and "us" in earlier and "us" in record:
                yield f"{record['label']}, {key[0]}T", engine, earlier, record


def machines(before, after):
    """How the limits changed, and what makes the runs hard to compare."""
    a, b = before[0], after[0]
    for key in ("cpu", "compiler"):
        if a[key] != b[key]:
            yield f"note: {key} differs: {a[key]} and {b[key]}"
    peaks = {m["threads"]: m["peak_flops"]["f32"] for m in before if m["kind"] == "machine"}
    for machine in after:
        if machine["kind"] == "machine" and machine["threads"] in peaks:
            ratio = machine["peak_flops"]["f32"] / peaks[machine["threads"]]
            warning = "; the machine itself changed" if abs(ratio - 1) > 0.05 else ""
            yield f"{machine['threads']} threads: the f32 peak is {ratio:.2f} times what it was{warning}"


def report(before, after):
    lines = [f"{before[0]['commit']} of {before[0]['date']} -> {after[0]['commit']} of {after[0]['date']}"]
    lines += machines(before, after)
    found = list(pairs(before, after))
    for word in ("slower", "faster", "same?"):
        for case, engine, old, new in found:
            if stats.verdict(old["interval_us"], new["interval_us"]) == word:
                change = f"{old['us'] / new['us']:.2f}x"
                few = "" if min(old["coverage"], new["coverage"]) >= 0.95 else ", too few rounds for 95 %"
                lines.append(f"{word:7} {change:>7}  {engine:9} {case}: {table.number(old['us'])} -> {table.number(new['us'])}{few}")
    both = {(case, engine) for case, engine, _, _ in found}
    refused = [r for r in after if "refused" in r]
    lines += [f"refused: {r['label']}, {r['engine']}: {r['refused']}" for r in refused]
    lines.append(f"{len(both)} pairs compared; \"same?\": cannot be told apart; x: how many times as fast")
    return "\n".join(lines)


def main(argv):
    if len(argv) != 2:
        sys.exit(__doc__)
    print(report(*map(table.load, argv)))


if __name__ == "__main__":
    main(sys.argv[1:])
