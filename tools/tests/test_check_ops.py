import unittest

import check_case


class Ops(check_case.CheckCase):
    script = "check_ops.py"

    def setUp(self):
        super().setUp()
        self.write(
            "src/runtime/op_catalog.def",
            """
            #define WICK_OP(id, kind)
            // WICK_OP(none, differentiable)
            WICK_OP(add, differentiable)
            WICK_KERNEL(add, BinaryArgs)
            """,
        )
        self.write("src/ops/add.cpp", "\n")
        self.write("src/ops/checks.cpp", "\n")
        self.write("tests/cases/add_cases.cpp", "\n")
        self.write("tests/reference/add_ref.hpp", "\n")
        declaration = "Tensor add(const Tensor& a, const Tensor& b);"
        self.write("include/wick/ops/arithmetic.hpp", f"namespace wick {{\n{declaration}\n}}\n")
        self.write("src/runtime/args/binary_args.hpp", "struct BinaryArgs {\n  int a;\n};\n")

    def test_clean(self):
        self.assert_clean("1 ops and 1 kernels")

    def test_each_file_is_asked_for(self):
        for path in ("src/ops/add.cpp", "tests/cases/add_cases.cpp", "tests/reference/add_ref.hpp"):
            with self.subTest(path=path):
                (self.root / path).unlink()
                self.assert_violation(f"op_catalog.def:3: add has no {path}")
                self.write(path, "\n")

    def test_declaration(self):
        self.write("include/wick/ops/arithmetic.hpp", "// Tensor add(Tensor a);\nTensor address(int add);\n")
        self.assert_violation("op_catalog.def:3: add is declared in no header")

    def test_args(self):
        self.write("src/runtime/args/binary_args.hpp", "struct BinaryArgs;\nstruct Binary {};\n")
        self.assert_violation("op_catalog.def:4: add: BinaryArgs is defined in no header")

    def test_source_of_no_op(self):
        self.write("src/ops/odd.cpp", "\n")
        self.assert_violation("src/ops/odd.cpp:1: belongs to no op")

    def test_bad_entries(self):
        catalog = self.root / "src/runtime/op_catalog.def"
        catalog.write_text(catalog.read_text() + "WICK_OP(add, no_gradient)\nWICK_KERNEL(sub)\n")
        self.assert_violation("op_catalog.def:5: add is there twice", "op_catalog.def:6: WICK_KERNEL takes", count=2)

    def test_no_catalogue(self):
        (self.root / "src/runtime/op_catalog.def").unlink()
        self.assert_violation("the catalogue is missing")


if __name__ == "__main__":
    unittest.main()
