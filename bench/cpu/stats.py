"""Medians and their intervals, agreement of results, and which of two runs was faster."""

import math
import statistics


def interval(values, confidence=0.95):
    """(low, high, coverage) of the median by order statistics: no shape of the noise is assumed. With fewer than six
    values all of them together cover less than 95 %, which `coverage` says."""
    ordered = sorted(values)
    n = len(ordered)

    def coverage(k):
        return 1 - 2 * sum(math.comb(n, i) for i in range(k)) / 2**n

    k = 1
    while k + 1 <= n // 2 and coverage(k + 1) >= confidence:
        k += 1
    return ordered[k - 1], ordered[n - k], coverage(k)


def summary(rounds):
    """What a list of chunks says; those that were disturbed count only where no other is there."""
    clean = [one for one in rounds if not one["disturbed"]]
    used = clean or rounds
    medians = [one["us"] for one in used]
    low, high, coverage = interval(medians)
    return {"us": statistics.median(medians), "interval_us": [low, high], "coverage": round(coverage, 4),
            "min_us": min(one["min_us"] for one in used), "max_us": max(one["max_us"] for one in used),
            "rounds_us": medians, "calls": sum(one["calls"] for one in used),
            "disturbed_rounds": len(rounds) - len(clean), "clean": bool(clean)}  # fmt: skip


def difference(found, expected):
    """The largest difference of two lists of results over the root mean square of each result; infinite where they are
    not of the same sizes or hold what is no number."""
    if [len(part) for part in found] != [len(part) for part in expected]:
        return math.inf
    worst = 0.0
    for part, right in zip(found, expected):
        scale = math.sqrt(sum(value * value for value in right) / len(right)) or 1.0
        for value, wanted in zip(part, right):
            apart = abs(value - wanted) if value is not None and wanted is not None else math.inf
            worst = max(worst, math.inf if math.isnan(apart) else apart / scale)
    return worst


def verdict(before, after):
    """"faster", "slower" or "same?" for two intervals of times: only those that do not touch are told apart."""
    if after[1] < before[0]:
        return "faster"
    if after[0] > before[1]:
        return "slower"
    return "same?"
