import unittest

import check_case

CONTRACT = """
/// Adds two tensors.
///
/// Shapes: a [M,N]; b broadcasts.
/// Dtypes: f32, bf16,
///   or f16.
/// Errors: kShape when they do not fit.
/// Gradient: both.
/// Source: elementary.
"""


class Contracts(check_case.CheckCase):
    script = "check_contracts.py"

    def write_op(self, doc, declaration="Tensor add(const Tensor& a, const Tensor& b);"):
        text = f"#pragma once\nnamespace wick {{\n\n{doc.strip()}\n{declaration}\n\n}}\n"
        self.write("include/wick/ops/add.hpp", text)

    def test_clean(self):
        self.write_op(CONTRACT)
        self.write("include/wick/base/a.hpp", "/// Says hello.\nvoid hello();\nvoid bye();  ///< says bye\n")
        self.assert_clean()

    def test_each_field_is_asked_for(self):
        for field in ("Shapes:", "Dtypes:", "Errors:", "Gradient:", "Source:"):
            with self.subTest(field=field):
                self.write_op(CONTRACT.replace(f"/// {field}", "/// Note:"))
                self.assert_violation(f"add: the contract lacks `{field}`")

    def test_each_field_says_something(self):
        self.write_op(CONTRACT.replace("both.", ""))
        self.assert_violation("`Gradient:` in the contract is empty")

    def test_a_field_may_begin_on_the_next_line(self):
        self.write_op(CONTRACT.replace("Gradient: both.", "Gradient:\n///   both."))
        self.assert_clean()

    def test_the_sentence_comes_first(self):
        self.write_op(CONTRACT.replace("/// Adds two tensors.\n///\n", ""))
        self.assert_violation("the contract begins with a sentence")

    def test_overloads_have_their_own(self):
        self.write_op(CONTRACT, "Tensor add(const Tensor& a, const Tensor& b);\nTensor add(const Tensor& a, double b);")
        self.assert_violation("add.hpp:13: add has no contract")

    def test_a_comment_of_the_wrong_kind_or_place(self):
        self.write_op("// Adds.\n")
        self.assert_violation("add has no contract")
        self.write_op(CONTRACT.strip() + "\n")
        self.write_op(CONTRACT, "\nTensor add(const Tensor& a, const Tensor& b);")
        self.assert_violation("add has no contract")

    def test_a_template_is_documented_above_its_template_line(self):
        self.write_op(CONTRACT, "template <typename T>\nT add(T a);")
        self.assert_clean()

    def test_members_of_option_structs_need_a_sentence_only(self):
        members = "  /// Checks.\n  void check() const;\n  void f();\n\n  void g();\n"
        self.write("include/wick/ops/add.hpp", "struct Options {\n" + members + "};\n")
        self.assert_violation("add.hpp:6: Options::g has no /// comment")

    def test_functions_elsewhere_need_a_sentence(self):
        self.write("include/wick/base/a.hpp", "// no\nvoid hello();\n///\nvoid bye();\n")
        self.assert_violation("a.hpp:2: hello has no", "a.hpp:4: bye has no", count=2)

    def test_free_functions_do_not_share(self):
        self.write("include/wick/base/a.hpp", "/// Yes.\nvoid hello();\nvoid bye();\n")
        self.assert_violation("a.hpp:3: bye has no")

    def test_members(self):
        self.write(
            "include/wick/base/a.hpp",
            """
            class Foo {
             public:
              Foo() = default;
              Foo() noexcept;
              ~Foo();
              Foo(const Foo&) = delete;
              /// The size.
              int size() const { return 1; }
              int rank() const;

              int lost() const;
             private:
              int hidden();
            };
            namespace detail { int inner(); }
            inline int Foo::size() const { return 1; }
            """,
        )
        self.assert_violation("a.hpp:11: Foo::lost has no")


if __name__ == "__main__":
    unittest.main()
