"""Engines of the CPU benchmark: one process each, pinned, and stopped while another one works."""

import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NATIVE = ("ours", "onednn", "openblas", "llama.cpp")
PYTHON = ("torch", "numpy")
NAMES = (*NATIVE, *PYTHON)
# What a shell may export to slow a peer down: an OPENBLAS_CORETYPE, say, halves OpenBLAS.
DROPPED = ("OPENBLAS_", "GOTO_", "OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_", "MALLOC_", "WICK_NUM_THREADS")
# glibc keeps what is freed: the faster setting for all who allocate results.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592", "MALLOC_TOP_PAD_": "67108864"}
# Where `./dev bench peers llama.cpp` puts its libraries, for all copies of the tree.
LLAMA = "wick/llama.cpp/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"
PATIENCE_S = 300
PR_SET_PDEATHSIG = 1


class EngineError(Exception):
    """An engine that cannot be used, with the reason."""


def environment(threads, base=None):
    kept = {k: v for k, v in (os.environ if base is None else base).items() if not k.startswith(DROPPED)}
    cache = kept.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
    kept.setdefault("WICK_BENCH_LLAMA", str(pathlib.Path(cache) / LLAMA))
    counts = ("WICK_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {**kept, **MALLOC, **dict.fromkeys(counts, str(threads))}


def processors():
    """Those that this process may use; None where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def busy_seconds():
    """What all processes have used so far, and what the host took; 0 where the system does not say."""
    try:
        fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _, _, interrupts, soft, stolen = map(int, fields[:8])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def python_with(module):
    """The interpreter that has a module: this one or the system's, for which Debian's packages are."""
    for python in dict.fromkeys((sys.executable, "/usr/bin/python3")):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)"
        try:
            if subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            continue
    return None


def command_of(name, program):
    if name not in PYTHON:
        return [str(program), name]
    python = python_with(name)
    if python is None:
        raise EngineError(f"no Python here has {name}")
    return [python, str(HERE / "peer.py"), name]


class Engine:
    """A running process that answers commands. It sleeps until it is asked."""

    def __init__(self, name, command, threads):
        self.name = name
        cpus = processors()
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None

        def prepare():
            if cpus is not None:
                os.sched_setaffinity(0, cpus[:threads])
            if libc is not None:  # a stopped process would outlive a benchmark that is killed
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(threads),
                                        preexec_fn=prepare, bufsize=0)  # fmt: skip
        self.pending = b""
        self.about = self._line()
        if "absent" in self.about:
            self.close()
            raise EngineError(self.about["absent"])
        self._signal(signal.SIGSTOP)

    @property
    def version(self):
        return self.about.get("version", "")

    def ask(self, *words):
        """The answer to one command; "error" in it when the engine could not do it. Throws EngineError when it is gone."""
        self._signal(signal.SIGCONT)
        try:
            self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
            return self._line()
        except BrokenPipeError:
            raise EngineError(f"{self.name} ended") from None
        finally:
            self._signal(signal.SIGSTOP)

    def ask_with_memory(self, *words):
        """The answer, and how many bytes the process' resident set grew by at most; None where that is not known."""
        before = self._memory("VmRSS", reset=True)
        answer = self.ask(*words)
        after = self._memory("VmHWM")
        return answer, after - before if before and after else None

    def cpu_seconds(self):
        """What the process has used so far; 0 where the system does not say."""
        try:
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self._signal(signal.SIGCONT)
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def _line(self):
        while b"\n" not in self.pending:
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
            part = os.read(self.process.stdout.fileno(), 1 << 20) if ready else b""
            if not ready:
                self.process.kill()
                raise EngineError(f"{self.name} did not answer within {PATIENCE_S} s")
            if not part:
                raise EngineError(f"{self.name} ended with status {self.process.wait()}")
            self.pending += part
        line, _, self.pending = self.pending.partition(b"\n")
        return json.loads(line)

    def _memory(self, key, reset=False):
        folder = pathlib.Path("/proc") / str(self.process.pid)
        try:
            if reset:
                (folder / "clear_refs").write_text("5")
            for line in (folder / "status").read_text().splitlines():
                if line.startswith(key + ":"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return None


def start(names, program, threads):
    """({name: Engine}, {name: why it is absent})"""
    running, absent = {}, {}
    for name in names:
        try:
            running[name] = Engine(name, command_of(name, program), threads)
        except (EngineError, OSError, ValueError) as error:
            absent[name] = str(error)
    return running, absent
