import os
import unittest
import unittest.mock

import check_case


class Headers(check_case.CheckCase):
    script = "check_headers.py"

    def test_clean_and_remembered(self):
        self.write("include/wick/base/a.hpp", "#pragma once\n#include <string>\ninline std::string a();\n")
        self.write("src/base/b.hpp", '#pragma once\n#include "wick/base/a.hpp"\n')
        self.write("src/base/c-inl.hpp", "this is compiled by its source\n")
        self.assert_clean("2 headers", "(2 compiled now)")
        self.assert_clean("(0 compiled now)")
        self.write("include/wick/base/a.hpp", "#pragma once\n#include <string>\ninline std::string a(int);\n")
        self.assert_clean("(2 compiled now)")
        self.write("src/base/b.hpp", '#pragma once\n#include "wick/base/a.hpp"\nint b();\n')
        self.assert_clean("(1 compiled now)")

    def test_header_that_lacks_an_include(self):
        self.write("src/base/a.hpp", "#pragma once\n\nstd::string a();\n")
        self.assert_violation("src/base/a.hpp:3: ")
        self.assert_violation("src/base/a.hpp:3: ")

    def test_a_broken_header_breaks_those_that_include_it(self):
        self.write("src/base/b.hpp", '#pragma once\n#include "base/a.hpp"\n')
        self.write("src/base/a.hpp", "#pragma once\n")
        self.assert_clean()
        self.write("src/base/a.hpp", "#pragma once\nno such;\n")
        self.assert_violation("src/base/a.hpp:2: ", "(when src/base/b.hpp is compiled alone)", count=2)

    def test_header_that_is_missing(self):
        self.write("src/base/a.hpp", '#pragma once\n#include "base/none.hpp"\n')
        self.assert_violation("src/base/a.hpp:2: ", "base/none.hpp")

    def test_the_header_for_c_programs_compiles_as_c(self):
        self.write("include/wick/wick.h", "#pragma once\n#include <stdint.h>\nint32_t f(void);  // a comment\n")
        self.assert_clean("1 headers")
        self.write("include/wick/wick.h", "#pragma once\nbool f(void);\n")
        self.assert_violation("include/wick/wick.h:2: ", "bool")
        self.write("include/wick/wick.h", "#pragma once\nint f();\n")
        self.assert_violation("include/wick/wick.h:2: ")
        self.write("include/wick/wick.h", "#pragma once\nint f(void)\n")
        self.assert_violation("include/wick/wick.h")
        self.write("include/wick/wick.h", "#pragma once\nint f(void);\n")
        self.write("include/wick/base/other.h", "#pragma once\nbool f();\n")
        self.assert_clean("2 headers")

    def with_nvcc(self, body):
        """Lets the check find a script in nvcc's place; a version is asked for first."""
        script = self.write("nvcc", f'#!/bin/sh\n[ "$1" = --version ] && {{ echo 13; exit; }}\n{body}\n')
        script.chmod(0o755)
        patch = unittest.mock.patch.dict(os.environ, CUDACXX=str(script))
        patch.start()
        self.addCleanup(patch.stop)

    def test_headers_for_nvcc(self):
        self.write("src/base/a.hpp", "#pragma once\n")
        self.write("src/backends/cuda/a.cuh", "#pragma once\n__device__ float f();\n")
        self.with_nvcc('echo "$@" > arguments')
        self.assert_clean("2 headers", "(2 compiled now)")
        self.assertIn("-include src/backends/cuda/a.cuh", (self.root / "arguments").read_text())
        self.assertIn("-Isrc", (self.root / "arguments").read_text())
        self.assert_clean("(0 compiled now)")

    def test_what_nvcc_refuses(self):
        self.write("src/backends/cuda/a.cuh", "#pragma once\n")
        self.with_nvcc("echo 'src/backends/cuda/a.cuh(7): error: no such type'; exit 2")
        self.assert_violation("src/backends/cuda/a.cuh:7: no such type")

    def test_no_nvcc(self):
        self.write("src/backends/cuda/a.cuh", "#pragma once\n")
        with unittest.mock.patch.dict(os.environ, CUDACXX="/none/nvcc"):
            self.assert_clean("0 headers", "src/backends/cuda:1: note: there is no nvcc: 1 headers were not compiled")

    def test_guard(self):
        self.write("src/base/a.hpp", "// #pragma once\nint a();\n")
        self.assert_violation("src/base/a.hpp:1: has no `#pragma once`")


if __name__ == "__main__":
    unittest.main()
