"""A disk that has no room: every file that is written meets the end of it, at every place.

The disk is a small tmpfs in a mount namespace of its own. Where none can be made, these tests are skipped with that
reason, and a limit on the size of files stands in for it: NoRoomTest in test_hostile.py.
"""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from program import ProgramTest, seeds, tiny_adapter, tiny_model

PAGE = 4096


class SmallDisk:
    """A tmpfs of so many bytes, reached through the process that holds it."""

    def __init__(self, size, inodes=1000):
        self.point = tempfile.mkdtemp(prefix="wick-small-disk-")
        script = 'mount -t tmpfs -o size="$1",nr_inodes="$2" none "$3" && echo ready && exec cat'
        self.holder = None
        reasons = []
        for rights in ("-m", "-rm"):  # as root, or as root of a user namespace
            command = ["unshare", rights, "sh", "-c", script, "sh", str(size), str(inodes), self.point]
            try:
                holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                          text=True)
            except OSError as error:
                reasons.append(str(error))
                break
            if holder.stdout.readline() == "ready\n":
                self.holder = holder
                break
            reasons.append(holder.communicate()[1].strip())
        if self.holder is None:
            pathlib.Path(self.point).rmdir()
            raise unittest.SkipTest("no small disk can be mounted here, a limit on the size of files stands in for it "
                                    "(NoRoomTest): " + "; ".join(reasons))
        self.folder = pathlib.Path(f"/proc/{self.holder.pid}/root{self.point}")
        self.filler = self.folder / "filler"

    def close(self):
        self.holder.communicate()
        pathlib.Path(self.point).rmdir()

    def leave(self, pages):
        """Fills the disk but for so many pages."""
        self.filler.unlink(missing_ok=True)
        usage = shutil.disk_usage(self.folder)
        with open(self.filler, "wb", buffering=0) as file:
            file.write(b"\0" * max(0, usage.free - pages * PAGE))

    def make_room(self):
        self.filler.unlink(missing_ok=True)


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class FullDiskTest(ProgramTest):
    FLAGS = ("--max-seq-length", 32, "--r", 4, "--max-steps", 3, "--save-steps", 1, "--lr", "1e-2")

    def disk(self, size, **options):
        disk = SmallDisk(size, **options)
        self.addCleanup(disk.close)
        return disk

    def command(self, output, *more):
        return ("train", "--model", tiny_model(), "--data", seeds() / "data", "--output-dir", output, *self.FLAGS, *more)

    def full(self, *command):
        """The file that a command names when it meets the end of the disk; nothing when there was room."""
        result = self.wick(*command, code=None)
        if result.returncode == 0:
            return None
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("No space left on device", result.stderr)
        line = next(line for line in result.stderr.splitlines() if line.startswith("wick: "))
        found = re.search(r"([\w.-]+): cannot be [\w ]+: No space", line)
        self.assertIsNotNone(found, line)
        return re.sub(r"\.tmp-.*", "", found[1])

    def check_whole(self, output, expected):
        """What lies there after a failure: whole checkpoints, no temporary files."""
        found = files_below(output)
        self.assertEqual([name for name in found if ".tmp-" in name], [])
        self.assertEqual([path.name for path in output.rglob("*.tmp-*")], [])
        for checkpoint in {name.partition("/")[0] for name in found if name.startswith("checkpoint-")}:
            for name, content in expected.items():
                if name.startswith(checkpoint + "/"):
                    self.assertEqual(found.get(name), content, name)

    def test_every_file_of_a_run_meets_it(self):
        self.wick(*self.command(self.folder / "whole"))
        expected = files_below(self.folder / "whole")
        disk = self.disk(1 << 20)
        output = disk.folder / "out"
        named, pages = set(), 0
        while True:
            shutil.rmtree(output, ignore_errors=True)
            disk.leave(pages)
            name = self.full(*self.command(output))
            if name is None:
                break
            named.add(name)
            self.check_whole(output, expected)
            if pages % 8 == 5:  # the rest of the run, once there is room
                disk.make_room()
                resumable = any(output.glob("checkpoint-*"))
                self.wick(*self.command(output, *(["--resume"] if resumable else ["--overwrite-output-dir"])))
                self.check_whole(output, expected)
                self.assertEqual((output / "adapter_model.safetensors").read_bytes(),
                                 expected["adapter_model.safetensors"])
            pages += 1
        self.assertGreater(pages, 10)
        self.assertLessEqual({"metrics.jsonl", "adapter_config.json", "adapter_model.safetensors",
                              "optimizer.safetensors", "trainer_state.json", "report.html"}, named)

    def test_resuming_on_a_full_disk(self):
        self.wick(*self.command(self.folder / "whole"))
        expected = files_below(self.folder / "whole")
        disk = self.disk(1 << 20)
        output = disk.folder / "out"
        self.wick(*self.command(output))
        for name in ("checkpoint-2", "checkpoint-3"):
            shutil.rmtree(output / name)
        before = files_below(output / "checkpoint-1")
        for pages in (0, 1, 3, 6):
            with self.subTest(pages):
                disk.leave(pages)
                self.assertIsNotNone(self.full(*self.command(output, "--resume", output / "checkpoint-1")))
                self.assertEqual(files_below(output / "checkpoint-1"), before)
                self.check_whole(output, expected)
        disk.make_room()
        self.wick(*self.command(output, "--resume"))
        self.check_whole(output, expected)
        self.assertEqual((output / "adapter_model.safetensors").read_bytes(), expected["adapter_model.safetensors"])

    def test_a_merged_model(self):
        self.wick("merge", "--model", tiny_model(), "--adapter", tiny_adapter(), "--output", self.folder / "merged")
        expected = files_below(self.folder / "merged")
        size = sum(-(-len(content) // PAGE) for content in expected.values())
        disk = self.disk((size + 16) * PAGE)
        output = disk.folder / "merged"
        command = ("merge", "--model", tiny_model(), "--adapter", tiny_adapter(), "--output", output)
        for pages in (0, 1, size // 4, size // 2, size - 1):
            with self.subTest(pages):
                disk.leave(pages)
                self.assertIsNotNone(self.full(*command))
                self.assertEqual({path.name for path in disk.folder.iterdir()}, {"filler"})
        disk.make_room()
        self.wick(*command)
        self.assertEqual(files_below(output), expected)

    def test_a_model_that_is_trained_whole(self):
        command = ("train", "--model", tiny_model(), "--data", seeds() / "data", "--fine-tune-type", "full",
                   "--max-steps", 1, "--max-seq-length", 32, "--output-dir")
        self.wick(*command, self.folder / "whole")
        expected = files_below(self.folder / "whole")
        disk = self.disk(4 << 20)
        output = disk.folder / "out"
        size = sum(-(-len(content) // PAGE) for content in expected.values())
        named = set()
        for pages in range(10, size, size // 10):
            with self.subTest(pages):
                shutil.rmtree(output, ignore_errors=True)
                disk.leave(pages)
                named.add(self.full(*command, output))
                self.check_whole(output, expected)
        self.assertLessEqual({"model.safetensors", "optimizer.safetensors"}, named)

    def test_no_room_for_more_files(self):
        # The root folder, the filler, the output folder and metrics.jsonl.
        for inodes in (2, 3, 4, 5, 7):
            with self.subTest(inodes):
                disk = self.disk(1 << 20, inodes=inodes)
                output = disk.folder / "out"
                self.assertIsNotNone(self.full(*self.command(output)))
                if output.exists():
                    self.check_whole(output, {})
                    self.assertEqual(list(output.glob("checkpoint-*")), [])
