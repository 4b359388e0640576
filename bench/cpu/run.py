#!/usr/bin/env python3
"""Times Wick on the CPU beside oneDNN, OpenBLAS, llama.cpp, PyTorch and NumPy, as `./dev bench cpu` does.

Every engine is a process of its own, pinned to the same processors and stopped while another works. In each round all
cases come in a random order, and within a case all engines: 20 ms to warm up, then a chunk of calls. Before and after
every chunk a loop of multiply-adds says whether the machine was slowed down, and the system whether other processes ran;
such a chunk is repeated. Results are compared with a reference in double, those of models among the engines; the figure of
one that differs is refused.

Peers that are not installed are named, and never installed: `./dev bench peers` says how.
"""

import argparse
import datetime
import json
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import time

import cases
import engines
import share_chart
import stats
import table

ROOT = pathlib.Path(__file__).resolve().parents[2]
CANARY_MS, WARM_MS, LEAST_CALLS, TRIES = 2, 20, 3, 3
LEAST_CHUNK_MS, MOST_CHUNK_MS, OVERHEAD_MS = 5, 150, 40
CLEAN_SHARE = 0.85  # of the canary's best
OTHERS_SHARE, OTHERS_S = 0.15, 0.02  # of one processor, what others may use during a chunk, and at least that much


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./dev bench cpu", description=__doc__.split("\n")[0])
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/release-cpu/bench/wick_cpu_bench")
    parser.add_argument("--budget", type=float, default=240, metavar="SECONDS", help="of timing, in all (default 240)")
    parser.add_argument("--rounds", type=int, default=7, help="at most; six tell runs apart (default 7)")
    parser.add_argument("--threads", default="", metavar="N[,M]", help="default: as many as there are processors")
    parser.add_argument("--only", default="", metavar="CASE[,CASE]", help='cases whose names begin so: "lora,softmax f32 64"')
    parser.add_argument("--engines", default=",".join(engines.NAMES), metavar="A[,B]", help="default: all")
    parser.add_argument("--out", type=pathlib.Path, help="the JSON lines; default: a new file in build/bench")
    parser.add_argument("--seed", type=int, help="of the order; default: a new one")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    options = parser.parse_args(argv)
    options.engines = options.engines.split(",")
    if unknown := set(options.engines) - set(engines.NAMES):
        parser.error(f"no such engine: {', '.join(sorted(unknown))}; there are {', '.join(engines.NAMES)}")
    options.cases = cases.chosen([word.strip() for word in options.only.split(",") if word.strip()])
    if not options.cases:
        parser.error(f"no case begins with {options.only}; --list prints them")
    available = len(engines.processors() or [0]) if engines.processors() else 1
    try:
        options.threads = [int(word) for word in options.threads.split(",")] if options.threads else [available]
    except ValueError:
        parser.error(f"--threads takes numbers, got {options.threads}")
    if min(options.threads) < 1 or max(options.threads) > available:
        parser.error(f"--threads must be of [1, {available}] here")
    if options.budget <= 0 or options.rounds < 1:
        parser.error("--budget and --rounds must be positive")
    options.seed = random.randrange(2**31) if options.seed is None else options.seed
    return options


def first_line(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip().splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def cpu_model():
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return first_line("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


class Machine:
    """The limits of this machine, measured before and after the cases, and the canary."""

    def __init__(self, engine):
        self.engine = engine
        self.peaks = {}
        self.bandwidths = {}
        self.canary_best = 0.0

    def canary(self):
        rate = self.engine.ask("peak", "f32", CANARY_MS)["flops"]
        self.canary_best = max(self.canary_best, rate)
        return rate

    def watch(self, engine, work):
        """What work() answers, and whether nothing disturbed it."""

        def others():
            own = engine.cpu_seconds() + self.engine.cpu_seconds() + time.process_time()
            return engines.busy_seconds() - own

        rate, used, begin = self.canary(), others(), time.monotonic()
        answer = work()
        rate = min(rate, self.canary())
        allowed = max(OTHERS_SHARE * (time.monotonic() - begin), OTHERS_S)
        return answer, rate >= CLEAN_SHARE * self.canary_best and others() - used <= allowed

    @staticmethod
    def footprint(case):
        """Bytes that a case touches, as a power of two; beyond half a GiB the bandwidth is that of memory anyway."""
        return min(1 << max(case.work()[1] - 1, 1).bit_length(), 1 << 29)

    def measure_peaks(self, wanted):
        for dtype in {case.dtype for case in wanted} | {"f32"}:
            rates = [self.engine.ask("peak", dtype, 20)["flops"] for _ in range(5)]
            self.peaks[dtype] = max(self.peaks.get(dtype, 0), statistics.median(rates))

    def measure(self, wanted):
        self.measure_peaks(wanted)
        for footprint in sorted({self.footprint(case) for case in wanted}):
            for kind in ("read", "copy", "copy_nt"):
                rates = [self.engine.ask("bandwidth", kind, footprint, 10)["bytes"] for _ in range(3)]
                key = (kind, footprint)
                self.bandwidths[key] = max(self.bandwidths.get(key, 0), statistics.median(rates))

    def floor(self, case):
        """(µs, what bounds it); (None, "") where the machine has no loop for the dtype."""
        flops, moved, reads = case.work()
        kinds = ("read", "copy", "copy_nt") if reads else ("copy", "copy_nt")
        bandwidth = max(self.bandwidths[kind, self.footprint(case)] for kind in kinds)
        if flops and not self.peaks[case.dtype]:
            return None, ""
        by_flops = 1e6 * flops / self.peaks[case.dtype] if flops else 0
        by_bytes = 1e6 * moved / bandwidth
        return (by_flops, "flops") if by_flops > by_bytes else (by_bytes, "bytes")

    def record(self, threads):
        rates = [{"kind": kind, "footprint": size, "bytes_per_second": rate} for (kind, size), rate in
                 sorted(self.bandwidths.items())]  # fmt: skip
        return {"kind": "machine", "threads": threads, "peak_flops": self.peaks, "bandwidth": rates,
                "instructions": {d: self.engine.ask("peak", d, 1)["instructions"] for d in self.peaks}}  # fmt: skip


class Session:
    """One number of threads: the engines that run, what they verified, what they took."""

    def __init__(self, options, threads, budget):
        self.threads = threads
        self.program = options.program
        self.cases = options.cases
        self.rounds = options.rounds
        self.budget = budget
        self.random = random.Random(options.seed + threads)
        self.running, self.absent = engines.start(options.engines, options.program, threads)
        self.tools, broken = engines.start(("machine", "reference"), options.program, threads)
        if broken:
            self.close()
            raise engines.EngineError("; ".join(f"{name}: {why}" for name, why in broken.items()))
        self.reference = self.tools["reference"]
        self.machine = Machine(self.tools["machine"])
        self.results = {}  # (case, engine): the record in the making
        self.chunks = {}  # (case, engine): list of chunks

    def close(self):
        for engine in [*self.running.values(), *self.tools.values()]:
            engine.close()

    def lose(self, name, why):
        """An engine that is gone takes no further part."""
        self.absent[name] = why
        self.running.pop(name).close()
        say(f"{name} is out: {why}")

    def verify(self):
        for case in self.cases:
            answers = {}
            for name in list(self.running):
                memory = self.memory_of(case, name)
                try:
                    answer = self.running[name].ask("check", case.name)
                except engines.EngineError as error:
                    self.results[case, name] = {"refused": str(error)}
                    self.lose(name, str(error))
                    continue
                if "unsupported" in answer:
                    continue
                answers[name] = answer
                self.results[case, name] = {"peak_memory_bytes": memory} if memory else {}
            self.judge(case, answers)

    def memory_of(self, case, name):
        """What training takes at most, in a process that has done nothing else."""
        if case.op != "train":
            return None
        fresh, _ = engines.start([name], self.program, self.threads)
        if name not in fresh:
            return None
        try:
            answer, memory = fresh[name].ask_with_memory("check", case.name)
            return memory if "probes" in answer else None
        except engines.EngineError:
            return None  # it will say so again where it is verified
        finally:
            fresh[name].close()

    def judge(self, case, answers):
        exact = self.reference.ask("check", case.name)
        for name, answer in answers.items():
            record = self.results[case, name]
            if "error" in answer:
                record["refused"] = answer["error"]
                continue
            if "probes" in exact:
                others = {"a reference in double": exact}
            else:
                others = {other: theirs for other, theirs in answers.items() if other != name and "probes" in theirs}
            if not others:
                record["refused"] = "no other engine here computes it, so nothing verifies it"
                continue
            apart = {other: stats.difference(answer["probes"], theirs["probes"]) for other, theirs in others.items()}
            nearest = min(apart, key=apart.get)
            if apart[nearest] > case.tolerance:
                record["refused"] = f"differs from {nearest} by {apart[nearest]:.1e}, of which {case.tolerance:.0e} is allowed"
            else:
                record["verified_by"], record["difference"] = nearest, apart[nearest]

    def timed(self):
        return [(case, [name for name in self.running if "verified_by" in self.results.get((case, name), {})])
                for case in self.cases]  # fmt: skip

    def measure(self):
        pairs = max(sum(len(names) for _, names in self.timed()), 1)
        chunk_ms = 1000 * self.budget / self.rounds / pairs - OVERHEAD_MS - WARM_MS
        chunk_ms = min(max(chunk_ms, LEAST_CHUNK_MS), MOST_CHUNK_MS)
        end = time.monotonic() + self.budget
        for number in range(self.rounds):
            order = self.timed()
            self.random.shuffle(order)
            for case, names in order:
                self.random.shuffle(names)
                for name in names:
                    if number > 0 and time.monotonic() > end:
                        return
                    self.chunk(case, name, chunk_ms, end)
            # Again and again, since the machine may have been busy when it was done first.
            self.machine.measure_peaks(self.cases)
            say(f"{self.threads} threads: round {number + 1} of at most {self.rounds} is done")

    def chunk(self, case, name, chunk_ms, end):
        engine = self.running[name]
        for attempt in range(TRIES):
            try:
                answer, calm = self.machine.watch(
                    engine, lambda: engine.ask("time", case.name, WARM_MS, chunk_ms, LEAST_CALLS))
            except engines.EngineError as error:
                self.results[case, name] = {"refused": str(error)}
                self.lose(name, str(error))
                return
            if "us" not in answer:
                self.results[case, name] = {"refused": answer.get("error", "no time came back")}
                return
            if calm or time.monotonic() > end:
                break
        self.chunks.setdefault((case, name), []).append({**answer, "disturbed": not calm, "tries": attempt + 1})

    def records(self):
        yield self.machine.record(self.threads)
        for (case, name), result in self.results.items():
            floor, bound = self.machine.floor(case)
            record = {"kind": "case", "case": case.name, "label": case.label, "threads": self.threads, "engine": name,
                      "floor_us": floor, "bound": bound, **result}  # fmt: skip
            if "refused" not in result and (case, name) in self.chunks:
                record.update(stats.summary(self.chunks[case, name]))
                record["share"] = floor / record["us"] if floor else None
            yield record


def say(words):
    print(words, file=sys.stderr, flush=True)


def run_threads(options, threads):
    session = Session(options, threads, options.budget / len(options.threads))
    try:
        for name, why in session.absent.items():
            say(f"absent: {name}: {why}")
        session.verify()
        session.machine.measure(options.cases)
        session.measure()
        session.machine.measure(options.cases)
        about = {name: engine.about for name, engine in session.running.items()}
        return about, session.absent, list(session.records())
    finally:
        session.close()


def describe(options, about, absent):
    ours = about.get("ours", {})
    return {"kind": "run", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": first_line("git", "describe", "--always", "--dirty"), "compiler": ours.get("compiler", ""),
            "cpu": cpu_model(), "host": platform.platform(), "processors": len(engines.processors() or []),
            "threads": options.threads, "seed": options.seed, "budget_s": options.budget,
            "engines": {name: each.get("version", "") for name, each in about.items()},
            "absent": absent}  # fmt: skip


def main(argv):
    options = arguments(argv)
    if options.list:
        print("\n".join(case.name for case in options.cases))
        return 0
    if not options.program.is_file():
        sys.exit(f"there is no {options.program}: ./dev bench cpu builds it")
    about, absent, records = {}, {}, []
    for threads in options.threads:
        found, lacking, more = run_threads(options, threads)
        about.update(found)
        absent.update(lacking)
        records += more
    records.insert(0, describe(options, about, absent))
    out = options.out or ROOT / f"build/bench/cpu-{datetime.datetime.now():%Y%m%d-%H%M%S}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    out.with_suffix(".svg").write_text(share_chart.draw(records), "utf-8")
    print(table.text(records))
    print(f"\n{out} and {out.with_suffix('.svg').name} hold this run")
    # An engine without anybody to compare with is no failure; a wrong result or a lost engine is.
    wrong = [r for r in records if "refused" in r and "no other engine" not in r["refused"]]
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except engines.EngineError as failure:
        sys.exit(f"bench: {failure}")
