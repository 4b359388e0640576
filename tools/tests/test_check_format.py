import shutil
import unittest

import check_case


class Format(check_case.CheckCase):
    script = "check_format.py"

    def setUp(self):
        super().setUp()
        shutil.copy(check_case.TOOLS.parent / ".clang-format", self.root)

    def test_clean(self):
        self.write("src/a.cpp", "int* f(int a) { return g(a); }\n")
        self.write("docs/a.cpp", "int *f( int a);\n")
        self.assert_clean("1 files")

    def test_no_sources(self):
        self.assert_clean()

    def test_violation_and_fix(self):
        self.write("include/wick/a.hpp", "int a;\nint *f( int a);\nint  b;\n")
        self.assert_violation("include/wick/a.hpp:2: not as clang-format writes it")
        self.assertEqual(self.run_check("--fix")[0], 0)
        self.assert_clean()


if __name__ == "__main__":
    unittest.main()
