"""`wick train --devices`: several processes train what one would."""

import json
import os
import signal
import socket
import subprocess
import time

from program import ENVIRONMENT, PROGRAM, TIMEOUT_S, ProgramTest, read_safetensors, seeds, tiny_model

DEVICES = ("--devices", "cpu,cpu")
DEADLINE_S = 60  # of what must come; nothing here is timed


def processes_of(parent):
    """Ranks that a process started, by their number."""
    found = {}
    for entry in os.scandir("/proc"):
        try:
            with open(f"/proc/{entry.name}/stat", encoding="utf-8") as file:
                of_parent = int(file.read().rpartition(")")[2].split()[1]) == parent
            if entry.name.isdigit() and of_parent:
                with open(f"/proc/{entry.name}/environ", encoding="utf-8") as file:
                    variables = dict(item.partition("=")[::2] for item in file.read().split("\0"))
                found[int(variables["RANK"])] = int(entry.name)
        except (OSError, ValueError, KeyError):
            continue
    return found


class RanksTest(ProgramTest):
    def run_into(self, name, *arguments, **options):
        out = self.folder / name
        result = self.wick("train", *self.command(out), *arguments, **options)
        return out, result

    def command(self, out):
        return ("--model", tiny_model(), "--data", seeds() / "data", "--output-dir", out, "--max-seq-length", 32,
                "--batch-size", 2, "--lr", "1e-2")

    def metrics(self, out, key="loss"):
        lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        return [(line["step"], line[key]) for line in lines if key in line]

    def check_same_losses(self, *flags, accumulation=1):
        one, _ = self.run_into("one", *flags, "--gradient-accumulation-steps", 2 * accumulation)
        two, _ = self.run_into("two", *flags, "--gradient-accumulation-steps", accumulation, *DEVICES)
        for key in ("loss", "grad_norm", "eval_loss", "num_tokens"):
            expected, got = self.metrics(one, key), self.metrics(two, key)
            self.assertEqual([step for step, _ in got], [step for step, _ in expected])
            for (step, value), (_, wanted) in zip(got, expected):
                self.assertAlmostEqual(value, wanted, delta=2e-5 * abs(wanted), msg=f"{key} of step {step}")
        self.assertTrue(self.metrics(two, "eval_loss"))
        return two

    def test_lora_has_the_losses_of_one_process(self):
        out = self.check_same_losses("--r", 2, "--max-steps", 8, "--eval-steps", 4, "--lora-dropout", "0.1")
        self.assertTrue((out / "adapter_model.safetensors").exists())
        self.assertTrue((out / "report.html").exists())

    def test_full_has_the_losses_of_one_process(self):
        self.check_same_losses("--fine-tune-type", "full", "--max-steps", 4)

    def test_packed_and_accumulated(self):
        self.check_same_losses("--r", 2, "--max-steps", 6, "--packing", accumulation=2)

    def test_epochs_whose_last_step_has_work_for_one_rank_only(self):
        # 24 samples in rows of 2 are 12 micro-batches: of 10 a step the last has two.
        self.check_same_losses("--r", 2, "--num-train-epochs", 2, accumulation=5)

    def test_more_ranks_than_batches(self):
        small = self.folder / "small.jsonl"
        small.write_text("".join((seeds() / "data" / "train.jsonl").read_text("utf-8").splitlines(True)[:2]), "utf-8")
        flags = ("--data", small, "--max-steps", 3, "--r", 2)
        command = [part for part in self.command(self.folder / "one") if part not in ("--data", seeds() / "data")]
        self.wick("train", *command, *flags)
        command[command.index(self.folder / "one")] = self.folder / "two"
        self.wick("train", *command, *flags, "--devices", "cpu,cpu,cpu")
        one, two = self.metrics(self.folder / "one"), self.metrics(self.folder / "two")
        self.assertEqual(len(two), 3)
        for (_, wanted), (_, value) in zip(one, two):
            self.assertAlmostEqual(value, wanted, delta=2e-5 * wanted)

    def test_resumed_is_unbroken(self):
        flags = ("--r", 2, "--max-steps", 6, "--save-steps", 2, "--lora-dropout", "0.1", *DEVICES)
        whole, _ = self.run_into("whole", *flags)
        part, _ = self.run_into("part", *flags)
        for step in (4, 6):
            for file in (part / f"checkpoint-{step}").iterdir():
                file.unlink()
            (part / f"checkpoint-{step}").rmdir()
        (part / "adapter_model.safetensors").unlink()
        _, result = self.run_into("part", *flags, "--resume")
        self.assertIn("at step 2", result.stderr)
        self.assertEqual((part / "adapter_model.safetensors").read_bytes(),
                         (whole / "adapter_model.safetensors").read_bytes())
        self.assertEqual(self.metrics(part), self.metrics(whole))

    def test_another_number_of_ranks_goes_on_with_the_same_steps_only(self):
        flags = ("--r", 2, "--save-steps", 2)
        self.run_into("out", *flags, "--max-steps", 4, *DEVICES)
        again = ("train", *self.command(self.folder / "out"), *flags, "--max-steps", 4, "--resume")
        self.refused(2, *again, says="gradient_accumulation_steps was 2 and is 1")
        self.wick(*again, "--gradient-accumulation-steps", 2)

    def begin(self, out, *flags):
        process = subprocess.Popen(
            [PROGRAM, "train", *map(str, self.command(out)), "--r", "2", "--max-steps", "100000", *map(str, flags)],
            env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.wait_until((out / "checkpoint-5").exists)
        ranks = processes_of(process.pid)
        self.assertEqual(sorted(ranks), [0, 1])
        return process, ranks

    def wait_until(self, holds):
        end = time.monotonic() + DEADLINE_S
        while not holds():
            self.assertLess(time.monotonic(), end, "it never came")
            time.sleep(0.02)

    def flags_that_save(self):
        return ("--save-steps", 5, "--save-total-limit", 3, *DEVICES)

    def check_can_go_on(self, out, message):
        newest = max(out.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        self.assertIn(f"the last whole checkpoint is {newest}", message)
        self.assertIn("--resume", message)
        self.assertTrue(read_safetensors(newest / "adapter_model.safetensors"))
        step = int(newest.name.rpartition("-")[2])
        # The number of steps decides the schedule, so that the same one is asked for: the run is interrupted again.
        process = subprocess.Popen(
            [PROGRAM, "train", *map(str, self.command(out)), "--r", "2", "--max-steps", "100000",
             *map(str, self.flags_that_save()), "--resume"], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.wait_until((out / f"checkpoint-{step + 5}").exists)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 130, text)
        self.assertIn(f"at step {step}", text)
        self.assertIn("To go on:", text)

    def test_a_killed_rank_ends_all_and_is_named(self):
        out = self.folder / "out"
        process, ranks = self.begin(out, *self.flags_that_save())
        os.kill(ranks[1], signal.SIGKILL)
        _, text = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 1, text)
        self.assertIn(f"rank 1 (pid {ranks[1]}, cpu) was killed by signal 9", text)
        self.assertFalse(os.path.exists(f"/proc/{ranks[0]}"))
        self.check_can_go_on(out, text)

    def test_a_rank_that_hangs_is_named(self):
        out = self.folder / "out"
        process, ranks = self.begin(out, *self.flags_that_save(), "--ddp-timeout", 2)
        os.kill(ranks[1], signal.SIGSTOP)
        _, text = process.communicate(timeout=TIMEOUT_S)
        self.assertEqual(process.returncode, 1, text)
        self.assertIn("rank 1 does not answer", text)
        self.assertFalse(os.path.exists(f"/proc/{ranks[1]}"))

    def test_ranks_end_with_who_started_them(self):
        process, ranks = self.begin(self.folder / "out", *self.flags_that_save())
        process.kill()
        process.communicate(timeout=TIMEOUT_S)
        self.wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in ranks.values()))

    def rank_environment(self, rank, port, size=2):
        return {**ENVIRONMENT, "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}

    def free_port(self):
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            return door.getsockname()[1]

    def start_ranks(self, out, *flags_of_ranks):
        port = self.free_port()
        processes = []
        for rank, flags in enumerate(flags_of_ranks):
            command = [PROGRAM, "train", *map(str, self.command(out)), "--r", "2", "--max-steps", "3", *flags]
            processes.append(subprocess.Popen(command, env=self.rank_environment(rank, port), stderr=subprocess.PIPE,
                                              text=True))
        messages = [process.communicate(timeout=TIMEOUT_S)[1] for process in processes]
        return [process.returncode for process in processes], messages

    def test_ranks_that_others_start(self):
        launched, _ = self.run_into("launched", "--r", 2, "--max-steps", 3, *DEVICES)
        out = self.folder / "out"
        codes, messages = self.start_ranks(out, (), ())
        self.assertEqual(codes, [0, 0], messages)
        self.assertEqual((out / "adapter_model.safetensors").read_bytes(),
                         (launched / "adapter_model.safetensors").read_bytes())
        self.assertEqual(messages[1], "")

    def test_ranks_that_differ_are_refused_by_name(self):
        codes, messages = self.start_ranks(self.folder / "out", (), ("--weight-decay", "0.5"))
        self.assertNotIn(0, codes)
        self.assertIn("rank 1 does not train what rank 0 trains: weight_decay was 0.0 and is 0.5", messages[1])
        codes, messages = self.start_ranks(self.folder / "new", ("--init-lora-weights", "false"), ())
        self.assertNotIn(0, codes)
        self.assertIn("init_lora_weights", messages[1])

    def test_a_rank_that_never_comes_is_named(self):
        result = self.refused(1, "train", *self.command(self.folder / "out"), "--ddp-timeout", 1,
                              env=self.rank_environment(0, self.free_port(), 3), says="rank 1, 2 did not come")
        self.assertIn("3 ranks are expected", result.stderr)

    def test_bad_devices(self):
        for value, says in (("cpu,", "expected cpu"), ("0,1", "begins with a kind"), ("cpu,cuda", "of one kind"),
                            ("cuda:0,0", "cuda:0 twice"), ("gpu", "expected cpu"), ("null,null", "null twice")):
            self.refused(2, "train", *self.command(self.folder / "out"), "--devices", value, says=says)
        self.refused(2, "train", *self.command(self.folder / "out"), "--device", "cpu", *DEVICES, says="exclude")
        self.refused(2, "train", *self.command(self.folder / "out"), "--ddp-timeout", 0, *DEVICES, says="--ddp-timeout")
        wrong = {**ENVIRONMENT, "WORLD_SIZE": "2", "RANK": "2"}
        self.refused(2, "train", *self.command(self.folder / "out"), env=wrong, says=["RANK", "[0, 1]"])
        self.refused(2, "train", *self.command(self.folder / "out"), env={**ENVIRONMENT, "WORLD_SIZE": "2"}, says="RANK")

    def test_what_all_ranks_would_refuse_is_said_once(self):
        bad = self.folder / "bad.jsonl"
        bad.write_text('{"text": 1}\n')
        result = self.refused(4, "train", "--model", tiny_model(), "--data", bad, "--output-dir", self.folder / "out",
                              *DEVICES, says="bad.jsonl")
        self.assertEqual(result.stderr.count("bad.jsonl:"), 1, result.stderr)
