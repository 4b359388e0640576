import unittest

import check_case


def function(name, lines):
    return f"void {name}() {{\n" + "  g();\n" * (lines - 2) + "}\n"


class Sizes(check_case.CheckCase):
    script = "check_sizes.py"

    def test_clean_at_the_limits(self):
        self.write("src/ops/a.cpp", function("a", 60))
        self.write("src/ops/b.cpp", "int a;\n" * 400)
        self.write("docs/long.md", "a\n" * 2000)
        self.assert_clean()

    def test_soft_limit_is_a_note(self):
        self.write("src/ops/a.cpp", "int a;\n" * 401)
        self.assert_clean("src/ops/a.cpp:1: note: 401 lines")

    def test_hard_limits(self):
        for path, limit in (("src/ops/a.cpp", 800), ("tools/a.py", 800), ("tests/a_test.cpp", 1000),
                            ("src/backends/cpu/a.cpp", 1000)):  # fmt: skip
            with self.subTest(path=path):
                file = self.write(path, "int a;\n" * limit)
                self.assert_clean()
                self.write(path, "int a;\n" * (limit + 1))
                self.assert_violation(f"{path}:1: {limit + 1} lines; at most {limit}")
                file.unlink()

    def test_long_functions(self):
        self.write("src/ops/a.cpp", "namespace wick {\n" + function("Foo::a", 61) + function("b", 60) + "}\n")
        self.assert_violation("src/ops/a.cpp:2: Foo::a has 61 lines; at most 60")
        self.write("src/ops/a.cpp", "struct Foo {\n" + function("c", 61) + "};\n")
        self.assert_violation("src/ops/a.cpp:2: Foo::c has 61 lines")

    def test_exceptions(self):
        self.write("src/ops/a.cpp", function("a", 801))
        self.write("tools/size_exceptions.txt", "# why\n\nsrc/ops/a.cpp  a table\nsrc/ops/a.cpp:a  a switch\n")
        self.assert_clean()

    def test_an_exception_covers_nothing_else(self):
        self.write("src/ops/a.cpp", function("a", 801))
        self.write("tools/size_exceptions.txt", "src/ops/a.cpp  a table\n")
        self.assert_violation("a has 801 lines")

    def test_stale_exceptions(self):
        self.write("src/ops/a.cpp", function("a", 60))
        self.write("tools/size_exceptions.txt", "src/ops/a.cpp:a  a switch\nsrc/ops/b.cpp  gone\n")
        self.assert_violation("txt:1: src/ops/a.cpp:a needs no exception", "txt:2: src/ops/b.cpp needs no", count=2)

    def test_exceptions_without_reason_or_twice(self):
        self.write("src/ops/a.cpp", function("a", 61))
        self.write("tools/size_exceptions.txt", "src/ops/a.cpp:a\nsrc/ops/a.cpp:a  because\n")
        self.assert_violation("gives no reason", "is there twice", count=2)


if __name__ == "__main__":
    unittest.main()
