"""Runs ./dev with stand-ins for the programs that it calls; each notes its arguments in calls.txt."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
STAND_IN = """#!/bin/sh
printf '%s\\n' "$(basename "$0") $*" >>"$CALLS"
{body}
"""
# Only the programs that ./dev may take from the system.
SYSTEM = "bash sh env dirname basename grep sed tail cat rm mkdir touch tee paste awk python3".split()


class DevCase(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="wick-dev-")
        self.addCleanup(holder.cleanup)
        self.root = pathlib.Path(holder.name).resolve()
        self.bin = self.root / "bin"
        self.bin.mkdir()
        for name in SYSTEM:
            if found := shutil.which(name):
                (self.bin / name).symlink_to(found)
        shutil.copy(REPO / "dev", self.root)
        self.stand_in("id", "echo 0")
        self.stand_in("nproc", "echo 2")
        self.stand_in("sleep")
        self.stand_in("uname", '[ "$1" = -sm ] && echo Linux x86_64 || echo Linux')
        self.stand_in("apt-get")
        self.stand_in("cmake")
        self.installed()

    def stand_in(self, name, body="exit 0"):
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(STAND_IN.format(body=body))
        path.chmod(0o755)

    def installed(self, lacking=()):
        """Lets dpkg-query report every package but those that are lacking."""
        checks = "".join(f'[ "$p" = "{name}" ] && continue; ' for name in lacking)
        self.stand_in("dpkg-query", f'shift 2; for p in "$@"; do {checks}echo "$p installed"; done')

    def dev(self, *arguments, **environment):
        calls = self.root / "calls.txt"
        calls.write_text("")
        result = subprocess.run(
            [str(self.root / "dev"), *arguments],
            env={"PATH": str(self.bin), "CALLS": str(calls), "HOME": str(self.root), **environment},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        noise = ("dpkg-query", "id ", "nproc", "uname", "sleep")
        made = [line for line in calls.read_text().splitlines() if not line.startswith(noise)]
        return result.returncode, result.stdout + result.stderr, made


class Deps(DevCase):
    def test_nothing_is_missing(self):
        status, output, calls = self.dev("deps")
        self.assertEqual((status, calls), (0, []), output)

    def test_only_what_is_missing_is_installed(self):
        self.installed(lacking=["ccache", "clang-tidy-19"])
        status, output, calls = self.dev("deps")
        self.assertEqual(status, 0, output)
        self.assertEqual(calls[0], "apt-get update -q")
        self.assertEqual(len(calls), 2)
        self.assertTrue(calls[1].endswith(" ccache clang-tidy-19"), calls)
        self.assertIn("installing: ccache clang-tidy-19", output)

    def test_a_failed_update_is_tried_again(self):
        self.installed(lacking=["ccache"])
        self.stand_in("apt-get", '[ "$1" = install ] || [ "$(grep -c update "$CALLS")" -ge 3 ]')
        status, output, calls = self.dev("deps")
        self.assertEqual(status, 0, output)
        self.assertEqual(sum("update" in call for call in calls), 3)
        self.stand_in("apt-get", "exit 1")
        status, output, calls = self.dev("deps")
        self.assertEqual(status, 1)
        self.assertIn("failed three times", output)

    def test_a_failed_installation_is_named(self):
        self.installed(lacking=["ccache"])
        self.stand_in("apt-get", '[ "$1" = update ]')
        status, output, _ = self.dev("deps")
        self.assertEqual(status, 1)
        self.assertIn("could not be installed: ccache", output)

    def test_sudo_when_not_root(self):
        self.installed(lacking=["ccache"])
        self.stand_in("id", "echo 1000")
        status, output, _ = self.dev("deps")
        self.assertEqual(status, 1)
        self.assertIn("root is needed", output)
        self.stand_in("sudo", '"$@"')
        status, output, calls = self.dev("deps")
        self.assertEqual(status, 0, output)
        self.assertTrue(calls[0].startswith("sudo env DEBIAN_FRONTEND=noninteractive apt-get update"), calls)

    def test_homebrew(self):
        for name in ("apt-get", "dpkg-query"):
            (self.bin / name).unlink()
        self.stand_in("uname", "echo Darwin")
        self.assertIn("Homebrew", self.dev("deps")[1])
        there = "cmake ninja ccache fmt googletest highway llvm"
        self.stand_in("brew", f'[ "$1" = install ] || printf "%s\\n" {there}')
        (self.bin / "python3").unlink()
        status, output, calls = self.dev("deps")
        self.assertEqual(status, 0, output)
        self.assertEqual(calls[-1], "brew install google-benchmark python nlohmann-json cli11 pcre2 utf8proc yaml-cpp")

    def test_other_systems(self):
        (self.bin / "apt-get").unlink()
        status, output, _ = self.dev("deps")
        self.assertEqual(status, 1)
        self.assertIn("Missing: ninja git", output)
        self.assertIn("oneDNN", output)
        self.stand_in("ninja")
        self.stand_in("git")
        self.assertEqual(self.dev("deps")[0], 0)


class Commands(DevCase):
    def test_help_and_unknown(self):
        self.assertEqual(self.dev("help")[0], 0)
        status, output, _ = self.dev("fly")
        self.assertEqual(status, 1)
        self.assertIn("unknown command: fly", output)

    def test_build(self):
        status, output, calls = self.dev("build")
        self.assertEqual(status, 0, output)
        self.assertEqual(calls, ["cmake --preset dev", "cmake --build build/dev --parallel 2"])
        (self.root / "build/asan").mkdir(parents=True)
        (self.root / "build/asan/build.ninja").touch()
        self.assertEqual(self.dev("build", "asan")[2], ["cmake --build build/asan --parallel 2"])
        self.stand_in("cmake", "exit 3")
        self.assertNotEqual(self.dev("build")[0], 0)

    def cross_tree(self, system):
        """A prepare.sh, which notes its call, and Debian's list of packages."""
        prepare = self.root / f"cmake/toolchains/{system}/prepare.sh"
        prepare.parent.mkdir(parents=True, exist_ok=True)
        prepare.write_text('#!/bin/sh\nprintf "prepare %s\\n" "$*" >>"$CALLS"\nexit ${PREPARE_EXIT:-0}\n')
        prepare.chmod(0o755)
        for name in ("find", "ln"):
            (self.bin / name).symlink_to(shutil.which(name))
        self.stand_in("apt-get", "echo a list of packages")

    def macos_tree(self):
        """What ./dev build macos takes: prepare.sh, and a compiler that makes one program and one library."""
        self.cross_tree("macos")
        (self.bin / "python3").unlink()
        self.stand_in("python3", 'echo "2 passed, 0 failed"; exit "${VERIFY_EXIT:-0}"')
        self.stand_in("npm")
        for path in ("apps/wick/wick", "src/libwick.a", "CMakeFiles/probe.bin", "build.ninja"):
            self.built(path)

    def built(self, path):
        file = self.root / "build/macos" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o644 if "." in path else 0o755)

    def test_build_for_macos(self):
        self.macos_tree()
        status, output, calls = self.dev("build", "macos")
        self.assertEqual((status, output.splitlines()[-1]), (0, "2 passed, 0 failed"), output)
        expected = ["apt-get indextargets", f"prepare {self.root}/.cache/wick/macos", "cmake -G Ninja",
                    "cmake --build build/macos-libraries", "cmake --build build/macos --parallel 2", "python3"]  # fmt: skip
        self.assertEqual([call[: len(start)] for call, start in zip(calls, expected, strict=True)], expected)
        verified = calls[-1].split()
        self.assertEqual(verified[1], "tools/verify_macos.py")
        self.assertEqual({word for word in verified if word.startswith("build/macos/")},
                         {"build/macos/apps/wick/wick", "build/macos/src/libwick.a"})  # fmt: skip
        self.assertNotIn("--agree", verified)
        self.assertIn("cmake --build build/macos --parallel 2 --target a b", self.dev("build", "macos", "a", "b")[2])
        self.assertIn(f"prepare {self.root}/x/wick/macos", self.dev("build", "macos", XDG_CACHE_HOME=f"{self.root}/x")[2])
        self.built("tests/second-link/wick")
        self.assertIn("--agree build/macos/tests/second-link/wick", self.dev("build", "macos")[2][-1])

    def test_what_fails_ends_the_build_for_macos(self):
        self.macos_tree()
        self.assertEqual(self.dev("build", "macos", VERIFY_EXIT="1")[0], 1)
        status, _, calls = self.dev("build", "macos", PREPARE_EXIT="3")
        self.assertEqual((status, calls[-1][:7]), (3, "prepare"))
        self.stand_in("cmake", "exit 4")
        self.assertEqual(self.dev("build", "macos")[0], 4)

    def test_what_a_build_for_macos_needs_is_installed(self):
        self.macos_tree()
        self.installed(lacking=["lld-19", "npm"])
        calls = self.dev("build", "macos")[2]
        self.assertTrue(any(call.startswith("apt-get install") and call.endswith(" lld-19") for call in calls), calls)
        (self.bin / "npm").unlink()
        calls = self.dev("build", "macos")[2]
        self.assertTrue(any(call.startswith("apt-get install") and call.endswith(" lld-19 npm") for call in calls), calls)
        self.installed()
        self.stand_in("apt-get")  # no list of packages
        self.assertIn("apt-get update -q", self.dev("build", "macos")[2])
        self.stand_in("uname", "echo Darwin arm64")
        status, output, calls = self.dev("build", "macos")
        self.assertEqual((status, calls), (1, []))
        self.assertIn("./dev build mac", output)

    def test_aarch64_is_prepared_built_and_tested(self):
        self.cross_tree("aarch64")
        self.stand_in("ctest")
        status, output, calls = self.dev("build", "aarch64", "a", "b")
        self.assertEqual(status, 0, output)
        self.assertEqual(calls[1:], [f"prepare {self.root}/.cache/wick/aarch64", "cmake --preset aarch64",
                                     "cmake --build build/aarch64 --parallel 2 --target a b"])  # fmt: skip
        self.assertEqual(os.readlink(self.root / "build/aarch64-tools"), f"{self.root}/.cache/wick/aarch64")
        (self.bin / "python3").unlink()
        self.stand_in("python3", "echo 1 passed, 0 failed")
        status, output, calls = self.dev("test", "aarch64", "mps")
        self.assertEqual(status, 0, output)
        self.assertIn(f"prepare {self.root}/.cache/wick/aarch64", calls)
        self.assertTrue(any(call.startswith("ctest") and call.endswith(" -L ^mps$") for call in calls), calls)

    def test_nothing_is_tested_for_aarch64_without_what_it_takes(self):
        self.cross_tree("aarch64")
        self.stand_in("ctest")
        status, _, calls = self.dev("test", "aarch64", PREPARE_EXIT="3")
        self.assertEqual((status, calls[-1][:7]), (3, "prepare"))
        self.installed(lacking=["g++-aarch64-linux-gnu", "qemu-user-static"])
        calls = self.dev("test", "aarch64")[2]
        self.assertTrue(any(call.endswith(" g++-aarch64-linux-gnu qemu-user-static") for call in calls), calls)
        self.assertEqual(self.dev("test", "dev")[2][0], "cmake --preset dev")  # others do without
        self.stand_in("apt-get", '[ "$1" = update ]')
        status, output, calls = self.dev("test", "aarch64")
        self.assertEqual((status, len(calls)), (1, 2), output)
        self.assertIn("could not be installed: g++-aarch64-linux-gnu qemu-user-static", output)
        self.stand_in("uname", "echo Linux aarch64")
        status, output, calls = self.dev("test", "aarch64")
        self.assertEqual((status, calls), (1, []))
        self.assertIn("on AArch64 itself: ./dev test", output)

    def test_tests_pass_their_arguments_and_their_verdict_on(self):
        self.stand_in("ctest", 'exit "$CTEST_EXIT"')
        (self.bin / "python3").unlink()
        self.stand_in("python3", 'echo "1 passed, 0 failed"; exit "$COUNT_EXIT"')
        status, output, calls = self.dev("test", "asan", "--", "-L", "ops", CTEST_EXIT="0", COUNT_EXIT="0")
        self.assertEqual(status, 0, output)
        self.assertEqual(output.splitlines()[-1], "1 passed, 0 failed")
        ctest = next(call for call in calls if call.startswith("ctest"))
        self.assertIn(f"--test-dir {self.root}/build/asan ", ctest)
        self.assertTrue(ctest.endswith(" -L ops"), ctest)
        self.assertEqual(self.dev("test", CTEST_EXIT="8", COUNT_EXIT="0")[0], 0)  # the counted cases decide
        self.assertNotEqual(self.dev("test", CTEST_EXIT="0", COUNT_EXIT="1")[0], 0)
        calls = self.dev("test", "--", "-R", "x", CTEST_EXIT="0", COUNT_EXIT="0")[2]
        ctest = next(call for call in calls if call.startswith("ctest"))
        self.assertIn("/build/dev ", ctest)

    def test_a_group_is_built_and_run_alone(self):
        self.stand_in("ctest")
        (self.bin / "python3").unlink()
        self.stand_in("python3", "echo 1 passed, 0 failed")
        status, output, calls = self.dev("test", "asan", "ops", "--", "-R", "x")
        self.assertEqual(status, 0, output)
        self.assertIn("cmake --build build/asan --parallel 2 --target tests-ops", calls)
        self.assertTrue(any(call.startswith("ctest") and call.endswith(" -L ^ops$ -R x") for call in calls), calls)

    def test_nothing_is_tested_when_the_build_fails(self):
        self.stand_in("cmake", "exit 3")
        self.stand_in("ctest")
        status, _, calls = self.dev("test")
        self.assertNotEqual(status, 0)
        self.assertFalse(any(call.startswith("ctest") for call in calls))

    def test_lint_goes_on_after_a_failure(self):
        (self.bin / "python3").unlink()
        self.stand_in("python3", 'case "$1" in *sizes*) echo "a.cpp:1: long"; exit 1;; *) echo "OK: fine";; esac')
        status, output, calls = self.dev("lint")
        self.assertEqual(status, 1)
        self.assertIn("check_sizes      FAILED\na.cpp:1: long", output)
        self.assertIn("check_tidy       passed", output)
        self.assertEqual(output.splitlines()[-1], "lint failed: check_sizes")
        self.stand_in("python3", "echo 'OK: fine'")
        status, output, calls = self.dev("lint")
        self.assertEqual((status, output.splitlines()[-1]), (0, "lint passed"))
        run = {call.split()[1] for call in calls if call.startswith("python3")}
        # A check that needs a build is a test of its own.
        tests = (REPO / "tests/CMakeLists.txt").read_text()
        there = {f"tools/{path.name}" for path in (REPO / "tools").glob("check_*.py") if path.name not in tests}
        self.assertEqual(run, there)

    def program(self, path):
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('#!/bin/sh\necho "ran $*"\nexit 5\n')
        path.chmod(0o755)

    def test_bench(self):
        self.program("build/release/bench/wick_bench")
        status, output, calls = self.dev("bench", "ops", "--a", "b c")
        self.assertEqual(status, 5, output)
        self.assertIn("ran --a b c", output)
        self.assertEqual(calls[-1], "cmake --build build/release --parallel 2 --target bench/wick_bench")

    def test_bench_cpu(self):
        self.stand_in("python3")
        program = "build/release-cpu/bench/wick_cpu_bench"
        for arguments, flags in (((), ""), (("cpu", "--budget", "5"), " --budget 5"), (("--only", "lora"), " --only lora")):
            status, output, calls = self.dev("bench", *arguments)
            self.assertEqual(status, 0, output)
            self.assertEqual(calls[-2:], ["cmake --build build/release-cpu --parallel 2 --target bench/wick_cpu_bench",
                                          f"python3 bench/cpu/run.py --program {program}{flags}"])  # fmt: skip
        status, output, calls = self.dev("bench", "growth", "--series", "size")
        self.assertEqual((status, calls[-1]), (0, f"python3 bench/cpu/growth.py --program {program} --series size"), output)
        status, output, calls = self.dev("bench", "docs")
        self.assertEqual(status, 0, output)
        self.assertEqual([call for call in calls if call.startswith("python3")],
                         [f"python3 bench/cpu/run.py --program {program} --out docs/benchmarks/cpu.jsonl",
                          f"python3 bench/cpu/growth.py --program {program} --out docs/benchmarks/growth.jsonl",
                          "python3 bench/cpu/docs.py docs/benchmarks/cpu.jsonl docs/benchmarks/growth.jsonl"])  # fmt: skip

    def test_bench_reads_runs_without_building(self):
        self.stand_in("python3")
        for arguments, call in ((("compare", "a b", "c"), "python3 bench/cpu/compare.py a b c"),
                                (("table", "--markdown", "a"), "python3 bench/cpu/table.py --markdown a"),
                                (("chart", "a", "b"), "python3 bench/cpu/share_chart.py a b")):  # fmt: skip
            status, output, calls = self.dev("bench", *arguments)
            self.assertEqual((status, calls), (0, [call]), output)
        status, output, calls = self.dev("bench", "peers")
        self.assertEqual((status, calls), (0, []), output)
        self.assertIn("python3-torch", output)
        self.assertIn("./dev bench peers llama.cpp", output)
        status, output, calls = self.dev("bench", "peers", "candle")
        self.assertEqual((status, calls), (1, []), output)
        self.assertIn("bench peers fetches llama.cpp alone, got: candle", output)
        status, output, _ = self.dev("bench", "gpu")
        self.assertEqual(status, 1)
        self.assertIn("bench takes cpu, growth, docs, ops, compare, table, chart or peers, got: gpu", output)

    def test_demo(self):
        self.program("examples/lexicon/demo.sh")
        for arguments, preset, folder in (
            ((), "release-cpu", "build/demo"),
            (("my demo",), "release-cpu", "my demo"),
            (("my demo", "release"), "release", "my demo"),
        ):
            status, output, calls = self.dev("demo", *arguments)
            self.assertEqual(status, 5, output)
            self.assertIn(f"ran build/{preset}/apps/wick/wick {folder}", output)
            self.assertEqual(calls[-1], f"cmake --build build/{preset} --parallel 2 --target apps/wick/wick")

    def first_steps(self, metal, cpu, mps):
        """Runs the demo's comparison with a program that knows this device and has these losses."""
        script = self.root / "first_steps.sh"
        shutil.copy(REPO / "examples/lexicon/first_steps.sh", script)
        self.stand_in("wick", f"""
            if [ "$1" = devices ]; then echo 'cpu: 2 threads; products by tiles'; echo '{metal}'; exit; fi
            while [ "$1" != --output-dir ]; do shift; done
            case "$2" in */cpu) losses='{cpu}' ;; *) losses='{mps}' ;; esac
            mkdir -p "$2"
            for loss in $losses; do echo '{{"grad_norm":6.5,"loss":'$loss',"step":1}}'; done >"$2/metrics.jsonl" """)
        calls = self.root / "calls.txt"
        calls.write_text("")
        result = subprocess.run([str(script), "wick", str(self.root / "runs")], capture_output=True, text=True, check=False,
                                env={"PATH": str(self.bin), "CALLS": str(calls)})  # fmt: skip
        runs = [line for line in calls.read_text().splitlines() if line.startswith("wick train")]
        return result.returncode, result.stdout + result.stderr, runs

    def test_the_demo_compares_its_first_steps_on_software_metal(self):
        metal = "mps: Software Metal, 8.0 GiB to work with; products by mps, tiles"
        status, output, runs = self.first_steps(metal, "4.5 5.25 4.92", "4.5 5.25 4.92001")
        self.assertEqual(status, 0, output)
        for part in ("mps is software Metal here", "4.920000     4.920010      2.0e-06", "The two agree"):
            self.assertIn(part, output)
        self.assertEqual([run.split("--device ")[1] for run in runs], ["cpu --json", "mps --json"])
        for run in runs:
            self.assertIn("--batch-size 1 --max-seq-length 128 --max-steps 3 ", run)

    def test_the_demo_compares_its_own_batch_on_a_mac(self):
        status, output, runs = self.first_steps("mps: Apple M1, 10.7 GiB to work with; products by tiles",
                                                "1 2 3", "1 2 3")  # fmt: skip
        self.assertEqual(status, 0, output)
        self.assertIn("mps is Metal here (Apple M1, 10.7 GiB to work with)", output)
        self.assertIn("--batch-size 4 --max-seq-length 256 --max-steps 3 ", runs[1])

    def test_the_demo_fails_where_its_first_steps_differ(self):
        metal = "mps: Apple M1, 10.7 GiB to work with; products by tiles"
        for cpu, mps in (("1 2 3", "1 2 3.001"), ("1 2 3", "1 2"), ("1 2 3", "1 2 nan"), ("1 2 null", "1 2 null"), ("", "")):
            with self.subTest(mps=mps):
                status, output, _ = self.first_steps(metal, cpu, mps)
                self.assertEqual(status, 1, output)
                self.assertIn("The two DIFFER", output)

    def test_the_demo_says_where_there_is_no_metal(self):
        status, output, runs = self.first_steps("mps: this build of Wick was made without it (WICK_APPLE)", "", "")
        self.assertEqual((status, runs), (0, []), output)
        self.assertIn("not repeated on Metal: mps: this build of Wick was made without it (WICK_APPLE)", output)

    def fuzz_target(self, name, body):
        source = self.root / f"tests/fuzz/{name}_fuzz.cpp"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.touch()
        program = self.root / f"build/fuzz/tests/fuzz/{name}_fuzz"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"$CALLS"\n{body}\n')
        program.chmod(0o755)

    def test_fuzz_runs_every_target_for_so_long(self):
        self.fuzz_target("one", "echo stat::number_of_executed_units: 7")
        self.fuzz_target("two", "echo stat::number_of_executed_units: 8")
        status, output, calls = self.dev("fuzz")
        self.assertEqual(status, 0, output)
        self.assertEqual(calls[:2], ["cmake --preset fuzz", "cmake --build build/fuzz --parallel 2 --target fuzz"])
        self.assertEqual([call.split()[:2] for call in calls[2:]],
                         [["one", "-max_total_time=60"], ["two", "-max_total_time=60"]])  # fmt: skip
        self.assertTrue(calls[2].endswith(" build/fuzz/corpus/one tests/fuzz/corpus/one"), calls)
        self.assertIn("number_of_executed_units: 8", output)
        self.assertIn("-max_total_time=3 ", self.dev("fuzz", "3")[2][-1])

    def test_fuzz_goes_on_after_a_finding_and_fails(self):
        self.fuzz_target("one", "echo SUMMARY: overflow; exit 77")
        self.fuzz_target("two", ":")
        status, output, calls = self.dev("fuzz", "1")
        self.assertEqual(status, 1)
        self.assertTrue(calls[-1].startswith("two "), calls)
        self.assertIn("SUMMARY: overflow", output)
        self.assertIn("these fuzz targets failed: one", output)

    def test_fuzz_refuses_what_is_no_number(self):
        for text in ("0", "-3", "soon", "1.5"):
            status, output, _ = self.dev("fuzz", text)
            self.assertEqual(status, 1)
            self.assertIn(f"a number of seconds, got: {text}", output)

    def test_clean(self):
        (self.root / "build/dev").mkdir(parents=True)
        self.assertEqual(self.dev("clean")[0], 0)
        self.assertFalse((self.root / "build").exists())


class Nightly(DevCase):
    def test_tests_metal_builds_for_macos_and_fuzzes_for_a_minute_or_as_told(self):
        (self.root / ".ci").mkdir()
        shutil.copy(REPO / ".ci/nightly", self.root / ".ci")
        (self.root / "dev").unlink()
        self.stand_in("dev", '[ "$1" = fuzz ] && exit 4; exit 0')
        (self.root / "dev").symlink_to(self.bin / "dev")
        calls = self.root / "calls.txt"
        for arguments, seconds in (([], "60"), (["7"], "7")):
            calls.write_text("")
            result = subprocess.run([str(self.root / ".ci/nightly"), *arguments], check=False,
                                    env={"PATH": str(self.bin), "CALLS": str(calls)})  # fmt: skip
            expected = ["dev test dev mps", "dev test asan mps", "dev test tsan mps", "dev test aarch64",
                        "dev build macos", f"dev fuzz {seconds}"]  # fmt: skip
            self.assertEqual((result.returncode, calls.read_text().splitlines()), (4, expected))


class Ci(DevCase):
    """.ci/run with a stand-in for ./dev, which answers by its first two arguments."""

    def ci(self, **answers):
        (self.root / ".ci").mkdir(exist_ok=True)
        (self.root / "tools").mkdir(exist_ok=True)
        shutil.copy(REPO / ".ci/run", self.root / ".ci")
        shutil.copy(REPO / "tools/sum_parts.py", self.root / "tools")
        defaults = {"deps": ":", "lint": "echo lint passed", "test_dev": "echo 5 passed, 0 failed, 1 skipped",
                    "test_release-cpu": "echo 4 passed, 0 failed", "demo_build/demo": "echo loss 1",
                    "test_asan": "echo 3 passed, 0 failed", "test_tsan": "echo 2 passed, 0 failed", "build_macos": "echo 3 passed, 0 failed"}  # fmt: skip
        cases = "".join(f"{key}) {action};; " for key, action in {**defaults, **answers}.items())
        (self.root / "dev").unlink()
        self.stand_in("dev", f'case "$1${{2:+_$2}}" in {cases} esac')
        (self.root / "dev").symlink_to(self.bin / "dev")
        calls = self.root / "calls.txt"
        calls.write_text("")
        result = subprocess.run(
            [str(self.root / ".ci/run")],
            env={"PATH": str(self.bin), "CALLS": str(calls), "CI": "true"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return result.returncode, result.stdout.splitlines(), calls.read_text().splitlines()

    def test_the_sum_comes_last(self):
        status, lines, calls = self.ci()
        self.assertEqual((status, lines[-1]), (0, "20 passed, 0 failed, 1 skipped"))
        parts = ["deps", "lint", "test dev", "test release-cpu ops", "demo build/demo release-cpu",
                 "test asan ops", "test asan parsers", "test tsan threads",
                 "build macos apps/wick/wick wick_second_link wick_c_api apple_product_test base_test sgemm_test"]
        self.assertEqual([call.strip() for call in calls], [f"dev {part}" for part in parts])

    def test_a_failed_part_fails_all_and_the_rest_still_runs(self):
        for answers, last in (
            ({"lint": "echo lint failed: a; exit 1"}, "20 passed, 1 failed, 1 skipped"),
            ({"test_dev": "echo 4 passed, 2 failed; exit 1"}, "19 passed, 2 failed"),
            ({"demo_build/demo": "echo loss nan; exit 1"}, "20 passed, 1 failed, 1 skipped"),
            ({"test_asan": "echo ninja: stopped; exit 1"}, "14 passed, 2 failed, 1 skipped"),
            ({"build_macos": "echo 2 passed, 1 failed; exit 1"}, "19 passed, 1 failed, 1 skipped"),
            ({"test_tsan": "echo 2 passed, 0 failed; exit 1"}, "20 passed, 1 failed, 1 skipped"),
        ):
            with self.subTest(answers=answers):
                shutil.copy(REPO / "dev", self.root)
                status, lines, calls = self.ci(**answers)
                self.assertEqual((status, lines[-1], len(calls)), (1, last, 9))


if __name__ == "__main__":
    unittest.main()
