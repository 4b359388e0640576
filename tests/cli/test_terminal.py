"""Signals, and what a terminal shows."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios

from program import ENVIRONMENT, PROGRAM, TIMEOUT_S, ProgramTest, chat_model, seeds, tiny_model


class SignalTest(ProgramTest):
    def begin(self, *flags):
        """A long run, once its first step is done."""
        command = [PROGRAM, "train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir",
                   self.folder / "out", "--max-seq-length", "32", "--r", "2", "--max-steps", "1000000",
                   "--json", *flags]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=ENVIRONMENT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        first = json.loads(process.stdout.readline())
        self.assertEqual(first["step"], 1)
        return process

    def end(self, process):
        """What the run printed to its end; it must have been interrupted."""
        lines = [json.loads(line) for line in process.stdout]
        errors = process.stderr.read()
        self.assertEqual(process.wait(TIMEOUT_S), 130, errors)
        return lines

    def test_an_interrupt_saves_and_ends_and_the_run_goes_on(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                process = self.begin("--overwrite-output-dir")
                process.send_signal(number)
                lines = self.end(process)
                steps = lines[-1]["steps"]
                self.assertEqual(lines[-1]["end"], "interrupted")
                state = json.loads((self.folder / "out" / f"checkpoint-{steps}" / "trainer_state.json").read_text())
                self.assertEqual(state["global_step"], steps)
                self.assertFalse((self.folder / "out" / "adapter_model.safetensors").exists())

    def test_the_way_to_go_on_is_printed_and_works(self):
        process = self.begin()
        process.send_signal(signal.SIGINT)
        lines = self.end(process)
        steps = lines[-1]["steps"]
        page = (self.folder / "out" / "report.html").read_text("utf-8")
        self.assertIn("--resume", page)
        result = self.wick("train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir",
                           self.folder / "out", "--max-seq-length", 32, "--r", 2, "--max-steps", 1000000,
                           "--resume", "--memory-budget", "1KiB", code=5)
        self.assertIn("budget", result.stderr)
        metrics = [json.loads(line) for line in (self.folder / "out" / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(metrics[-1]["step"], steps)

    def test_a_second_interrupt_ends_at_once(self):
        # With one step of many micro-batches under way the first interrupt waits for the current one only; two in a
        # row find the process either saving or gone. Stopped in between, it sees both before it can do anything.
        process = self.begin()
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        lines = self.end(process)
        self.assertFalse([line for line in lines if line.get("event") == "end"])
        self.assertFalse((self.folder / "out" / "report.html").exists())

    def test_generation_ends_with_what_it_has(self):
        process = subprocess.Popen([PROGRAM, "generate", "--model", str(tiny_model()), "--prompt", "Love:", "-n", "200",
                                    "--ignore-eos"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        first = os.read(process.stdout.fileno(), 1)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.wait(TIMEOUT_S)
        self.assertIn(process.returncode, (0, 130))
        (first + rest).decode("utf-8")


class Terminal:
    """A child whose standard streams are a terminal of our own."""

    def __init__(self, command, columns=80):
        self.process, self.file = pty.fork()
        if self.process == 0:
            os.execve(PROGRAM, [PROGRAM, *map(str, command)], ENVIRONMENT)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.text = ""

    def read(self):
        """More output; nothing at the end."""
        ready, _, _ = select.select([self.file], [], [], TIMEOUT_S)
        if not ready:
            os.kill(self.process, signal.SIGKILL)
            raise AssertionError(f"the program hangs after {self.text!r}")
        try:
            data = os.read(self.file, 65536)
        except OSError:  # the other end is closed
            data = b""
        self.text += data.decode("utf-8", "replace")
        return data

    def read_until(self, words):
        while words not in self.text:
            if not self.read():
                raise AssertionError(f"{words!r} did not come: {self.text!r}")

    def write(self, data):
        os.write(self.file, data)

    def end(self):
        while self.read():
            pass
        _, status = os.waitpid(self.process, 0)
        os.close(self.file)
        return os.waitstatus_to_exitcode(status)


class TerminalTest(ProgramTest):
    def test_progress_is_one_line_that_changes(self):
        terminal = Terminal(["train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir",
                             self.folder / "out", "--max-seq-length", 32, "--r", 2, "--max-steps", 25,
                             "--logging-steps", 10], columns=60)
        self.assertEqual(terminal.end(), 0, terminal.text)
        for step in range(1, 26):
            self.assertIn(f"\r\x1b[Kstep {step}/25", terminal.text)
        lines = terminal.text.replace("\r\n", "\n").split("\n")
        kept = [re.sub(r".*\r\x1b\[K", "", line) for line in lines if "step " in line and "/25  loss" in line]
        self.assertEqual([line.split()[1] for line in kept], ["1/25", "10/25", "20/25", "25/25"])
        for passing in re.findall(r"\r\x1b\[K(step [^\r\n]*)(?=\r\x1b)", terminal.text):
            self.assertLess(len(passing), 60)

    def test_a_conversation(self):
        terminal = Terminal(["chat", "--model", chat_model(), "--chat-template", "chatml", "-n", 3, "--ignore-eos"])
        terminal.read_until("> ")
        terminal.write(b"Hello\n")
        while terminal.text.count("> ") < 2:
            terminal.read()
        terminal.write(b"\x04")  # Ctrl-D
        self.assertEqual(terminal.end(), 0, terminal.text)

    def test_ctrl_c_at_the_prompt_leaves_the_conversation(self):
        terminal = Terminal(["chat", "--model", chat_model(), "--chat-template", "chatml", "-n", 3])
        terminal.read_until("> ")
        terminal.write(b"\x03")
        self.assertEqual(terminal.end(), 130, terminal.text)
