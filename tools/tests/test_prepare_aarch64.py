"""Runs cmake/toolchains/aarch64/prepare.sh, and what it writes, with stand-ins for apt, dpkg, QEMU and clang."""

import os
import pathlib
import subprocess
import tempfile
import unittest

FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "cmake/toolchains/aarch64"
STAND_INS = {
    # install puts one archive where apt was told to keep them.
    "apt-get": r"""for word; do case $word in
  indextargets) echo "deb mirror suite main"; exit ;;
  Dir::Cache=*) cache=${word#*=} ;;
  install) [ "$APT" != bad ] || exit 100; touch "$cache/archives/libc6_arm64.deb" ;;
  clean) rm -f "$cache"/archives/*.deb ;;
esac; done""",
    "dpkg-deb": r"""mkdir -p "$3/lib" "$3/usr/lib" && echo real >"$3/lib/libm.so.6"
ln -s /lib/libm.so.6 "$3/usr/lib/libm.so" """,
    # A program that starts itself once more, by the name it was given.
    "qemu-aarch64-static": r"""[ "$6" = "$EMULATE" ] || exit 9
[ "$8" != again ] || exec "$6" last "$9" """,
    "clang++-19": "",
}


class PrepareAarch64(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-prepare-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name).resolve()
        self.tools = self.root / "cache dir/aarch64"
        self.calls = self.root / "calls"
        (self.root / "bin").mkdir()
        for name, body in STAND_INS.items():
            path = self.root / "bin" / name
            path.write_text(f"#!/bin/sh\nprintf '{name} %s\\n' \"$*\" >>\"$CALLS\"\n{body}\n")
            path.chmod(0o755)

    def run_noting_calls(self, *command, **environment):
        self.calls.write_text("")
        result = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}", "CALLS": str(self.calls), **environment})  # fmt: skip
        return result.returncode, result.stdout + result.stderr, self.calls.read_text().splitlines()

    def prepare(self, **environment):
        return self.run_noting_calls(FOLDER / "prepare.sh", self.tools, **environment)

    def test_everything_is_there_after_the_first_run_and_nothing_is_fetched_by_the_second(self):
        status, output, calls = self.prepare()
        self.assertEqual(status, 0, output)
        install = next(call for call in calls if " install " in call)
        for word in ("APT::Architecture=arm64", "--download-only", f"Dir::Cache={self.tools}/apt/cache", " libdnnl-dev"):
            self.assertIn(word, install)
        self.assertEqual((self.tools / "apt/sources.list").read_text(), "deb mirror suite main\n")
        self.assertEqual((self.tools / "root/usr/lib/libm.so").read_text(), "real\n")  # not the one of this machine
        self.assertFalse((self.tools / "work").exists())
        self.assertFalse(list(self.tools.glob("apt/cache/archives/*.deb")))
        self.assertEqual(self.prepare(), (0, "", []))

    def test_libraries_that_cannot_be_fetched(self):
        status, output, _ = self.prepare(APT="bad")
        self.assertEqual(status, 1)
        self.assertIn("aarch64: apt could not fetch the libraries for arm64: libc6-dev", output)
        self.assertFalse((self.tools / "root").exists() or (self.tools / "bin").exists())
        self.assertEqual(self.prepare()[0], 0)

    def test_a_list_of_libraries_that_has_changed_is_fetched(self):
        self.prepare()
        (self.tools / "root/libraries").write_text("libc6-dev\n")
        self.assertTrue(any(" install " in call for call in self.prepare()[2]))

    def test_programs_and_kernels_are_for_the_root(self):
        self.prepare()
        emulate = self.tools / "bin/emulate"
        status, _, calls = self.run_noting_calls(emulate, "a test", "again", "x y", EMULATE=str(emulate))
        start = f"qemu-aarch64-static -cpu neoverse-n1 -L {self.tools}/root -0 {emulate} a test"
        self.assertEqual((status, calls), (0, [f"{start} again x y", f"{start} last x y"]))
        _, _, calls = self.run_noting_calls(self.tools / "bin/kernel-clang++", "-c", "a b.cpp")
        self.assertEqual(calls, [f"clang++-19 --target=aarch64-linux-gnu --sysroot={self.tools}/root"
                                 " --ld-path=aarch64-linux-gnu-ld -c a b.cpp"])  # fmt: skip


if __name__ == "__main__":
    unittest.main()
