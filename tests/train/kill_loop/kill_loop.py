#!/usr/bin/env python3
"""Kills `wick train` with SIGKILL at random moments and resumes it, until it ends.

Whenever a run ends, its result, its checkpoints and the losses in metrics.jsonl must be those of a run that nobody
killed; after every kill, each checkpoint that is there must be whole. Runs follow one another until enough kills are
done; at least one of them was killed several times.
"""

import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
    "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6, "hidden_act": "silu", "initializer_range": 0.2, "tie_word_embeddings": True,
}
MODES = {
    "lora": ["--lora-r", "2", "--lora-dropout", "0.2", "--target-modules", "all-linear",
             "--gradient-accumulation-steps", "2", "--load-best-model-at-end", "--learning-rate", "0.05"],
    "full": ["--fine-tune-type", "full", "--packing", "--learning-rate", "0.01"],
}
STEPS = 10


class Failure(Exception):
    pass


class Loop:
    def __init__(self, program, fixtures, folder, seed):
        self.program = program
        self.folder = folder
        self.random = random.Random(seed)
        self.kills = 0
        self.most_kills_of_a_run = 0
        self.make_inputs(fixtures)

    def make_inputs(self, fixtures):
        """A model of a few thousand weights and a few sentences to train it on."""
        tokenizer = fixtures / "tokenizers" / "gpt2" / "tokenizer.json"
        vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))
        tokens = len(vocabulary["model"]["vocab"]) + len(vocabulary["added_tokens"])
        config = self.folder / "config.json"
        config.write_text(json.dumps(CONFIG | {"vocab_size": tokens}))
        words = "a quick brown fox jumps over the lazy dog and runs into a dark wood".split()
        for name, count in (("train", 30), ("valid", 6)):
            lines = [json.dumps({"text": " ".join(self.random.choices(words, k=self.random.randint(3, 12)))})
                     for _ in range(count)]
            (self.folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
        base = self.folder / "base"
        self.finish([self.program, "train", "--init-from-config", config, "--fine-tune-type", "full", "--tokenizer",
                     tokenizer, "--data", self.folder / "train.jsonl", "--max-steps", "1", "--output-dir", base])
        # A model alone, without the traces of how it came to be.
        shutil.rmtree(base / "checkpoint-1")
        shutil.copy(tokenizer, base / "tokenizer.json")

    def command(self, mode, output, limit):
        command = [self.program, "train", "--model", self.folder / "base", "--data", self.folder, "--output-dir",
                   output, "--max-steps", STEPS, "--batch-size", "2", "--max-seq-length", "32", "--save-steps", "2",
                   "--eval-steps", "3", "--warmup-steps", "2", "--save-total-limit", limit, "--num-threads", "1"]
        command += MODES[mode]
        if checkpoints_of(output):
            command.append("--resume-from-checkpoint")
        return command

    def start(self, command):
        return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self, command):
        process = self.start(command)
        output = process.communicate()[0].decode(errors="replace")
        if process.returncode != 0:
            raise Failure(f"ended with {process.returncode}: {output[-2000:]}")

    def killed_after(self, command, seconds):
        """True when the process was killed; false when it had ended by itself."""
        process = self.start(command)
        try:
            output = process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0]
        if process.returncode not in (0, -9):
            raise Failure(f"ended with {process.returncode}: {output.decode(errors='replace')[-2000:]}")
        return process.returncode == -9

    def run_whole(self, mode):
        """The run that nobody kills, with all of its checkpoints, and how long it takes."""
        whole = self.folder / f"{mode}-whole"
        began = time.monotonic()
        self.finish(self.command(mode, whole, 0))
        return whole, time.monotonic() - began

    def run_broken(self, mode, number, whole, seconds, limit):
        """A run that is killed until it ends, or `limit` is reached and it may end in peace."""
        output = self.folder / f"{mode}-broken-{number}"
        kills = 0
        while self.kills < limit:
            if not self.killed_after(self.command(mode, output, 2), self.random.uniform(0, seconds)):
                break
            kills += 1
            self.kills += 1
            check_checkpoints(output, whole)
        else:
            self.finish(self.command(mode, output, 2))
        self.most_kills_of_a_run = max(self.most_kills_of_a_run, kills)
        check_end(output, whole)
        shutil.rmtree(output)


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def checkpoints_of(folder):
    """The folders that a run may be resumed from; a half-written one has a longer name."""
    return [path for path in folder.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]


def check_checkpoints(output, whole):
    for checkpoint in checkpoints_of(output):
        if files_of(checkpoint) != files_of(whole / checkpoint.name):
            raise Failure(f"{checkpoint} is not the checkpoint of the unbroken run")


def losses_of(folder):
    """What was measured at each step, without what depends on the clock."""
    names = ("step", "loss", "grad_norm", "learning_rate", "num_tokens", "eval_loss", "is_best")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name in names} for line in lines]


def check_end(output, whole):
    check_checkpoints(output, whole)
    names = {path.name for path in output.iterdir()}
    expected = {path.name for path in whole.iterdir() if not path.name.startswith("checkpoint-")}
    if not names >= expected or any(".tmp-" in name for name in names):
        raise Failure(f"{output} holds {sorted(names)}, expected {sorted(expected)}")
    if f"checkpoint-{STEPS}" not in names:
        raise Failure(f"{output} lacks its last checkpoint: {sorted(names)}")
    for name in expected - {"metrics.jsonl", "report.html"}:
        if (output / name).read_bytes() != (whole / name).read_bytes():
            raise Failure(f"{output / name} differs from that of the unbroken run")
    if losses_of(output) != losses_of(whole):
        raise Failure(f"the losses of {output} differ:\n{losses_of(output)}\n{losses_of(whole)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=pathlib.Path, required=True, help="the program wick")
    parser.add_argument("--fixtures", type=pathlib.Path, required=True, help="tests/fixtures")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wick-kill-loop-") as folder:
        loop = Loop(options.program, options.fixtures, pathlib.Path(folder), options.seed)
        runs = 0
        try:
            for part, mode in enumerate(MODES, start=1):
                whole, seconds = loop.run_whole(mode)
                while loop.kills < options.kills * part // len(MODES):
                    # Half of the time that a whole run takes: no run ends without having been killed often.
                    loop.run_broken(mode, runs, whole, seconds / 2, options.kills * part // len(MODES))
                    runs += 1
            if loop.most_kills_of_a_run < 2:
                raise Failure("no run was killed more than once")
        except Failure as failure:
            print(f"seed {options.seed}, after {loop.kills} kills: {failure}")
            sys.exit(1)
    print(f"{loop.kills} kills in {runs} runs, {loop.most_kills_of_a_run} at most in one: all ended in the same bytes")


if __name__ == "__main__":
    main()
