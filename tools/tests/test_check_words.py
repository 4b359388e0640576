import subprocess
import unittest

import check_case

# Written in two halves, so that this file passes the check itself.
OWNED = "TO" + "DO"
MEND = "FIX" + "ME"
ODD = "X" * 3
SILENCE = "NO" + "LINT"


class Words(check_case.CheckCase):
    script = "check_words.py"

    def test_clean(self):
        self.write("a.cpp", f"// {OWNED}(ada): drop when GCC 12 is gone\nint a;  // {SILENCE}(bugprone-x): a table\n")
        self.write("b.cpp", f"// {SILENCE}NEXTLINE(a): reason\n// {SILENCE}BEGIN(a): reason\n// {SILENCE}END(a)\n")
        self.write("c.md", f"We write {SILENCE} with a reason. mktemp a.{ODD}{ODD} in build/root/ or ${{x}}/home/\n")
        self.assert_clean()

    def test_words(self):
        for line in (OWNED, f"// {OWNED}: later", f"// {OWNED}(ada) later", f"# {MEND}", f"{ODD}: odd",
                     "cd /" + "home/ada", 'open("/' + 'root/x")'):  # fmt: skip
            with self.subTest(line=line):
                self.write("docs/a.md", f"first\n{line}\n")
                self.assert_violation("docs/a.md:2: ")

    def test_suppressions_need_a_reason(self):
        for rest in ("", "(a)", "(a): ", "NEXTLINE(a)", "BEGIN"):
            line = f"// {SILENCE}{rest}"
            with self.subTest(line=line):
                self.write("src/a.cpp", f"int a;\n{line}\n")
                self.assert_violation("src/a.cpp:2: write `" + SILENCE)

    def test_what_is_skipped(self):
        self.write("LICENSE", MEND)
        self.write("tests/fixtures/a.txt", MEND)
        (self.root / "a.bin").write_bytes(b"\0" + MEND.encode())
        self.assert_clean()

    def test_ignored_files_do_not_count_and_untracked_do(self):
        subprocess.run(["git", "init", "-q", str(self.root)], check=True)
        self.write(".gitignore", "out/\n")
        self.write("out/a.txt", MEND)
        self.assert_clean()
        self.write("b.txt", MEND)
        self.assert_violation("b.txt:1: ")


if __name__ == "__main__":
    unittest.main()
