import json
import shutil
import unittest

import check_case


class Tidy(check_case.CheckCase):
    script = "check_tidy.py"

    def setUp(self):
        super().setUp()
        shutil.copy(check_case.TOOLS.parent / ".clang-tidy", self.root)
        self.write("src/a.hpp", "#pragma once\nint good_name(int a);\n")
        self.write("src/a.cpp", '#include "a.hpp"\nint good_name(int a) { return a; }\n')
        self.write("tests/b.cpp", "int BadName() { return 1; }\n")
        self.database("src/a.cpp", "tests/b.cpp")

    def database(self, *files):
        entries = [
            {
                "directory": str(self.root / "build/dev"),
                "file": str(self.root / file),
                "command": f"g++ -std=c++20 -Wno-maybe-uninitialized -MD -MF a.d -o a.o -c {self.root / file}",
            }
            for file in files
        ]
        self.write("build/dev/compile_commands.json", json.dumps(entries))

    def test_clean_and_remembered(self):
        self.assert_clean("1 sources (1 read now)")
        self.assert_clean("(0 read now)")
        self.write("src/a.hpp", "#pragma once\nint good_name(int b);\n")
        self.assert_clean("(1 read now)")
        with open(self.root / ".clang-tidy", "a", encoding="utf-8") as config:
            config.write("# changed\n")
        self.assert_clean("(1 read now)")

    def test_finding_in_a_source(self):
        self.write("src/a.cpp", '#include "a.hpp"\nint good_name(int a) { return a; }\nint BadName() { return 1; }\n')
        self.assert_violation("src/a.cpp:3: ", "readability-identifier-naming")
        self.assert_violation("src/a.cpp:3: ")

    def test_finding_in_a_header(self):
        self.write("src/a.hpp", "#pragma once\nint good_name(int a);\nstruct bad_type {};\n")
        self.assert_violation("src/a.hpp:3: ", "readability-identifier-naming")

    def test_source_that_does_not_compile(self):
        self.write("src/a.cpp", "int good_name(int a) { return b; }\n")
        self.assert_violation("src/a.cpp:1: ", "undeclared identifier")

    def test_sources_for_nvcc_are_left_out(self):
        self.write("src/k.cu", "__global__ void BadName() {}\n")
        self.database("src/a.cpp", "src/k.cu")
        self.assert_clean("1 sources (1 read now)")

    def test_no_database_or_an_empty_one(self):
        self.database("tests/b.cpp")
        self.assert_violation("names no source of src/")
        (self.root / "build/dev/compile_commands.json").unlink()
        self.assert_violation("run ./dev build")


if __name__ == "__main__":
    unittest.main()
