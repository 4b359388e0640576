#!/usr/bin/env python3
"""How the speed of Wick changes with the length of rows, the size of the model and the number of threads, as
`./dev bench growth` does.

  length    a LoRA step of a small Llama, one row of 256 to 16,384 tokens
  size      a LoRA step (one row of 256 tokens) and a decoded token, of models of 1 million to 1 billion parameters
  threads   some cases on 1 to 64 threads, on the processors that this machine has

Every point is a process of its own, pinned to as many processors as it has threads. Points are taken from the cheapest to
the dearest until the budget is used; what is left out is said, with the reason. Each stands beside its floor, as in
`./dev bench cpu`. Results on any number of threads must be those on one, to the bit.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import sys
import time

import cases
import engines
import growth_chart
import run
import stats

LENGTHS = [256 << i for i in range(7)]
# hidden, intermediate, layers, heads, key heads, vocabulary
SHAPES = [(128, 344, 4, 4, 2, 2048), (256, 688, 8, 8, 4, 8192), (512, 1376, 10, 8, 4, 16000), (768, 2048, 12, 12, 4, 32000),
          (1024, 2816, 24, 16, 4, 32000), (2048, 5632, 18, 32, 8, 32000)]  # fmt: skip
MANY_THREADS = (1, 2, 3, 4, 8, 16, 32, 64)
THREAD_CASES = ["lora_linear f32 128 1024 1024 8", "lora_grad f32 512 1024 1024 8", "softmax f32 1024 1024",
                "train f32 256 688 4 4 4 2048 4 256 8", "train bf16 256 688 4 4 4 2048 4 256 8",
                "decode bf16 768 2048 12 12 4 32000 1 128 8"]  # fmt: skip
RANK, PROMPT = 8, 128
CHUNK_MS, TRIES = 150, 2
GUESSED_SHARE = {"f32": 0.4, "bf16": 0.06}  # of the floor's speed in training, to guess what a point will take
GUESSED_SHARE_OF_BYTES = 0.6
START_S, FILL_RATE = 0.3, 5e7  # of a process; elements that are made in a second
LONG_S = 2  # a step that is called once to warm up and once to be timed, where others are called at least three times
CHECKED_S = 0.4  # results of steps up to this long are compared with those of one thread
CLIFF = 1.5  # times less of the floor's speed than the point before
SLOW = 1.5  # times as long on many threads as on as many as there are processors
SERIES = ("length", "size", "threads")


@dataclasses.dataclass(frozen=True)
class Point:
    series: str
    case: cases.Case
    threads: int

    @property
    def parameters(self):
        if not self.case.is_model:
            return None
        model = self.case.model
        return cases.weights_of(model)[0] + model["hidden"] * model["vocabulary"]

    @property
    def tokens(self):
        """That one call goes through."""
        if not self.case.is_model:
            return None
        return self.case.model["batch"] * (self.case.model["length"] if self.case.op == "train" else 1)

    @property
    def memory(self):
        """Bytes that the point takes, roughly: weights, once more in f32 while they are made, and what training keeps."""
        if not self.case.is_model:
            return 1 << 28
        model = self.case.model
        kept = model["layers"] * (14 * model["hidden"] + 6 * model["intermediate"])
        largest = 4 * max(model["vocabulary"], model["intermediate"]) * model["hidden"]
        return self.parameters * self.case.element + 3 * largest + 4 * self.tokens * kept + (1 << 28)


def case_of(words):
    op, dtype, *sizes = words.split()
    return cases.Case(op, dtype, tuple(map(int, sizes)))


def points(series, processors, only=()):
    threads = sorted({1, processors})
    found = []
    if "length" in series:
        found += [Point("length", cases.Case("train", dtype, (*cases.LLAMA_SMALL[:6], 1, length, RANK)), count)
                  for dtype in ("f32", "bf16") for length in LENGTHS for count in threads]  # fmt: skip
    if "size" in series:
        found += [Point("size", cases.Case(op, dtype, (*shape, 1, length, RANK)), count)
                  for op, length in (("train", 256), ("decode", PROMPT)) for dtype in ("f32", "bf16")
                  for shape in SHAPES for count in threads]  # fmt: skip
    if "threads" in series:
        found += [Point("threads", case_of(words), count) for words in THREAD_CASES
                  for count in sorted({*MANY_THREADS, processors})]  # fmt: skip
    return [point for point in found if not only or point.case.name.startswith(only)]


def available_memory():
    try:
        for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


class Growth:
    def __init__(self, options):
        self.options = options
        self.processors = len(engines.processors() or [0])
        self.points = points(options.series, self.processors, options.only)
        self.end = time.monotonic() + options.budget
        self.machines = {}
        self.first = {}  # case: what it answers on one thread

    def close(self):
        for machine in self.machines.values():
            machine.engine.close()

    def measure_machines(self):
        for threads in sorted({min(point.threads, self.processors) for point in self.points}):
            tools, absent = engines.start(["machine"], self.options.program, threads)
            if absent:
                raise engines.EngineError(absent["machine"])
            self.machines[threads] = run.Machine(tools["machine"])
            self.machines[threads].measure([p.case for p in self.points if min(p.threads, self.processors) == threads])

    def machine(self, point):
        return self.machines[min(point.threads, self.processors)]

    def step_s(self, point):
        """What a call will take, by its floor."""
        floor, bound = self.machine(point).floor(point.case)
        return (floor or 1e5) / 1e6 / (GUESSED_SHARE_OF_BYTES if bound == "bytes" else GUESSED_SHARE[point.case.dtype])

    def point_s(self, point):
        checks = 5 * self.step_s(point) if self.is_checked(point) else 0
        return START_S + (point.parameters or 0) / FILL_RATE + checks + max((1 + self.least_calls(point)) * self.step_s(point), CHUNK_MS / 1000)

    def least_calls(self, point):
        return 3 if self.step_s(point) < LONG_S else 1

    def is_checked(self, point):
        return self.step_s(dataclasses.replace(point, threads=1)) < CHECKED_S

    def measure(self):
        """The records of all points, in their order."""
        found = {}
        for point in sorted(self.points, key=lambda p: (self.point_s(p), p.threads)):
            found[point] = {"kind": "point", "series": point.series, "case": point.case.name, "label": point.case.label,
                            "op": point.case.op, "dtype": point.case.dtype, "threads": point.threads,
                            "tokens": point.tokens, "parameters": point.parameters,
                            "length": point.case.model["length"] if point.case.is_model else None}  # fmt: skip
            found[point] |= self.taken(point)
            say(f"{point.series:8} {point.case.name}, {point.threads} threads: {in_words(found[point])}")
        return [found[point] for point in self.points]

    def taken(self, point):
        left, memory = self.end - time.monotonic(), available_memory()
        if self.point_s(point) > left:
            return {"left_out": f"it would take about {self.point_s(point):.0f} s, and {max(left, 0):.0f} of the budget are left"}
        if memory is not None and point.memory > 0.8 * memory:
            return {"left_out": f"it takes about {point.memory / 2**30:.1f} GiB, and {memory / 2**30:.1f} are free"}
        running, absent = engines.start(["ours"], self.options.program, point.threads)
        if absent:
            raise engines.EngineError(absent["ours"])
        try:
            return self.timed(running["ours"], point)
        except engines.EngineError as error:
            return {"refused": str(error)}
        finally:
            running["ours"].close()

    def timed(self, engine, point):
        result = {}
        if self.is_checked(point):
            answer = engine.ask("check", point.case.name)
            if "probes" not in answer:
                return {"refused": answer.get("error", "no result came back")}
            expected = self.first.setdefault(point.case.name, answer["probes"])
            if stats.difference(answer["probes"], expected) != 0:
                return {"refused": "its results are not those of fewer threads"}
            result["checked"] = True
        least = self.least_calls(point)
        best = None
        for attempt in range(TRIES):
            (answer, memory), calm = self.machine(point).watch(
                engine, lambda: engine.ask_with_memory("time", point.case.name, 1, CHUNK_MS, least))
            if "us" not in answer:
                return {"refused": answer.get("error", "no time came back")}
            best = answer if best is None or answer["us"] < best["us"] else best
            if calm or time.monotonic() + 2 * self.step_s(point) * least > self.end:
                break
        floor, bound = self.machine(point).floor(point.case)
        result |= {**best, "floor_us": floor, "bound": bound, "share": floor / best["us"] if floor else None,
                   "disturbed": not calm, "tries": attempt + 1}  # fmt: skip
        if memory:
            result["memory_bytes"] = memory
        if point.tokens:
            result["tokens_per_second"] = 1e6 * point.tokens / best["us"]
        return result


def in_words(record):
    if "us" not in record:
        return f"left out: {record['left_out']}" if "left_out" in record else f"REFUSED: {record['refused']}"
    speed = f"{record['tokens_per_second']:,.0f} tokens/s, " if record["tokens"] else ""
    share = f"{100 * record['share']:.0f} % of the floor's speed" if record["share"] else "no floor"
    return f"{speed}{record['us'] / 1000:,.2f} ms, {share}" + (" ~" if record["disturbed"] else "")


def lines_of(records):
    """{(series, op or case, dtype, threads): records along the line}; a line of threads has one case."""
    lines = {}
    for record in records:
        if record["kind"] == "point" and "us" in record:
            if record["series"] == "threads":
                key = ("threads", record["label"], record["dtype"], None)
            else:
                key = (record["series"], record["op"], record["dtype"], record["threads"])
            lines.setdefault(key, []).append(record)
    return lines


def findings(records):
    """Cliffs, threads that cost, and what was left out, in words."""
    points_timed = [record for record in records if "us" in record]
    calm = [record for record in points_timed if not record["disturbed"]]
    if len(calm) < len(points_timed):
        yield f"{len(points_timed) - len(calm)} of {len(points_timed)} points were disturbed; nothing is concluded from those"
    for (series, what, dtype, threads), line in lines_of(calm).items():
        if series == "threads":
            processors = records[0]["processors"]
            usual = next((r["us"] for r in line if r["threads"] == processors), None)
            for record in line:
                if usual and record["threads"] > processors and record["us"] > SLOW * usual:
                    yield (f"slow: {what} takes {record['us'] / usual:.1f} times as long on {record['threads']} threads as on "
                           f"{processors}")  # fmt: skip
            continue
        for before, after in zip(line, line[1:]):
            if before["share"] and after["share"] and before["share"] > CLIFF * after["share"]:
                yield (f"cliff: {what} {dtype}, {threads} threads: {after['label']} ({after['parameters'] / 1e6:,.0f} M parameters) has "
                       f"{100 * after['share']:.0f} % of its floor's speed, the point before {100 * before['share']:.0f} %")  # fmt: skip
    for record in records:
        if "left_out" in record or "refused" in record:
            yield f"{record['label']}, {record['threads']} threads: {in_words(record)}"


def table(records):
    """Markdown."""
    processors = records[0]["processors"]
    for series, head in (("length", "length"), ("size", "parameters"), ("threads", "threads")):
        lines = {key: line for key, line in lines_of(records).items() if key[0] == series}
        if not lines:
            continue
        at = [{record[head]: record for record in line} for line in lines.values()]
        names = [what if series == "threads" else f"{what} {dtype}, {count} T" for _, what, dtype, count in lines]
        yield f"| {head} | " + " | ".join(names) + " |"
        yield "|---" * (len(names) + 1) + "|"
        for x in sorted({x for line in at for x in line}):
            cells = [cell(line.get(x), line.get(processors) if series == "threads" else None) for line in at]
            yield f"| {x / 1e6:,.0f} M | " + " | ".join(cells) + " |" if series == "size" else f"| {x:,} | " + " | ".join(cells) + " |"
        yield ""


def cell(record, usual):
    if record is None:
        return "-"
    mark = " ~" if record["disturbed"] else ""
    if usual is not None or not record["tokens"]:
        return f"{record['us'] / 1000:,.2f} ms{mark}"
    share = f", {100 * record['share']:.0f} %" if record["share"] else ""
    rate = record["tokens_per_second"]
    return (f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}") + share + mark


def arguments(argv):
    parser = argparse.ArgumentParser(prog="./dev bench growth", description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", type=pathlib.Path, default=run.ROOT / "build/release-cpu/bench/wick_cpu_bench")
    parser.add_argument("--budget", type=float, default=600, metavar="SECONDS", help="in all (default 600)")
    parser.add_argument("--series", default=",".join(SERIES), metavar="A[,B]", help=f"default: {','.join(SERIES)}")
    parser.add_argument("--only", default="", metavar="CASE[,CASE]", help='cases whose names begin so: "decode,train bf16 2048"')
    parser.add_argument("--out", type=pathlib.Path, help="the JSON lines; default: a new file in build/bench")
    options = parser.parse_args(argv)
    options.series = options.series.split(",")
    if unknown := set(options.series) - set(SERIES):
        parser.error(f"no such series: {', '.join(sorted(unknown))}; there are {', '.join(SERIES)}")
    if options.budget <= 0:
        parser.error("--budget must be positive")
    options.only = tuple(word.strip() for word in options.only.split(",") if word.strip())
    if not points(options.series, 1, options.only):
        parser.error(f"no case begins with {', '.join(options.only)}")
    return options


def say(words):
    print(words, file=sys.stderr, flush=True)


def main(argv):
    options = arguments(argv)
    if not options.program.is_file():
        sys.exit(f"there is no {options.program}: ./dev bench growth builds it")
    growth = Growth(options)
    try:
        growth.measure_machines()
        records = growth.measure()
        limits = [machine.record(threads) for threads, machine in growth.machines.items()]
    finally:
        growth.close()
    about = {"kind": "run", "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
             "commit": run.first_line("git", "describe", "--always", "--dirty"), "cpu": run.cpu_model(),
             "processors": growth.processors, "budget_s": options.budget, "load": os.getloadavg()[0]}  # fmt: skip
    records = [about, *limits, *records]
    out = options.out or run.ROOT / f"build/bench/growth-{datetime.datetime.now():%Y%m%d-%H%M%S}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    out.with_suffix(".svg").write_text(growth_chart.draw(records, lines_of(records)), "utf-8")
    print("\n".join([*table(records), *findings(records)]))
    print(f"\n{out} and {out.with_suffix('.svg').name} hold this run")
    return 1 if any("refused" in record for record in records) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except engines.EngineError as failure:
        sys.exit(f"bench: {failure}")
